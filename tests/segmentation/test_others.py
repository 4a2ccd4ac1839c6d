"""``replace-all`` leaves only this tool's nuclei, also where other tools wrote theirs after the last run."""

from __future__ import annotations

import gzip
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import shapely

from cellgennet_qupath.nuclei import OWN_MARK, Nuclei, empty
from cellgennet_qupath.qupath.files import FilesBackend
from cellgennet_qupath.qupath.formats.detections import read_detections
from cellgennet_qupath.qupath.project import Annotation, ImageEntry
from cellgennet_qupath.qupath.replaced import kept_detections
from cellgennet_qupath.segmentation.restore import restore_image

from ..helpers import Recorder
from .projects import DISCS, MemoryProject, picture, segment
from .test_records import detections, run
from .test_records import folder as folder


def of_another_tool(x: float = 15.0, number: int = 3) -> Nuclei:
    found = Nuclei.from_polygons([shapely.box(x + 9 * k, 5, x + 9 * k + 6, 9) for k in range(number)])
    found.ids[:] = [f"7c9e6679-7425-40de-944b-{round(x):06d}{k:06d}" for k in range(number)]
    return found


def came(project: MemoryProject, entry: ImageEntry, found: Nuclei | None = None, tiles: int = 0) -> None:
    """Another tool writes detections into an image, and QuPath saves it."""
    project.others[entry.id] = of_another_tool() if found is None else found
    project.tiles[entry.id] = tiles
    project.save(entry)


def again(project: MemoryProject, **options: Any) -> tuple[bool, list[str]]:
    """Whether a run writes the image again, and its warnings."""
    project.writes.clear()
    listener = Recorder()
    segment(project, reporter=listener, **options)
    return bool(project.writes), listener.warnings


@pytest.mark.parametrize("tiles", [0, 2])
def test_what_another_tool_wrote_since_is_removed(project: MemoryProject, tiles: int) -> None:
    entry = project.add("one", picture())
    came(project, entry)
    segment(project, existing="replace-all")
    assert again(project, existing="replace-all") == (False, [])
    came(project, entry, tiles=tiles)
    written, (warning,) = again(project, existing="replace-all")
    assert written
    assert "other tools wrote detections" in warning
    assert project.counts(entry).detections == len(DISCS) + tiles
    assert set(of_another_tool().ids) < set(read_detections(kept_detections(project, entry)[-1]).ids)
    assert again(project, existing="replace-all") == (False, [])


def test_tiles_stay_and_are_no_reason_to_segment_again(project: MemoryProject) -> None:
    entry = project.add("one", picture())
    segment(project, existing="replace-all")
    came(project, entry, empty(), tiles=2)
    assert again(project, existing="replace-all") == (False, [])
    assert project.counts(entry).detections == len(DISCS) + 2


@pytest.mark.parametrize("existing", ["replace-own", "keep"])
def test_where_others_may_stay_there_is_nothing_to_do(project: MemoryProject, existing: str) -> None:
    entry = project.add("one", picture())
    segment(project, existing=existing)
    came(project, entry)
    assert not again(project, existing=existing)[0]
    assert len(project.others[entry.id]) == 3


def test_an_annotation_more_is_no_detection_of_another_tool(project: MemoryProject) -> None:
    entry = project.add("one", picture())
    segment(project, existing="replace-all")
    (project.work_folder / f"{entry.id}.written").write_text("an annotation more", encoding="utf-8")
    assert again(project, existing="replace-all") == (False, [])


def test_others_in_corrected_regions_stay_and_are_no_reason_to_segment_again(project: MemoryProject) -> None:
    entry = project.add("one", picture())
    project.drawn[entry.id] = [Annotation("c", shapely.box(0, 0, 25, 300), "Rectangle", "Corrected")]
    came(project, entry)
    segment(project, existing="replace-all")
    assert len(project.others[entry.id]) == 1
    (project.work_folder / f"{entry.id}.written").write_text("an annotation more", encoding="utf-8")
    assert not again(project, existing="replace-all")[0]
    came(project, entry)
    assert again(project, existing="replace-all")[0]
    assert len(project.others[entry.id]) == 1


def test_restored_detections_of_others_stay_until_more_come(project: MemoryProject) -> None:
    entry = project.add("one", picture())
    segment(project)
    came(project, entry)
    segment(project, existing="replace-all")
    assert restore_image(project, entry) is not None
    assert not again(project, existing="replace-all")[0]
    assert set(project.others[entry.id].ids) == set(of_another_tool().ids)
    (project.work_folder / f"{entry.id}.written").write_text("an annotation more", encoding="utf-8")
    assert not again(project, existing="replace-all")[0]
    came(project, entry, of_another_tool(200.0))
    assert again(project, existing="replace-all")[0]


def add_to_file(folder: Path) -> None:
    """Another program adds detections to this tool's file."""
    content = json.loads(gzip.decompress(detections(folder).read_bytes()))
    for outline, identifier in zip(of_another_tool().polygons, of_another_tool().ids, strict=True):
        feature = {"type": "Feature", "id": identifier, "geometry": json.loads(shapely.to_geojson(outline))}
        content["features"].append(feature | {"properties": {"objectType": "detection"}})
    detections(folder).write_bytes(gzip.compress(json.dumps(content).encode()))


@pytest.mark.parametrize("existing", ["replace-own", "replace-all", "keep"])
def test_without_qupath_only_replace_all_removes_what_was_added_to_the_file(
    folder: Path, existing: str
) -> None:
    first, _, _ = run(folder, existing=existing)
    add_to_file(folder)
    result, warnings, calls = run(folder, existing=existing)
    own = np.char.startswith(read_detections(detections(folder)).ids.astype(str), OWN_MARK)
    assert bool(calls) == own.all() == (existing == "replace-all")
    assert result.count == len(own)
    assert own.sum() == first.count
    if calls:
        assert any("other tools wrote detections" in line for line in warnings)
        with FilesBackend(folder) as project:
            assert len(read_detections(kept_detections(project, project.entries[0])[-1])) == first.count + 3
        assert run(folder, existing=existing)[1:] == ([], 0)
