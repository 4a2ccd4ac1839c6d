"""Files that are named by an image's id are used only for the slide that they were made from."""

from __future__ import annotations

import gzip
import json
import os
from pathlib import Path

import pytest
import shapely

from cellgennet_qupath.nuclei import Nuclei
from cellgennet_qupath.qupath.files import FilesBackend
from cellgennet_qupath.qupath.origin import difference, file_name, origin_of, set_aside
from cellgennet_qupath.qupath.project import ImageEntry, WriteOptions
from tests.helpers import Recorder

NUCLEI = Nuclei.from_polygons([shapely.box(0, 0, 5, 5), shapely.box(7, 7, 9, 9)])
OTHERS = Nuclei.from_polygons([shapely.box(20, 20, 25, 25)])


def make_project(folder: Path, slide: Path, size: tuple[int, int] = (64, 48)) -> Path:
    """A project of one image with the id 1, made anew in a folder."""
    folder.mkdir(parents=True, exist_ok=True)
    metadata = {"name": slide.name, "width": size[0], "height": size[1], "pixelType": "UINT8"}
    builder = {"builderType": "uri", "uri": slide.as_uri(), "args": [], "metadata": metadata}
    image = {"serverBuilder": builder, "entryID": 1, "imageName": slide.name}
    content = {"version": "0.5.1", "uri": (folder / "project.qpproj").as_uri(), "images": [image]}
    (folder / "project.qpproj").write_text(json.dumps(content), encoding="utf-8")
    return folder


def make_slide(file: Path, content: bytes) -> Path:
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_bytes(content)
    return file


def write(folder: Path, nuclei: Nuclei = NUCLEI, **options: str) -> list[str]:
    """Write nuclei into a project; returns the warnings."""
    listener = Recorder()
    with FilesBackend(folder, writable=True, reporter=listener) as project:
        project.write_detections(project.entries[0], nuclei, WriteOptions(**options))  # type: ignore[arg-type]
    return listener.warnings


def read(folder: Path) -> tuple[int, list[str]]:
    """The number of nuclei that a project holds, and the warnings."""
    listener = Recorder()
    with FilesBackend(folder, reporter=listener) as project:
        return len(project.detections(project.entries[0])), listener.warnings


@pytest.mark.parametrize("change", ["another slide", "another size", "other pixels"])
def test_nuclei_of_another_slide_are_neither_read_nor_merged(tmp_path: Path, change: str) -> None:
    slide = make_slide(tmp_path / "liver.tif", b"liver" * 50_000)
    folder = make_project(tmp_path / "p", slide)
    write(folder)
    kept = (folder / "cellgennet" / "detections" / "1.geojson.gz").read_bytes()
    if change == "another slide":
        make_project(folder, make_slide(tmp_path / "spleen.tif", b"spleen" * 50_000))
    elif change == "another size":
        make_project(folder, slide, (48, 64))
    else:
        make_slide(slide, b"livor" * 50_000)
    count, warnings = read(folder)
    assert count == 0
    assert len(warnings) == 1
    assert "not used" in warnings[0]
    assert "before the file was changed" in warnings[0] or "another slide" in warnings[0]
    (warning,) = write(folder, OTHERS, existing="keep")
    assert "moved to" in warning
    assert read(folder) == (1, [])
    (moved,) = (folder / "cellgennet" / "set-aside").glob("*/detections/1.geojson.gz")
    assert moved.read_bytes() == kept


@pytest.mark.parametrize("change", ["moved", "renamed", "touched", "missing", "name in QuPath"])
def test_the_same_slide_keeps_its_nuclei(tmp_path: Path, change: str) -> None:
    slide = make_slide(tmp_path / "liver.tif", b"liver" * 50_000)
    folder = make_project(tmp_path / "p", slide)
    write(folder)
    if change == "moved":
        make_project(folder, slide.rename(make_slide(tmp_path / "new" / "liver.tif", b"")))
    elif change == "renamed":
        make_project(folder, slide.rename(tmp_path / "patient 7.tif"))
    elif change == "touched":
        os.utime(slide, (1, 1))
    elif change == "missing":
        slide.unlink()
    else:
        file = folder / "project.qpproj"
        file.write_text(file.read_text().replace('"imageName": "liver.tif"', '"imageName": "Case 7"'))
    assert read(folder) == (2, [])


def test_files_of_older_versions_are_compared_by_what_they_contain(tmp_path: Path) -> None:
    folder = make_project(tmp_path / "p", make_slide(tmp_path / "a.tif", b"a"))
    write(folder)
    file = folder / "cellgennet" / "detections" / "1.geojson.gz"
    head, rest = gzip.decompress(file.read_bytes()).split(b"\n", 1)
    old = json.loads(head + b"]}")
    del old["cellgennet"]["image"]
    file.write_bytes(gzip.compress(json.dumps(old, separators=(",", ":"))[:-2].encode() + b"\n" + rest))
    assert read(folder) == (2, [])
    make_project(folder, make_slide(tmp_path / "a.tif", b"a"), (6, 6))
    count, (warning,) = read(folder)
    assert count == 0
    assert "beyond the image" in warning


def test_damaged_detections_do_not_stop_a_run_that_keeps_them(tmp_path: Path) -> None:
    folder = make_project(tmp_path / "p", make_slide(tmp_path / "liver.tif", b"liver"))
    write(folder)
    file = folder / "cellgennet" / "detections" / "1.geojson.gz"
    half = file.read_bytes()[:-30]
    file.write_bytes(half)
    (warning,) = write(folder, OTHERS, existing="keep")
    assert "damaged, so it was moved to" in warning
    assert read(folder) == (1, [])
    (moved,) = (folder / "cellgennet" / "set-aside").glob("*/detections/1.geojson.gz")
    assert moved.read_bytes() == half


