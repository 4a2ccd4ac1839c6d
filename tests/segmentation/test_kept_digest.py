"""Each way to write nuclei records what the image then has, so that edits are reported, and only edits."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import shapely

from cellgennet_qupath.core.errors import EntryDataError
from cellgennet_qupath.nuclei import Nuclei, NucleiChunks, collect, concat
from cellgennet_qupath.qupath.files import FilesBackend
from cellgennet_qupath.qupath.formats.detections import write_detections
from cellgennet_qupath.qupath.formats.qpdata import QpData
from cellgennet_qupath.qupath.loose import LooseImages, open_loose
from cellgennet_qupath.qupath.open import open_project
from cellgennet_qupath.qupath.project import (
    WRITE_DEFAULTS,
    Annotation,
    ImageEntry,
    ObjectCounts,
    Project,
    WriteOptions,
    WrittenDetections,
)
from cellgennet_qupath.qupath.search import find_images
from cellgennet_qupath.segmentation.batch import segment_project
from cellgennet_qupath.segmentation.new_project import make_project
from cellgennet_qupath.segmentation.options import SegmentOptions
from cellgennet_qupath.segmentation.present import Present, nuclei_digest, present_nuclei
from cellgennet_qupath.segmentation.record import Record, file_checksum, read_record, write_record
from cellgennet_qupath.segmentation.restore import restore_image
from cellgennet_qupath.tables.segmented import why_unknown

from ..helpers import Recorder
from ..projects import annotate, feature
from ..qupath.backends import needs_qupath
from ..qupath.in_qupath import copy_project
from .fakes import model
from .projects import DISCS, MemoryProject, picture, segment
from .test_records import folder as folder
from .test_records import run

HALF = shapely.box(0, 0, 220, 300)
SLIDE = "slide2_inflamed.ome.tif"


class Keeping(MemoryProject):
    """A project in memory that can keep nuclei."""

    def write_detections(
        self, entry: ImageEntry, nuclei: NucleiChunks, options: WriteOptions = WRITE_DEFAULTS
    ) -> WrittenDetections:
        new, there = collect(nuclei), self.detections(entry)
        if options.existing == "keep":
            new = concat([there, new.take(~np.isin(new.ids, there.ids))])
        return super().write_detections(entry, new, options)


def record_of(project: Project, entry: ImageEntry) -> Record:
    record = read_record(project, entry)
    assert record is not None
    return record


def present(project: Project, entry: ImageEntry) -> Present:
    return present_nuclei(project, entry, record_of(project, entry))


@pytest.mark.parametrize("second", [{}, {"within": "Half"}, {"cells": 2.0}])
def test_kept_nuclei_are_edited_when_a_user_edited_them(tmp_path: Path, second: dict[str, Any]) -> None:
    project = Keeping(tmp_path)
    entry = project.add("one", picture())
    project.drawn[entry.id] = [Annotation("a", HALF, "Rectangle", "Half")]
    segment(project, within="Half")
    segment(project, existing="keep", **second)
    (project.work_folder / "1.written").write_text("an annotation more", encoding="utf-8")
    count = len(project.found["1"])
    assert present(project, entry) == Present("unchanged", count)
    listener = Recorder()
    (result,) = segment(project, existing="keep", reporter=listener, **second)
    assert (result.note, listener.warnings) == ("unchanged", [])
    project.found["1"].classes[0] = "Tumor"
    assert present(project, entry).state == "edited"
    (result,) = segment(project, existing="keep", **second)
    assert f"edited since ({count} now, {count} written)" in result.note


def test_the_files_of_this_tool_have_a_digest_too(folder: Path) -> None:
    """QuPath is compared with it."""
    annotate(folder, 1, [feature(HALF, "Tumor")])
    for options in ({"within": "Tumor"}, {"existing": "keep"}, {"cells": 2.0}):
        run(folder, **options)
        with FilesBackend(folder) as project:
            (entry,) = project.entries
            assert record_of(project, entry).nuclei == nuclei_digest(project, entry) != ""
    with FilesBackend(folder, writable=True) as project:
        restore_image(project, entry)
        assert record_of(project, entry).nuclei == nuclei_digest(project, entry)


def loose(tmp_path: Path) -> Path:
    """A folder of results without a project, with nuclei that were kept."""
    assert cv2.imwrite(str(tmp_path / "slide.png"), picture()[..., ::-1])
    with open_loose(find_images([tmp_path / "slide.png"])[0], tmp_path / "out", 0.25) as images:
        for existing in ("replace-own", "keep"):
            segment_project(images, model(), SegmentOptions(tile=128, existing=existing))
        assert record_of(images, images.entries[0]).nuclei
    return tmp_path / "out"


def test_a_project_of_results_has_the_digest_of_its_own_nuclei(tmp_path: Path) -> None:
    made = make_project([loose(tmp_path)], tmp_path / "project", backend="files")
    with FilesBackend(made.path) as project:
        (entry,) = project.entries
        assert record_of(project, entry).nuclei == nuclei_digest(project, entry) != ""


def in_qupath_alone(folder: Path, project: FilesBackend, entry: ImageEntry) -> Path:
    """The file of QuPath's data that the command would have written through QuPath; its record names it."""
    data = folder / "data" / entry.id / "data.qpdata"
    data.parent.mkdir(parents=True)
    ids = project.detections(entry).ids
    data.write_bytes("".join(ids).encode())
    record = replace(record_of(project, entry), file="data/1/data.qpdata", checksum=file_checksum(data))
    write_record(project, entry, record)
    project.detections_file(entry).unlink()
    return data


