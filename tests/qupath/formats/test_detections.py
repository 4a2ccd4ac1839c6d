"""Nuclei out as detections that QuPath imports whole, and in again."""

from __future__ import annotations

import gzip
import json
import math
import os
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import shapely
from hypothesis import given, settings
from hypothesis import strategies as st

from cellgennet_qupath import nuclei as all_nuclei
from cellgennet_qupath.core.errors import EntryDataError
from cellgennet_qupath.nuclei import Nuclei, empty
from cellgennet_qupath.qupath.formats import detections
from cellgennet_qupath.qupath.formats.detections import read_detections, write_detections
from cellgennet_qupath.qupath.formats.outlines import importable


def discs(n: int) -> list[shapely.Geometry]:
    return [shapely.Point(20.123456 * k, 7 * k % 100).buffer(3 + k % 5) for k in range(n)]


def nuclei(n: int = 10) -> Nuclei:
    base = Nuclei.from_polygons(discs(n), np.linspace(0, 1, n))
    table = pd.DataFrame(
        {
            "Hematoxylin: Mean": np.where(np.arange(n) % 3 == 0, np.nan, np.arange(n) / 7),
            "Area µm^2": np.arange(n) * 1.5,
            "Never": np.full(n, np.nan),
        }
    ).astype(np.float32)
    classes = np.array(["Nucleus", "Tumor: Positive", ""] * n, dtype=object)[:n]
    z = (np.arange(n) % 2).astype(np.int32)
    return Nuclei(base.polygons, base.probability, classes, base.ids, z, 2 * z, table.astype(np.float64))


def features(path: Path) -> list[dict[str, Any]]:
    content = json.loads(gzip.decompress(path.read_bytes()))
    assert content["type"] == "FeatureCollection"
    return list(content["features"])


def test_there_and_back(tmp_path: Path) -> None:
    there = nuclei(50)
    path = tmp_path / "new" / "1.geojson.gz"
    assert write_detections(path, there) == 50
    back = read_detections(path)
    np.testing.assert_array_equal(back.ids, there.ids)
    np.testing.assert_array_equal(back.classes, there.classes)
    np.testing.assert_array_equal(back.probability, there.probability)
    np.testing.assert_array_equal(back.z, there.z)
    np.testing.assert_array_equal(back.t, there.t)
    pd.testing.assert_frame_equal(back.measurements, there.measurements, rtol=1e-7)
    assert shapely.equals_exact(back.polygons, there.polygons, 0.0071).all()


def test_no_nuclei_and_several_blocks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "1.geojson.gz"
    assert write_detections(path, empty()) == 0
    assert features(path) == []
    assert len(read_detections(path)) == 0
    for module in (all_nuclei, detections):
        monkeypatch.setattr(module, "CHUNK", 4)
    there = nuclei(10)
    write_detections(path, there)
    assert len(features(path)) == 10
    np.testing.assert_array_equal(read_detections(path).ids, there.ids)


def test_equal_nuclei_give_equal_bytes(tmp_path: Path) -> None:
    first, second = tmp_path / "1.geojson.gz", tmp_path / "2.geojson.gz"
    write_detections(first, nuclei())
    write_detections(second, nuclei())
    assert first.read_bytes() == second.read_bytes()


def test_what_qupath_insists_on(tmp_path: Path) -> None:
    path = tmp_path / "1.geojson.gz"
    there = nuclei(6)
    there.ids[0] = "no uuid"
    write_detections(path, there, {"Nucleus": (1, 2, 3)})
    written = features(path)
    for row, feature in enumerate(written):
        properties = feature["properties"]
        assert properties["objectType"] == "detection"
        assert len(feature["id"]) == 36
        assert "NaN" not in json.dumps(properties)
        plane = {"c": -1, "z": 1, "t": 2} if row % 2 else None
        assert feature["geometry"].get("plane") == plane
        for x, y in feature["geometry"]["coordinates"][0]:
            assert (x, y) == (round(x, 2), round(y, 2))
    assert written[0]["properties"]["classification"] == {"name": "Nucleus", "color": [1, 2, 3]}
    assert written[1]["properties"]["classification"]["names"] == ["Tumor", "Positive"]
    assert len(written[1]["properties"]["classification"]["color"]) == 3
    assert "classification" not in written[2]["properties"]
    assert written[1]["properties"]["measurements"]["Detection probability"] == pytest.approx(0.2)
    assert "Hematoxylin: Mean" not in written[0]["properties"]["measurements"]


