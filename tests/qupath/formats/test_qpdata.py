"""``data.qpdata`` against QuPath's own GeoJSON export of the same objects."""

from __future__ import annotations

import json
import random
import re
import struct
import time
from pathlib import Path

import pytest
import shapely
from hypothesis import given, settings
from hypothesis import strategies as st

from cellgennet_qupath.core.errors import EntryDataError
from cellgennet_qupath.qupath.formats import roi
from cellgennet_qupath.qupath.formats.geojson import read_annotations
from cellgennet_qupath.qupath.formats.javastream import STREAM_MAGIC
from cellgennet_qupath.qupath.formats.javavalues import JavaStreamError
from cellgennet_qupath.qupath.formats.qpdata import parse, read_qpdata
from cellgennet_qupath.qupath.project import Annotation, Plane
from tests.qupath.qpfiles import unpacked

from .javawriter import END, EXTERNALIZABLE, NULL, array, block, described, new, reference, string, utf

SMALL = unpacked("small_v0.5.qpdata")


def same_shape(first: shapely.Geometry, second: shapely.Geometry) -> bool:
    """Equal to 0.01 px, wherever a ring begins and whichever way it runs."""
    return bool(shapely.equals_exact(shapely.normalize(first), shapely.normalize(second), 0.0101))


def place(tmp_path: Path, data: bytes) -> Path:
    path = tmp_path / "data.qpdata"
    path.write_bytes(data)
    return path


@pytest.mark.parametrize("version", ["0.5", "0.7"])
def test_every_kind_of_object_is_read_as_qupath_exports_it(version: str, tmp_path: Path) -> None:
    found = read_qpdata(place(tmp_path, unpacked(f"everything_v{version}.qpdata")))
    export = tmp_path / "export.geojson"
    export.write_bytes(unpacked(f"everything_v{version}.geojson"))
    expected = {annotation.id: annotation for annotation in read_annotations(export)}
    # QuPath cannot export several lines as one annotation
    exported = [annotation for annotation in found.annotations if annotation.id in expected]
    (lines,) = [a.geometry for a in found.annotations if a not in exported]
    assert isinstance(lines, shapely.MultiLineString)
    assert len(exported) == len(expected) == 13
    for annotation in exported:
        other = expected[annotation.id]
        assert same_shape(annotation.geometry, other.geometry), (annotation, other)
        assert annotation.path_class == other.path_class
        assert annotation.name == other.name
        assert annotation.color == other.color
        assert annotation.locked == other.locked
        assert annotation.plane == other.plane


def test_what_is_read_of_every_kind_of_object(tmp_path: Path) -> None:
    found = read_qpdata(place(tmp_path, unpacked("everything_v0.5.qpdata")))
    first = found.annotations[0]
    assert first.path_class == "Tumor: Positive"
    assert first.name == 'näme 🙂 "q" \0x'
    assert first.color == (16, 32, 48)
    assert first.locked
    assert first.plane == Plane(c=-1, z=2, t=1)
    assert [annotation.roi for annotation in found.annotations] == [
        "Rectangle", "Rectangle", "Ellipse", "Polygon", "Polygon", "Geometry", "Geometry", "Geometry",
        "Points", "Points", "Line", "Polyline", "Polygon", "Rectangle",
    ]  # fmt: skip
    assert found.counts.annotations == 14
    assert found.counts.detections == 4  # a detection, a cell, the spot inside it, a tile
    assert found.counts.total == 18
    assert found.image_type == "BRIGHTFIELD_H_DAB"
    assert found.stains is not None
    assert found.stains.names == ("Hematoxylin", "DAB")
    assert found.stains.vectors[1] == pytest.approx((0.269, 0.568, 0.778), abs=1e-3)
    assert found.stains.background == (255, 255, 255)
    assert found.version == "0.5.1"


@pytest.mark.parametrize("version", ["0.5", "0.7"])
def test_real_projects_equal_qupaths_own_export(shared: Path, version: str, tmp_path: Path) -> None:
    expected_folder = shared / "qupath" / f"expected_v{version}"
    summary = json.loads((expected_folder / "summary.json").read_text(encoding="utf-8"))["entries"]
    assert len(summary) == 9
    for entry, told in summary.items():
        data = shared / "qupath" / f"project_v{version}" / "data" / entry / "data.qpdata"
        found = read_qpdata(data)
        assert found.counts.annotations == told["annotations"]
        assert found.counts.detections == told["detections"]
        expected = {a.id: a for a in read_annotations(expected_folder / f"{entry}.geojson")}
        assert {a.id for a in found.annotations} == set(expected)
        for annotation in found.annotations:
            other = expected[annotation.id]
            assert same_shape(annotation.geometry, other.geometry)
            assert shapely.area(annotation.geometry) == pytest.approx(shapely.area(other.geometry), abs=0.01)
            assert annotation.path_class == other.path_class
        numbers = [float(x) for x in re.findall(r"-?\d+\.\d+", told["stains"])]
        assert found.stains is not None
        assert [x for v in found.stains.vectors for x in v] == pytest.approx(numbers[:6], abs=1e-3)


def test_files_from_before_ids_existed_get_the_same_ids_at_every_reading() -> None:
    whole = parse(SMALL)
    ids = [annotation.id for annotation in whole.annotations]
    without = SMALL.replace(b"Object ID", b"object id")
    made_up = parse(without)
    again = parse(without)
    assert [a.id for a in made_up.annotations] == [a.id for a in again.annotations]
    assert len({*ids, *(a.id for a in made_up.annotations)}) == 4
    assert [a.geometry for a in made_up.annotations] == [a.geometry for a in whole.annotations]


