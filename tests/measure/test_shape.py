"""Shape measurements against geometry and against QuPath's own values."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import shapely
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from cellgennet_qupath.measure.shape import shape_measurements

COLUMNS = ["Area µm^2", "Length µm", "Circularity", "Solidity", "Max diameter µm", "Min diameter µm"]


@pytest.mark.parametrize("version", ["v0.5", "v0.7"])
def test_as_qupath_measures(shared: Path, version: str) -> None:
    seen = 0
    for file in sorted((shared / "qupath" / f"measured_{version}").glob("*.geojson")):
        features = json.loads(file.read_text(encoding="utf-8"))["features"]
        polygons = shapely.from_geojson([json.dumps(feature["geometry"]) for feature in features])
        theirs = [feature["properties"]["measurements"] for feature in features]
        assert list(theirs[0])[: len(COLUMNS)] == COLUMNS
        ours = shape_measurements(np.asarray(polygons, dtype=object), (0.25, 0.25))
        assert list(ours.columns) == COLUMNS
        for name in COLUMNS:
            expected = np.array([row[name] for row in theirs])
            assert ours[name].mean() == pytest.approx(expected.mean(), rel=1e-5), name
            assert ours[name].to_numpy() == pytest.approx(expected, rel=1e-5), name
        seen += len(theirs)
    assert seen > 50


def objects(*shapes: shapely.Geometry) -> NDArray[np.object_]:
    column = np.empty(len(shapes), dtype=object)
    column[:] = shapes
    return column


def test_a_rectangle_a_triangle_and_a_disc_by_hand() -> None:
    rectangle = shapely.box(10, 20, 14, 23)
    triangle = shapely.Polygon([(0, 0), (2, 0), (1, np.sqrt(3))])
    disc = shapely.Point(5, 5).buffer(10, quad_segs=256)
    table = shape_measurements(objects(rectangle, triangle, disc))
    assert list(table.columns) == [name.replace("µm", "px") for name in COLUMNS]
    assert table.iloc[0].tolist() == pytest.approx([12, 14, 4 * np.pi * 12 / 196, 1, 5, 3])
    assert table.iloc[1].tolist() == pytest.approx(
        [np.sqrt(3), 6, 4 * np.pi * np.sqrt(3) / 36, 1, 4 / np.sqrt(3), np.sqrt(3)]
    )
    assert table.iloc[2].tolist() == pytest.approx([np.pi * 100, 20 * np.pi, 1, 1, 20, 20], rel=1e-4)


def test_solidity_holes_and_parts() -> None:
    ring = shapely.box(0, 0, 4, 4).difference(shapely.box(1, 1, 3, 3))
    pair = shapely.MultiPolygon([shapely.box(0, 0, 1, 1), shapely.box(3, 0, 4, 1)])
    table = shape_measurements(objects(ring, pair))
    assert table["Area px^2"].tolist() == [12, 2]
    assert table["Length px"].tolist() == [24, 8]
    assert table["Circularity"].tolist() == pytest.approx([np.pi / 4, np.nan], nan_ok=True)
    assert table["Solidity"].tolist() == [0.75, 0.5]
    assert table["Max diameter px"].tolist() == pytest.approx([np.sqrt(32), np.sqrt(17)])


def test_pixels_that_are_not_square() -> None:
    table = shape_measurements(objects(shapely.box(0, 0, 10, 10)), (0.5, 0.2))
    assert table.iloc[0][["Area µm^2", "Length µm", "Min diameter µm"]].tolist() == pytest.approx([10, 14, 2])


@settings(max_examples=50)
@given(seed=st.integers(0, 2**31), turn=st.floats(0, 180))
def test_diameters_of_any_outline(seed: int, turn: float) -> None:
    points = np.random.default_rng(seed).normal(size=(12, 2)) * (9, 3)
    shape = shapely.MultiPoint(points).convex_hull
    turned = shapely.affinity.rotate(shape, turn)
    table = shape_measurements(objects(shape, turned))
    assert table.iloc[0].to_numpy() == pytest.approx(table.iloc[1].to_numpy(), rel=1e-6)
    directions = np.linspace(0, np.pi, 3601)
    along = points @ np.array([np.cos(directions), np.sin(directions)])
    widths = along.max(axis=0) - along.min(axis=0)
    assert widths.max() * (1 - 1e-9) <= table["Max diameter px"][0] <= widths.max() * 2 / np.sqrt(3)
    assert table["Min diameter px"][0] == pytest.approx(widths.min(), rel=5e-3)
    assert table["Min diameter px"][0] <= widths.min() + 1e-9


def test_no_nuclei_keep_their_columns() -> None:
    table = shape_measurements(np.empty(0, dtype=object), (0.25, 0.25))
    assert list(table.columns) == COLUMNS
    assert len(table) == 0