BOW_TIE = shapely.Polygon([(0, 0), (10, 10), (10, 0), (0, 10)])
WITH_WHISKER = shapely.Polygon([(0, 0), (4, 0), (4, 4), (9, 9), (4, 4), (0, 4)])
ONE_PART = shapely.MultiPolygon([shapely.box(0, 0, 1, 1)])
TWO_PARTS = shapely.MultiPolygon([shapely.box(0, 0, 1, 1), shapely.box(3, 0, 4, 1)])
TOUCHING = shapely.MultiPolygon([shapely.box(0, 0, 1, 1), shapely.box(1, 0, 2, 1)])
SLIVER = shapely.Polygon([(0, 0), (1, 0.001), (1, 0)])
WITH_HOLE = shapely.box(0, 0, 9, 9).difference(shapely.box(2, 2, 4, 4))


@pytest.mark.parametrize(
    ("drawn", "kind", "area"),
    [
        (BOW_TIE, "Polygon", 25),
        (WITH_WHISKER, "Polygon", 16),
        (ONE_PART, "Polygon", 1),
        (TWO_PARTS, "MultiPolygon", 2),
        (TOUCHING, "Polygon", 2),
        (WITH_HOLE, "Polygon", 77),
        (SLIVER, "Polygon", 0),
        (shapely.box(0, 0, 50, 0.01), "Polygon", 0),
        (shapely.box(0, 0, 0.5, 0.5), "Polygon", 0),
        (shapely.box(0, 0, 0.8, 0.8), "Polygon", 0.64),
        (shapely.Polygon(), "Polygon", 0),
        (shapely.LineString([(0, 0), (1, 1)]), "Polygon", 0),
        (shapely.GeometryCollection([shapely.box(0, 0, 1, 1), shapely.Point(5, 5)]), "Polygon", 1),
        (shapely.Polygon([(0, 0), (math.inf, 0), (1, 1)]), "Polygon", 0),
        (None, "Polygon", 0),
    ],
)
def test_outlines_are_made_importable(drawn: shapely.Geometry | None, kind: str, area: float) -> None:
    polygons = np.empty(1, dtype=object)
    polygons[0] = drawn
    (made,) = importable(polygons)
    assert made.geom_type == kind
    assert made.is_valid
    assert made.area == pytest.approx(area)
    assert made.is_empty == (area == 0)
    assert polygons[0] is drawn


@pytest.mark.parametrize("far", [0.0, 1e5, 2.0**17, 3e5, 1e6])
def test_coordinates_are_those_that_32_bits_hold(far: float) -> None:
    """From 131,072 px on these are 1/64 px apart or more."""
    disc = shapely.transform(shapely.Point(0.123, 7.777).buffer(9), lambda xy: xy + np.array([far, 0.0]))
    crossed = shapely.transform(BOW_TIE, lambda xy: xy * 1.7 + np.array([far + 0.3, 0.1]))
    for made in importable(np.array([disc, crossed], dtype=object)):
        xy = shapely.get_coordinates(made)
        assert made.is_valid
        assert not made.is_empty
        beyond = np.abs(xy) >= 2**17
        np.testing.assert_array_equal(xy[beyond], xy[beyond].astype(np.float32))
    x, y = shapely.get_coordinates(importable(np.array([disc], dtype=object))[0]).T
    step = max(0.01, float(np.spacing(np.float32(far + 10))))
    assert np.abs(x - shapely.get_coordinates(disc)[:, 0]).max() <= step / 2 + 1e-9
    np.testing.assert_array_equal(y, np.round(shapely.get_coordinates(disc)[:, 1], 2))


