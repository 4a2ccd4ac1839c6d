"""Annotations of GeoJSON files as QuPath writes them."""

from __future__ import annotations

import gzip
import json
import uuid
from pathlib import Path
from typing import Any

import pytest
import shapely

from cellgennet_qupath.core.errors import EntryDataError
from cellgennet_qupath.qupath.formats.geojson import object_type, read_annotations, read_objects
from cellgennet_qupath.qupath.project import Plane
from tests.qupath.backends import needs_qupath

SQUARE = {"type": "Polygon", "coordinates": [[[0, 0], [4, 0], [4, 4], [0, 4], [0, 0]]]}
ID = str(uuid.UUID(int=7))


def feature(geometry: object = SQUARE, identifier: object = ID, **properties: Any) -> dict[str, Any]:
    return {
        "type": "Feature",
        "id": identifier,
        "geometry": geometry,
        "properties": {"objectType": "annotation", **properties},
    }


def write(path: Path, content: object) -> Path:
    text = json.dumps(content, ensure_ascii=False)
    if path.suffix == ".gz":
        path.write_bytes(gzip.compress(text.encode()))
    else:
        path.write_text(text, encoding="utf-8")
    return path


@pytest.mark.parametrize("name", ["a.geojson", "a.geojson.gz"])
@pytest.mark.parametrize("shape", ["collection", "list", "single"])
def test_collections_lists_and_single_features(tmp_path: Path, name: str, shape: str) -> None:
    one = feature(classification={"name": "Größe", "color": [1, 2, 3]})
    content: Any = {"collection": {"type": "FeatureCollection", "features": [one]}, "list": [one]}
    (found,) = read_annotations(write(tmp_path / name, content.get(shape, one)))
    assert found.id == ID
    assert found.path_class == "Größe"
    assert found.roi == "Rectangle"
    assert shapely.area(found.geometry) == 16
    assert found.plane == Plane()
    assert not found.locked


def test_every_member_that_qupath_writes(tmp_path: Path) -> None:
    geometry = {**SQUARE, "plane": {"c": -1, "z": 2, "t": 1}, "isEllipse": True}
    whole = feature(
        geometry,
        classification={"names": ["Tumor", "Positive"], "color": [200, 50, 50]},
        name="n",
        color=[1, 2, 3],
        isLocked=True,
        measurements={"Area": "NaN"},
    )
    (found,) = read_annotations(write(tmp_path / "a.geojson", [whole]))
    assert (found.path_class, found.name, found.color) == ("Tumor: Positive", "n", (1, 2, 3))
    assert (found.locked, found.plane, found.roi) == (True, Plane(-1, 2, 1), "Ellipse")


@pytest.mark.parametrize("kind", ["detection", "cell", "tile", "tmaCore", "root", "PathCellObject"])
def test_other_objects_are_left_out(tmp_path: Path, kind: str) -> None:
    features = [feature(objectType=kind), feature(objectType="annotation")]
    assert len(read_annotations(write(tmp_path / "a.geojson", features))) == 1


