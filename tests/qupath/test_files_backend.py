"""The backend without QuPath."""

from __future__ import annotations

import gzip
import json
import os
import shutil
from pathlib import Path

import numpy as np
import pytest
import shapely

from cellgennet_qupath.core.errors import EntryDataError, LockedError, ProjectError, QuPathError
from cellgennet_qupath.nuclei import Nuclei
from cellgennet_qupath.qupath import open as opening
from cellgennet_qupath.qupath.files import FilesBackend
from cellgennet_qupath.qupath.formats.geojson import read_objects
from cellgennet_qupath.qupath.open import open_project
from cellgennet_qupath.qupath.project import Project
from tests.helpers import project_hashes
from tests.projects import annotate, drawn_slide, feature, write_project

OWN = {
    "type": "Feature",
    "geometry": {"type": "Point", "coordinates": [1, 2]},
    "properties": {"objectType": "annotation", "classification": {"name": "Ours", "color": [1, 2, 3]}},
}


def own_annotations(project: Path, entry: str, age: float) -> Path:
    """A GeoJSON file of annotations, ``age`` seconds older than the entry's data."""
    path = project / "cellgennet" / "annotations" / f"{entry}.geojson"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps([OWN]), encoding="utf-8")
    data = project / "data" / entry / "data.qpdata"
    if data.is_file():
        saved = data.stat().st_mtime
        os.utime(path, (saved - age, saved - age))
    return path


def test_the_contents_of_a_project(project: Path) -> None:
    (project.parent / "slides").mkdir()
    slide = project.parent / "slides" / "one slide.tif"
    slide.write_bytes(b"")
    opened: Project = FilesBackend(project)
    with opened:
        one, two = opened.entries
        assert opened.path == project.resolve()
        assert opened.work_folder == project.resolve() / "cellgennet"
        assert one.slide == slide.resolve()
        assert two.slide is None
        assert [annotation.path_class for annotation in opened.annotations(one)] == ["Training", ""]
        counts = opened.counts(one)
        assert (counts.annotations, counts.detections, counts.total) == (2, 1, 3)
        assert counts.by_class == {"Training": 1, "": 1}
        stains = opened.stains(one)
        assert stains is not None
        assert stains.names[0] == "Hematoxylin"
        assert len(opened.detections(one)) == 0
    assert not opened.work_folder.exists()


def test_an_entry_that_was_never_opened_has_nothing(project: Path) -> None:
    with FilesBackend(project) as opened:
        two = opened.entries[1]
        assert opened.annotations(two) == []
        assert opened.counts(two).total == 0
        assert opened.stains(two) is None
        assert "two.tif" in opened.entries[1].missing


def test_own_annotations_win_where_they_are_newer(project: Path) -> None:
    with FilesBackend(project) as opened:
        one, two = opened.entries
        own_annotations(project, "1", age=10)
        assert len(opened.annotations(one)) == 2
        own_annotations(project, "1", age=-10)
        assert [annotation.path_class for annotation in opened.annotations(one)] == ["Ours"]
        counts = opened.counts(one)
        assert (counts.annotations, counts.detections, counts.total) == (1, 1, 2)
        assert counts.by_class == {"Ours": 1}
        own_annotations(project, "2", age=0)
        assert len(opened.annotations(two)) == 1
        packed = project / "cellgennet" / "annotations" / "2.geojson.gz"
        packed.with_suffix("").rename(packed)
        packed.write_bytes(gzip.compress(packed.read_bytes()))
        assert len(opened.annotations(two)) == 1


def test_what_changes_on_disk_is_read_again(project: Path, small: bytes) -> None:
    data = project / "data" / "1" / "data.qpdata"
    with FilesBackend(project) as opened:
        one = opened.entries[0]
        assert opened.counts(one).annotations == 2
        data.write_bytes(small[:-1])
        with pytest.raises(EntryDataError):
            opened.counts(one)
        data.unlink()
        with pytest.raises(EntryDataError, match="is missing"):
            opened.annotations(one)