def test_annotations_drawn_on_another_slide_are_set_aside(tmp_path: Path) -> None:
    folder = make_project(tmp_path / "p", make_slide(tmp_path / "liver.tif", b"liver"))
    file = folder / "cellgennet" / "annotations" / "1.geojson"
    feature = {
        "type": "Feature",
        "geometry": {"type": "Point", "coordinates": [1, 2]},
        "properties": {"objectType": "annotation"},
    }
    file.parent.mkdir(parents=True)
    file.write_text(json.dumps([feature]), encoding="utf-8")

    def count(writable: bool) -> tuple[int, list[str]]:
        listener = Recorder()
        with FilesBackend(folder, writable=writable, reporter=listener) as project:
            return len(project.annotations(project.entries[0])), listener.warnings

    assert count(writable=True) == (1, [])
    make_project(folder, make_slide(tmp_path / "spleen.tif", b"spleen"))
    number, (warning,) = count(writable=False)
    assert number == 0
    assert "was drawn on another slide (liver.tif" in warning
    number, (warning,) = count(writable=True)
    assert number == 0
    assert "moved to" in warning
    # Annotations that are put there now are about the present slide.
    file.write_text(json.dumps([feature, feature]), encoding="utf-8")
    assert count(writable=True) == (2, [])
    assert count(writable=False) == (2, [])


def test_annotations_changed_since_the_old_project_are_used(tmp_path: Path) -> None:
    folder = make_project(tmp_path / "p", make_slide(tmp_path / "liver.tif", b"liver"))
    file = folder / "cellgennet" / "annotations" / "1.geojson"
    file.parent.mkdir(parents=True)
    file.write_text("[]", encoding="utf-8")
    FilesBackend(folder, writable=True).close()
    make_project(folder, make_slide(tmp_path / "spleen.tif", b"spleen"))
    file.write_text("[ ]", encoding="utf-8")
    listener = Recorder()
    with FilesBackend(folder, writable=True, reporter=listener):
        assert listener.warnings == []
        assert file.is_file()


@pytest.mark.parametrize(
    "kept",
    [None, 7, {}, {"size": "x", "series": None, "digest": 3, "uri": []}, {"size": [1]}, {"size": [64, 48]}],
)
def test_an_origin_that_says_nothing_contradicts_nothing(kept: object) -> None:
    assert difference(kept, ImageEntry("1", "a", "file:/x/a.tif", None, (64, 48), None)) == ""


def test_the_digest_sees_what_is_between_beginning_and_end(tmp_path: Path) -> None:
    white = b"\xff" * 200_000
    one = make_slide(tmp_path / "1.tif", white + b"\x01" * 200_000 + white)
    two = make_slide(tmp_path / "2.tif", white + b"\x02" * 200_000 + white)
    folder = tmp_path / "3.zarr"
    make_slide(folder / ".zattrs", b"{}")
    entries = [ImageEntry(str(k), "a", f.as_uri(), f, None, None) for k, f in enumerate((one, two, folder))]
    digests = [origin_of(entry)["digest"] for entry in entries]
    assert len(set(digests)) == 3
    assert origin_of(ImageEntry("1", "a", "", tmp_path / "none.tif", None, None))["digest"] is None
    (folder / ".zattrs").write_bytes(b"[]")
    assert origin_of(entries[2])["digest"] != digests[2]


@pytest.mark.parametrize(
    "uri",
    ["file:/x/a%20b.tif", "file:/C:/x/A%20b.tif", r"C:\x\a b.tif", "/x/a b.tif", "file://host/x/a%20b.tif/"],
)
def test_file_names_of_all_systems(uri: str) -> None:
    assert file_name(uri) == "a b.tif"


def test_nothing_that_was_set_aside_is_replaced(tmp_path: Path) -> None:
    for content in "abc":
        set_aside(tmp_path, make_slide(tmp_path / "detections" / "1", content.encode()))
    assert sorted(f.read_text() for f in tmp_path.glob("set-aside/*/detections/1")) == ["a", "b", "c"]


@pytest.mark.parametrize(
    ("names", "said"),
    [
        (["1.geojson"], None),
        (["1.geojson.gz", "seen.json", ".DS_Store"], None),
        (["liver.tif.geojson"], "not read: liver.tif.geojson. Files of annotations have the id"),
        (
            ["1.GEOJSON", "1.json", "2.geojson", "a", "b"],
            "not read: 1.GEOJSON, 1.json, 2.geojson and 2 more.",
        ),
        (["1.geojson", "1.geojson.gz"], r"two files of annotations \(1.geojson and 1.geojson.gz in"),
    ],
)
def test_files_of_annotations_that_are_not_read_are_reported(
    tmp_path: Path, names: list[str], said: str | None
) -> None:
    folder = make_project(tmp_path / "p", make_slide(tmp_path / "liver.tif", b"liver"))
    for name in names:
        make_slide(folder / "cellgennet" / "annotations" / name, b"[]")
    listener = Recorder()
    FilesBackend(folder, reporter=listener).close()
    assert len(listener.warnings) == (said is not None)
    if said is not None:
        with pytest.raises(AssertionError, match=said):
            raise AssertionError(listener.warnings[0])