OBJECT_TYPES: list[tuple[dict[str, Any], str]] = [
    ({}, "annotation"),
    ({"properties": {"objectType": "annotation"}}, "annotation"),
    ({"properties": {"objectType": "detection"}}, "detection"),
    ({"properties": {"objectType": "cell"}}, "cell"),
    ({"properties": {"objectType": "tile"}}, "tile"),
    ({"properties": {"objectType": "tmaCore"}}, "tmaCore"),
    ({"properties": {"objectType": "root"}}, "root"),
    ({"properties": {"object_type": "cell"}}, "cell"),
    ({"properties": {"type": "detection"}}, "detection"),
    ({"properties": {"type": "tile"}}, "tile"),
    ({"properties": {"type": "tma_core"}}, "tmaCore"),
    ({"properties": {"type": "Nucleus"}}, "annotation"),
    ({"properties": {"objectType": "PathCellObject"}}, "cell"),
    ({"properties": {"objectType": "Detection"}}, "annotation"),
    ({"properties": {"objectType": "annotation", "type": "cell"}}, "annotation"),
    ({"properties": {"object_type": "tile", "type": "cell"}}, "tile"),
    ({"properties": {"objectType": "unheard of", "object_type": "cell"}}, "annotation"),
    ({"id": "PathDetectionObject"}, "detection"),
    ({"id": "TMACoreObject"}, "tmaCore"),
    ({"id": "PathRootObject"}, "root"),
    ({"id": "PathAnnotationObject"}, "annotation"),
    ({"id": "detection"}, "annotation"),
    ({"id": "PathCellObject", "properties": {"objectType": "annotation"}}, "annotation"),
    ({"id": "PathTileObject", "properties": {"type": "cell"}}, "cell"),
]
"""Features, but for their geometry, and the type of object that QuPath 0.5.1 and 0.7.0 make of them."""


@pytest.mark.parametrize(("written", "kind"), OBJECT_TYPES, ids=[str(one) for one, _ in OBJECT_TYPES])
def test_the_type_of_an_object_is_the_one_that_qupath_reads(
    tmp_path: Path, written: dict[str, Any], kind: str
) -> None:
    one = {"type": "Feature", "geometry": SQUARE, **written}
    annotations, others = read_objects(write(tmp_path / "a.geojson", [one]))
    assert object_type(one) == kind
    assert (len(annotations), dict(others)) == ((1, {}) if kind == "annotation" else (0, {kind: 1}))


@pytest.mark.qupath
def test_qupath_itself_reads_these_types(tmp_path: Path) -> None:
    needs_qupath()
    from cellgennet_qupath.qupath.java import jvm

    found = []
    for written, _ in OBJECT_TYPES:
        one = {"type": "Feature", "geometry": SQUARE, **written}
        file = jvm.java_class("java.nio.file.Paths").get(str(write(tmp_path / "a.geojson", [one])))
        (made,) = jvm.java_class("qupath.lib.io.PathIO").readObjects(file)
        found.append(str(made.getClass().getSimpleName()))
    names = {
        "annotation": "PathAnnotationObject",
        "detection": "PathDetectionObject",
        "cell": "PathCellObject",
        "tile": "PathTileObject",
        "tmaCore": "TMACoreObject",
        "root": "PathRootObject",
    }
    assert found == [names[kind] for _, kind in OBJECT_TYPES]


@pytest.mark.parametrize("key", ["childObjects", "children"])
def test_child_objects_in_properties_are_objects(tmp_path: Path, key: str) -> None:
    inner = feature(objectType="cell")
    middle = feature(classification={"name": "Training"}, **{key: [inner, feature()]})
    outer = {**feature(objectType="root", **{key: [middle]}), key: [feature()]}
    annotations, others = read_objects(write(tmp_path / "a.geojson", [outer]))
    assert [one.path_class for one in annotations] == ["Training", ""]
    assert dict(others) == {"root": 1, "cell": 1}


def test_objects_nested_without_end_are_refused(tmp_path: Path) -> None:
    item = feature()
    for _ in range(60):
        item = feature(childObjects=[item])
    with pytest.raises(EntryDataError, match="feature 1 is not an object that QuPath knows"):
        read_objects(write(tmp_path / "a.geojson", [item]))


def test_what_has_no_type_is_an_annotation_as_in_qupath(tmp_path: Path) -> None:
    bare = {"type": "Feature", "geometry": SQUARE}
    old = {"type": "Feature", "id": "PathDetectionObject", "geometry": SQUARE, "properties": {}}
    (found,) = read_annotations(write(tmp_path / "a.geojson", [bare, old]))
    assert found.path_class == ""
    assert uuid.UUID(found.id)