def test_a_file_cut_off_anywhere_is_refused(tmp_path: Path) -> None:
    for length in range(len(SMALL)):
        with pytest.raises(JavaStreamError):
            parse(SMALL[:length])
    for length in (0, 1, 4, 100, len(SMALL) - 1):
        with pytest.raises(EntryDataError, match=r"data\.qpdata: is (damaged|empty)"):
            read_qpdata(place(tmp_path, SMALL[:length]))


@settings(max_examples=300, deadline=2000)
@given(st.lists(st.tuples(st.integers(0, len(SMALL) - 1), st.integers(0, 255)), min_size=1, max_size=4))
def test_flipped_bytes_are_read_or_refused(flips: list[tuple[int, int]]) -> None:
    data = bytearray(SMALL)
    for position, value in flips:
        data[position] = value
    try:
        found = parse(bytes(data))
    except (JavaStreamError, roi.RoiError) as error:
        assert str(error)
    else:
        assert all(isinstance(annotation, Annotation) for annotation in found.annotations)


def test_one_byte_flipped_in_a_file_of_every_kind_of_object() -> None:
    whole = unpacked("everything_v0.5.qpdata")
    start, end = whole.index(b"PathRootObject"), whole.index(b"d" * 1000)
    random.seed(1)
    for position in random.sample(range(start, end), 120):
        for value in (0x00, 0x70, 0x71, 0x73, 0xFF):
            data = bytearray(whole)
            data[position] = value
            try:
                parse(bytes(data))
            except (JavaStreamError, roi.RoiError) as error:
                assert str(error)


def test_many_detections_are_passed_over_quickly() -> None:
    number = 20_000
    # handles: 0 server, 1 to 3 hierarchy, 4 and 5 root
    line = described("qupath.lib.objects.PathObject", EXTERNALIZABLE)
    line = described("qupath.lib.objects.PathROIObject", EXTERNALIZABLE, above=line)
    spot = described("qupath.lib.objects.PathDetectionObject", EXTERNALIZABLE, above=line)
    outline = described("Shape", 2, b"L" + utf("x") + string("[F"), 1)
    floats = struct.pack(">24f", *range(24))
    contents = NULL * 3 + block(bytes(4)) + NULL * 2 + b"%b" + block(bytes(8)) + END
    first = new(spot, contents % new(outline, array("[F", 24, floats)))
    # handles: 6 to 8 classes, 9 object; 10 and 11 class, 12 shape; 13 class, 14 array
    shape = new(reference(10), b"\x75" + reference(13) + struct.pack(">i", 24) + floats)
    others = new(reference(6), contents % shape) * (number - 1)
    root = new(
        described("qupath.lib.objects.PathRootObject", EXTERNALIZABLE),
        NULL * 4 + block(struct.pack(">i", number)) + first + others + END,
    )
    field = b"L" + utf("rootObject") + string("Lqupath/lib/objects/PathObject;")
    hierarchy = new(described("qupath.lib.objects.hierarchy.PathObjectHierarchy", 2, field, 1), root)
    data = STREAM_MAGIC + block(utf("Data file version 3")) + string("{}") + hierarchy + string("EOF")
    began = time.process_time()
    found = parse(data)
    assert found.counts.detections == number
    assert time.process_time() - began < 4


def test_an_empty_file_names_the_backup_beside_it(tmp_path: Path) -> None:
    path = place(tmp_path, b"")
    with pytest.raises(EntryDataError, match=r"is empty.*backup"):
        read_qpdata(path)
    path.with_name("data.qpdata.bkp").write_bytes(SMALL)
    with pytest.raises(EntryDataError, match=r"is empty.*stopped while saving.*data\.qpdata\.bkp"):
        read_qpdata(path)
    path.unlink()
    with pytest.raises(EntryDataError, match=r"is missing.*data\.qpdata\.bkp"):
        read_qpdata(path)


@pytest.mark.parametrize(
    "data",
    [
        b"not a java stream",
        b"\xac\xed\x00\x05",
        b"\xac\xed\x00\x05t\x00\x05hello",
        b"\xac\xed\x00\x05w\x07\x00\x05hello",
        b"\xac\xed\x00\x05w\x15\x00\x13Data file version 3" + b"pt\x00\x03EOF",
    ],
)
def test_other_data_is_refused_in_one_line(data: bytes, tmp_path: Path) -> None:
    path = place(tmp_path, data)
    with pytest.raises(EntryDataError) as raised:
        read_qpdata(path)
    assert str(raised.value).startswith(f"{path}: ")
    assert "\n" not in str(raised.value)


def test_a_folder_in_place_of_the_file(tmp_path: Path) -> None:
    with pytest.raises(EntryDataError, match="cannot be read"):
        read_qpdata(tmp_path)


def summary_of(classes: dict[str, int], **types: int) -> str:
    return json.dumps({"hierarchy": {"objectTypeCounts": types, "annotationClassificationCounts": classes}})


def test_counts_are_held_against_the_summary(tmp_path: Path) -> None:
    path, summary = place(tmp_path, SMALL), tmp_path / "summary.json"
    counts = {"Root objects": 1, "Annotations": 2, "Detections": 1}
    classes = {"Training": 1, "Unclassified": 1}
    summary.write_text(summary_of(classes, **counts), encoding="utf-8")
    assert read_qpdata(path).counts.annotations == 2
    for wrong in (
        summary_of(classes, **{**counts, "Detections": 2}),
        summary_of(classes, **{**counts, "Detections": 0, "Annotations": 3}),
        summary_of({"Training": 2}, **counts),
    ):
        summary.write_text(wrong, encoding="utf-8")
        with pytest.raises(EntryDataError, match=r"than summary\.json says"):
            read_qpdata(path)
    for useless in ("", "{", "[]", '{"hierarchy": 3}'):
        summary.write_text(useless, encoding="utf-8")
        assert read_qpdata(path).counts.detections == 1