def test_nuclei_that_only_qupath_can_read_are_neither_damaged_nor_kept(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    nothing = QpData(annotations=(), counts=ObjectCounts())
    monkeypatch.setattr(FilesBackend, "data", lambda *_: nothing)
    count = run(folder)[0].count
    with FilesBackend(folder, writable=True) as project:
        (entry,) = project.entries
        nuclei = project.detections(entry)
        data = in_qupath_alone(folder, project, entry)
        assert present(project, entry) == Present("unchanged", count, saved=False)
        data.write_bytes(data.read_bytes() + b"saved")
        assert present(project, entry) == Present("unreadable", count)
        assert why_unknown(project, entry)
        with pytest.raises(EntryDataError, match="only QuPath can read"):
            project.refuse_hidden(entry)
    result = run(folder, existing="keep")[0]
    assert result.status == "failed"
    assert "only QuPath can read" in result.reason
    # A script gives them to the tool as they are in QuPath.
    with FilesBackend(folder, writable=True) as project:
        write_detections(project.detections_file(entry), nuclei)
        assert present(project, entry) == Present("unchanged", count)
        project.refuse_hidden(entry)
        write_detections(project.detections_file(entry), nuclei.take(np.arange(3)))
        assert present(project, entry) == Present("edited", 3)
    result, warnings, calls = run(folder, cells=2.0)
    assert (result.status, bool(calls)) == ("done", True)
    assert not any("damaged" in line for line in warnings)
    assert any(f"were edited since they were written (3 now, {count} written)" in line for line in warnings)


def test_nuclei_of_a_script_are_compared_with_the_record_of_a_run_without_qupath(folder: Path) -> None:
    """The file of that run is gone, and QuPath still has its nuclei."""
    run(folder)
    with FilesBackend(folder, writable=True) as project:
        (entry,) = project.entries
        nuclei = project.detections(entry)
        project.detections_file(entry).unlink()
        write_detections(project.detections_file(entry), nuclei)
        assert present(project, entry) == Present("unchanged", len(DISCS))
        nuclei.classes[0] = "Tumor"
        write_detections(project.detections_file(entry), nuclei)
        assert present(project, entry).state == "edited"


@pytest.mark.qupath
def test_in_qupath_nuclei_are_edited_when_a_user_edited_them(sample_project: Path, tmp_path: Path) -> None:
    needs_qupath()
    copy_project(sample_project, tmp_path / "copy")
    with open_project(tmp_path / "copy", "qupath", writable=True, older_qupath=True) as project:
        entry = next(one for one in project.entries if one.name == SLIDE)
        with FilesBackend(tmp_path / "copy") as files:
            data = files.data_file(entry)

        def segmented(**options: object) -> tuple[str, list[str]]:
            listener = Recorder()
            chosen = SegmentOptions(images=(SLIDE,), **options)  # type: ignore[arg-type]
            (result,) = segment_project(project, model(), chosen, reporter=listener)
            return result.note, listener.warnings

        def saved() -> None:
            """Saved with the same nuclei."""
            before = data.read_bytes()
            project.write_detections(entry, project.detections(entry), WriteOptions(history={"a": "step"}))
            assert data.read_bytes() != before

        def edited(nuclei: Nuclei) -> None:
            project.write_detections(entry, nuclei.take(np.arange(len(nuclei) - 2)))

        segmented(within="Training")
        for options in ({"within": "Training"}, {"existing": "keep"}):
            segmented(**options)
            saved()
            assert present(project, entry).state == "unchanged"
            assert segmented(**options)[0] == "unchanged"
        edited(project.detections(entry))
        assert present(project, entry).state == "edited"
        assert "edited since" in segmented(existing="keep")[0]
        assert "were edited since" in segmented()[1][0]
        assert restore_image(project, entry) is not None
        saved()
        assert present(project, entry).state == "restored"


@pytest.mark.qupath
def test_qupath_has_what_was_imported_from_the_files_of_this_tool(
    sample_project: Path, tmp_path: Path
) -> None:
    needs_qupath()
    copy_project(sample_project, tmp_path / "copy")
    with FilesBackend(tmp_path / "copy", writable=True) as files:
        segment_project(files, model(), SegmentOptions(images=(SLIDE,)))
        entry = next(one for one in files.entries if one.name == SLIDE)
        nuclei = files.detections(entry)
    with open_project(tmp_path / "copy", "qupath", writable=True, older_qupath=True) as project:
        assert present(project, entry).state == "gone", "not imported"
        assert why_unknown(project, entry)
        listener = Recorder()
        chosen = SegmentOptions(images=(SLIDE,), within="Training", existing="keep")
        kept = files.detections_file(entry).read_bytes()
        (result,) = segment_project(project, model(), chosen, reporter=listener)
        assert 0 < result.count < len(nuclei)
        assert any("are not in QuPath (never imported, or deleted)" in line for line in listener.warnings)
        assert [one.read_bytes() for one in project.work_folder.rglob("*.geojson.gz")] == [kept]
        project.write_detections(entry, nuclei)


def test_a_file_of_results_can_be_read_alone(tmp_path: Path) -> None:
    with LooseImages(loose(tmp_path)) as images:
        assert present(images, images.entries[0]) == Present("unchanged", len(DISCS), saved=False)
        file = images.detections_file(images.entries[0])
        content = json.loads(file.read_text(encoding="utf-8"))
        content["features"] = content["features"][:4]
        file.write_text(json.dumps(content), encoding="utf-8")
        assert present(images, images.entries[0]) == Present("edited", 4)