@pytest.mark.parametrize(
    ("written", "name"),
    [
        ({"name": "Tumor", "color": [1, 2, 3]}, "Tumor"),
        ({"names": ["Tumor", "Positive"]}, "Tumor: Positive"),
        ({"names": ['Tumör, "loose"', None]}, 'Tumör, "loose"'),
        ({"name": None}, ""),
    ],
)
def test_classes_of_which_gdal_made_a_text(tmp_path: Path, written: dict[str, Any], name: str) -> None:
    for classification in (written, json.dumps(written), json.dumps(written, ensure_ascii=False, indent=1)):
        (found,) = read_annotations(write(tmp_path / "a.geojson", feature(classification=classification)))
        assert found.path_class == name


@pytest.mark.parametrize("name", ["{x}", "[1]", "{}", '{"a": 1}', "{" * 9, "[" * 99_999, '"Tumor"'])
def test_classes_with_brackets_in_their_names(tmp_path: Path, name: str) -> None:
    (found,) = read_annotations(write(tmp_path / "a.geojson", feature(classification=name)))
    assert found.path_class == name


def test_an_area_of_several_classes_is_several_annotations(tmp_path: Path) -> None:
    bare = [{"type": "Feature", "geometry": SQUARE, "properties": {"name": name}} for name in "abc"]
    apart = feature({"type": "Point", "coordinates": [1, 2]})
    first = read_annotations(write(tmp_path / "a.geojson", bare[:1]))
    for features in (bare, [bare[0], apart, *bare[1:]], [bare[0], feature(SQUARE) | {"id": ID}, *bare[1:]]):
        found = read_annotations(write(tmp_path / "a.geojson", features))
        assert len({one.id for one in found}) == len(found)
        assert found == read_annotations(tmp_path / "a.geojson")
        assert found[0].id == first[0].id


@pytest.mark.parametrize(
    ("geometry", "roi"),
    [
        ({"type": "Polygon", "coordinates": [[[0, 0], [4, 0], [4, 4], [0, 0]]]}, "Polygon"),
        ({"type": "MultiPolygon", "coordinates": [SQUARE["coordinates"]]}, "Geometry"),
        ({"type": "Point", "coordinates": [1, 2]}, "Points"),
        ({"type": "MultiPoint", "coordinates": [[1, 2], [3, 4]]}, "Points"),
        ({"type": "LineString", "coordinates": [[1, 2], [3, 4]]}, "Line"),
        ({"type": "LineString", "coordinates": [[1, 2], [3, 4], [5, 0]]}, "Polyline"),
    ],
)
def test_names_of_shapes(tmp_path: Path, geometry: dict[str, Any], roi: str) -> None:
    (found,) = read_annotations(write(tmp_path / "a.geojson", feature(geometry)))
    assert found.roi == roi
    assert shapely.to_geojson(found.geometry).startswith('{"type":"' + geometry["type"] + '"')


@pytest.mark.parametrize(
    "text",
    [
        "",
        "{",
        "3",
        '["a"]',
        "[" * 100_000,
        json.dumps(feature(None)),
        json.dumps(feature(3)),
        json.dumps(feature({"type": "Circle"})),
        json.dumps(feature({"type": "Polygon", "coordinates": [[[0, 0], [1, 1]]]})),
        json.dumps(feature({"type": "Point", "coordinates": [1e300, 0]})),
        json.dumps({"properties": 3}),
    ],
)
def test_anything_but_geojson_is_refused_in_one_line(tmp_path: Path, text: str) -> None:
    path = tmp_path / "a.geojson"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(EntryDataError, match=r"a\.geojson") as raised:
        read_annotations(path)
    assert "\n" not in str(raised.value)


def test_a_packed_file_cut_off(tmp_path: Path) -> None:
    path = write(tmp_path / "a.geojson.gz", [feature()] * 50)
    path.write_bytes(path.read_bytes()[:-12])
    with pytest.raises(EntryDataError):
        read_annotations(path)
    path.write_bytes(b"not packed at all")
    with pytest.raises(EntryDataError):
        read_annotations(path)