def test_nuclei_are_written_and_nothing_else_changes(project: Path) -> None:
    nuclei = Nuclei.from_polygons([shapely.box(0, 0, 5, 5), shapely.box(7, 7, 9, 9)], np.array([0.5, 1]))
    before = project_hashes(project, times=True)
    with FilesBackend(project, writable=True) as opened:
        one, two = opened.entries
        for annotated in (one, two):
            opened.annotations(annotated)
            opened.counts(annotated)
        written = opened.write_detections(one, nuclei)
        opened.write_detections(two, nuclei)
        assert written.count == 2
        assert written.file == project.resolve() / "cellgennet" / "detections" / "1.geojson.gz"
        assert written.note.endswith(".")
        np.testing.assert_array_equal(opened.detections(one).ids, nuclei.ids)
        opened.write_detections(one, nuclei.take(np.array([1])))
        assert len(opened.detections(one)) == 1
    assert project_hashes(project, times=True) == before
    work = project / "cellgennet"
    assert sorted(p.relative_to(work).as_posix() for p in work.rglob("*") if p.is_file()) == [
        "columns/1.json",
        "columns/1.parquet",
        "columns/2.json",
        "columns/2.parquet",
        "detections/1.geojson.gz",
        "detections/2.geojson.gz",
        "project.lock",
    ]


def test_classes_get_the_projects_colours(project: Path) -> None:
    (project / "classifiers").mkdir()
    classes = {"pathClasses": [{"name": "Nucleus", "color": -12804036}, {"name": None}, {}]}
    (project / "classifiers" / "classes.json").write_text(json.dumps(classes), encoding="utf-8")
    with FilesBackend(project, writable=True) as opened:
        place = opened.write_detections(
            opened.entries[0], Nuclei.from_polygons([shapely.box(0, 0, 5, 5)])
        ).file
    assert b'"color": [60, 160, 60]' in gzip.decompress(place.read_bytes())


def test_one_writer_at_a_time_and_readers_always(project: Path) -> None:
    nuclei = Nuclei.from_polygons([])
    with FilesBackend(project, writable=True), FilesBackend(project) as reader:
        with pytest.raises(LockedError):
            FilesBackend(project, writable=True)
        with pytest.raises(ValueError, match="read-only"):
            reader.write_detections(reader.entries[0], nuclei)
    FilesBackend(project, writable=True).close()


def test_a_folder_of_slides_that_does_not_exist(project: Path) -> None:
    with pytest.raises(ProjectError, match="is not a folder"):
        FilesBackend(project, slides=project / "nowhere")


@pytest.mark.parametrize("version", ["0.5", "0.7"])
def test_not_one_byte_of_a_real_project_changes(shared: Path, version: str, tmp_path: Path) -> None:
    folder = tmp_path / "copy"
    shutil.copytree(shared / "qupath" / f"project_v{version}", folder)
    for path in folder.rglob("*"):
        path.chmod(0o755 if path.is_dir() else 0o644)
    folder.chmod(0o755)
    before = project_hashes(folder, times=True)
    assert len(before) >= 9 * 4
    with open_project(folder, "files", slides=shared / "qupath" / "slides", writable=True) as opened:
        for entry in opened.entries:
            regions = [a.geometry for a in opened.annotations(entry) if shapely.area(a.geometry) > 0]
            opened.counts(entry)
            opened.stains(entry)
            assert opened.write_detections(entry, Nuclei.from_polygons(regions)).count == len(regions)
            assert len(opened.detections(entry)) == len(regions)
    assert project_hashes(folder, times=True) == before


def test_the_files_are_used_without_qupath(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(opening, "find_qupath", lambda: None)
    with open_project(project) as opened:
        assert opened.backend == "files"
    with pytest.raises(QuPathError, match=r"was not found\. .*PAQUO_QUPATH_DIR"):
        open_project(project, "qupath")


def test_annotations_in_geojson_are_read_once_until_the_file_changes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = write_project(tmp_path, [drawn_slide(tmp_path / "slide.png")])
    file = annotate(folder, 1, [feature(shapely.box(0, 0, 9, 9), "Training")])
    reads: list[Path] = []

    def counting(path: Path) -> object:
        reads.append(path)
        return read_objects(path)

    monkeypatch.setattr("cellgennet_qupath.qupath.files.read_objects", counting)
    with open_project(folder, "files") as project:
        (entry,) = project.entries
        project.annotations(entry).clear()
        assert project.counts(entry).annotations == len(project.annotations(entry)) == 1
        assert reads == [file]
        annotate(folder, 1, [feature(shapely.box(0, 0, 9, 9)), feature(shapely.box(0, 0, 5, 5))])
        assert project.counts(entry).annotations == len(project.annotations(entry)) == 2
        assert len(reads) == 2
