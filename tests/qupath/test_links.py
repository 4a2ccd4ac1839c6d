"""No command follows a link out of a project's work folder, in whichever step it is met."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest
import shapely

from cellgennet_qupath.core.errors import ProjectError
from cellgennet_qupath.nuclei import Nuclei
from cellgennet_qupath.qupath.files import FilesBackend
from cellgennet_qupath.qupath.origin import set_aside
from cellgennet_qupath.segmentation.checkpoint import Checkpoint, remove

pytestmark = pytest.mark.skipif(os.name == "nt", reason="links need a privilege on Windows")


@pytest.fixture
def outside(tmp_path: Path) -> Path:
    folder = tmp_path / "outside"
    folder.mkdir()
    for name in ("1.geojson.gz", "task.json", "tile_000001.parquet"):
        (folder / name).write_text("kept", encoding="utf-8")
    return folder


def content(folder: Path) -> dict[str, str]:
    return {file.name: file.read_text(encoding="utf-8") for file in folder.iterdir()}


@pytest.fixture
def project(tmp_path: Path) -> Path:
    folder = tmp_path / "project"
    folder.mkdir()
    entry = {"entryID": 1, "serverBuilder": {"builderType": "uri", "uri": "file:/a.png"}}
    (folder / "project.qpproj").write_text(json.dumps({"images": [entry]}), encoding="utf-8")
    return folder


@pytest.mark.parametrize("link", ["detections", "detections/1.geojson.gz"])
def test_detections_are_not_written_through_a_link_made_meanwhile(
    project: Path, outside: Path, link: str
) -> None:
    before = content(outside)
    with FilesBackend(project, writable=True) as opened:
        place = project / "cellgennet" / link
        place.parent.mkdir(exist_ok=True)
        place.symlink_to(outside / "1.geojson.gz" if link.endswith("gz") else outside)
        with pytest.raises(ProjectError, match="is a link"):
            opened.write_detections(opened.entries[0], Nuclei.from_polygons([shapely.box(0, 0, 5, 5)]))
        with pytest.raises(ProjectError, match="is a link"):
            opened.detections(opened.entries[0])
    assert content(outside) == before


def test_tiles_are_neither_written_nor_deleted_through_a_link(tmp_path: Path, outside: Path) -> None:
    before = content(outside)
    run = tmp_path / "runs" / "segment-1"
    run.mkdir(parents=True)
    (run / "1").symlink_to(outside, target_is_directory=True)
    with pytest.raises(ProjectError, match="is a link"):
        Checkpoint(run / "1", {"slide": "other"})
    with pytest.raises(ProjectError, match="is a link"):
        remove(run / "1")
    assert content(outside) == before


def test_nothing_is_set_aside_through_a_link(tmp_path: Path, outside: Path) -> None:
    before = content(outside)
    work = tmp_path / "cellgennet"
    (work / "detections").mkdir(parents=True)
    file = work / "detections" / "1.geojson.gz"
    file.write_text("mine", encoding="utf-8")
    (work / "set-aside").symlink_to(outside, target_is_directory=True)
    with pytest.raises(ProjectError, match="is a link"):
        set_aside(work, file)
    assert file.read_text(encoding="utf-8") == "mine"
    assert content(outside) == before