def test_outlines_without_an_area_are_left_out(tmp_path: Path) -> None:
    path = tmp_path / "1.geojson.gz"
    assert write_detections(path, Nuclei.from_polygons([*discs(2), SLIVER, BOW_TIE])) == 3
    assert len(features(path)) == 3


point = st.tuples(st.floats(-3, 30, width=32), st.floats(-3, 30, width=32))


@settings(max_examples=200, deadline=None)
@given(st.lists(st.lists(point, min_size=3, max_size=12), min_size=1, max_size=5))
def test_whatever_is_drawn_becomes_valid_polygons_on_the_grid(rings: list[list[tuple[float, float]]]) -> None:
    polygons = np.empty(len(rings), dtype=object)
    polygons[:] = [shapely.Polygon(ring) for ring in rings]
    for made in importable(polygons):
        assert made.is_valid
        assert made.geom_type in ("Polygon", "MultiPolygon")
        assert made.geom_type == "Polygon" or len(made.geoms) > 1
        xy = shapely.get_coordinates(made)
        np.testing.assert_array_equal(xy, np.round(xy, 2))
        assert made.is_empty or made.area > 0


def test_detections_that_others_wrote(tmp_path: Path) -> None:
    square = {"type": "Polygon", "coordinates": [[[0, 0], [4, 0], [4, 4], [0, 0]]], "plane": {"z": 3, "t": 1}}
    properties = {"objectType": "cell", "measurements": {"A": "NaN", "B": 2, "Detection probability": 0.5}}
    foreign = [
        {"properties": properties, "geometry": square, "type": "Feature", "id": "x"},
        {"properties": {"objectType": "annotation"}, "geometry": square, "type": "Feature"},
        {"properties": {"objectType": "detection"}, "geometry": square, "type": "Feature"},
    ]
    path = tmp_path / "1.geojson"
    path.write_text(json.dumps({"type": "FeatureCollection", "features": foreign}), encoding="utf-8")
    found = read_detections(path)
    assert len(found) == 2
    np.testing.assert_array_equal(found.probability, [0.5, np.nan])
    np.testing.assert_array_equal(found.measurements["B"], [2, np.nan])
    assert np.isnan(found.measurements["A"]).all()
    assert (found.z.tolist(), found.t.tolist()) == ([3, 3], [1, 1])


@pytest.mark.parametrize("version", ["0.5", "0.7"])
def test_detections_that_qupath_exported(shared: Path, version: str) -> None:
    found = read_detections(shared / "qupath" / f"expected_v{version}" / "1.geojson")
    assert len(found) == 40
    assert set(found.classes) == {"Nucleus"}
    assert list(found.measurements) == ["Area µm^2", "Circularity", "Hematoxylin: Mean"]
    assert (shapely.area(found.polygons) > 0).all()


def test_a_file_cut_off_or_damaged_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "1.geojson.gz"
    write_detections(path, nuclei(40))
    whole = path.read_bytes()
    text = gzip.decompress(whole)
    for length in range(0, len(whole), max(1, len(whole) // 40)):
        path.write_bytes(whole[:length])
        with pytest.raises(EntryDataError):
            read_detections(path)
    for length in range(len(text) - 3, 0, -len(text) // 40):
        path.write_bytes(gzip.compress(text[:length]))
        with pytest.raises(EntryDataError):
            read_detections(path)
    for old, new in ((b'"Polygon"', b'"Point"'), (b'"geometry"', b'"g"'), (b":[[[", b":[["), (b"0.", b"x.")):
        path.write_bytes(gzip.compress(text.replace(old, new)))
        with pytest.raises(EntryDataError):
            read_detections(path)


def test_a_failed_write_leaves_the_old_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "1.geojson.gz"
    write_detections(path, nuclei(3))
    before = path.read_bytes()

    def full(descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(EntryDataError, match="No space left"):
        write_detections(path, nuclei(5))
    assert path.read_bytes() == before
    assert [file.name for file in tmp_path.iterdir()] == [path.name]
