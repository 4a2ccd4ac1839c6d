"""Stain measurements against arithmetic and against QuPath's own values."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import shapely
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from cellgennet_qupath.measure.intensity import grouped_statistics, stain_columns, stain_measurements
from cellgennet_qupath.qupath.open import open_project
from cellgennet_qupath.qupath.project import StainVectors
from cellgennet_qupath.qupath.stains import H_DAB, H_E
from cellgennet_qupath.slides.reader import open_slide


def objects(*shapes: shapely.Geometry) -> NDArray[np.object_]:
    column = np.empty(len(shapes), dtype=object)
    column[:] = shapes
    return column


def stained(amounts: NDArray[np.float64], stains: StainVectors) -> NDArray[np.float64]:
    """Colours, unrounded, of (..., stains) amounts."""
    density = amounts @ np.array(stains.vectors)
    return np.asarray(np.array(stains.background) * 10**-density)


@pytest.mark.parametrize("version", ["v0.5", "v0.7"])
def test_as_qupath_measures(shared: Path, version: str) -> None:
    seen = 0
    with open_project(shared / "qupath" / f"project_{version}", "files") as project:
        for entry in project.entries:
            file = shared / "qupath" / f"measured_{version}" / f"{entry.id}.geojson"
            if not file.exists():
                continue
            features = json.loads(file.read_text(encoding="utf-8"))["features"]
            polygons = shapely.from_geojson([json.dumps(feature["geometry"]) for feature in features])
            theirs = [feature["properties"]["measurements"] for feature in features]
            stains = project.stains(entry)
            assert stains is not None and entry.slide is not None
            with open_slide(entry.slide, entry.series) as reader:
                pixels = reader.read_grid(0, 0, reader.width, reader.height, 1.0)
            ours = stain_measurements(pixels, np.asarray(polygons, dtype=object), stains)
            assert list(ours.columns) == list(theirs[0])[-len(ours.columns) :] == stain_columns(stains)
            for name in ours.columns:
                expected = np.array([row[name] for row in theirs])
                assert ours[name].to_numpy() == pytest.approx(expected, abs=1e-6), name
            seen += len(theirs)
    assert seen == 175


def test_known_amounts_come_back() -> None:
    own = StainVectors(("A", "B"), ((0.6, 0.8, 0.0), (0.1, 0.3, np.sqrt(0.9))), (230.0, 240.0, 250.0))
    amounts = np.array([[[0.2, 0.5], [0.4, 0.1], [0.0, 0.0]]])
    pixels = np.rint(stained(amounts, own)).astype(np.uint8)
    table = stain_measurements(pixels, objects(shapely.box(0, 0, 2, 1), shapely.box(2, 0, 3, 1)), own)
    first, second = table.to_dict("records")
    assert first["A: Mean"] == pytest.approx(0.3, abs=0.005)
    assert first["A: Median"] == pytest.approx(0.3, abs=0.005)
    assert (first["A: Min"], first["A: Max"]) == pytest.approx((0.2, 0.4), abs=0.005)
    assert first["B: Std.Dev."] == pytest.approx(np.std([0.5, 0.1], ddof=1), abs=0.005)
    assert list(second.values()) == pytest.approx([0.0] * 10, abs=0.005)


def test_three_stains_are_all_measured() -> None:
    three = StainVectors(("A", "B", "C"), ((0.9, 0.3, 0.3), (0.2, 0.9, 0.3), (0.3, 0.2, 0.9)))
    unit = np.array(three.vectors) / np.linalg.norm(three.vectors, axis=1, keepdims=True)
    pixels = np.rint(255 * 10 ** -(np.array([0.3, 0.2, 0.5]) @ unit)).astype(np.uint8)[None, None]
    table = stain_measurements(pixels, objects(shapely.box(0, 0, 1, 1)), three)
    assert table[["A: Mean", "B: Mean", "C: Mean"]].iloc[0].tolist() == pytest.approx(
        [0.3, 0.2, 0.5], abs=0.01
    )


@pytest.mark.parametrize("value", [0, 1, 128, 255])
def test_a_constant_image_has_no_spread_and_no_nan(value: int) -> None:
    pixels = np.full((40, 40, 3), value, np.uint8)
    discs = objects(*(shapely.Point(20, 20).buffer(radius) for radius in (1, 3, 7, 15)))
    for stains in (H_E, H_DAB):
        table = stain_measurements(pixels, discs, stains)
        assert np.isfinite(table.to_numpy()).all()
        for name in stains.names:
            assert (table[f"{name}: Std.Dev."] == 0).all()
            for statistic in ("Median", "Min", "Max"):
                assert table[f"{name}: {statistic}"].to_list() == table[f"{name}: Mean"].to_list()
        if value == 255:
            assert not np.signbit(table.to_numpy()).any()
            assert (table == 0).all(axis=None)


def test_a_nucleus_of_one_pixel_and_one_of_none() -> None:
    pixels = np.full((4, 4, 3), 100, np.uint8)
    table = stain_measurements(pixels, objects(shapely.box(1, 1, 2, 2), shapely.box(1.6, 1.6, 2.4, 2.4)), H_E)
    assert table["Hematoxylin: Std.Dev."].tolist()[0] == 0
    assert table.iloc[0].notna().all()
    assert table.iloc[1].isna().all()


def test_overlapping_nuclei_are_measured_each_on_its_own() -> None:
    pixels = np.random.default_rng(1).integers(0, 256, (30, 30, 3), dtype=np.uint8)
    pair = objects(shapely.box(2, 2, 20, 20), shapely.box(10, 10, 28, 28))
    both = stain_measurements(pixels, pair, H_E)
    for row in (0, 1):
        alone = stain_measurements(pixels, pair[row : row + 1], H_E)
        assert both.iloc[row].tolist() == alone.iloc[0].tolist()


def test_many_pixels_are_measured_in_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    pixels = np.random.default_rng(2).integers(0, 256, (60, 60, 3), dtype=np.uint8)
    nuclei = objects(*(shapely.Point(x, y).buffer(6) for x in range(0, 60, 9) for y in range(0, 60, 9)))
    whole = stain_measurements(pixels, nuclei, H_E)
    for limit in (1, 150, 1000):
        monkeypatch.setattr("cellgennet_qupath.measure.intensity._PIXELS_AT_ONCE", limit)
        assert stain_measurements(pixels, nuclei, H_E).equals(whole)


@settings(max_examples=30)
@given(x=st.integers(0, 12), y=st.integers(0, 12), seed=st.integers(0, 99))
def test_any_window_gives_the_same(x: int, y: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    pixels = rng.integers(0, 256, (50, 60, 3), dtype=np.uint8)
    nuclei = objects(*(shapely.Point(*rng.uniform(20, 40, 2)).buffer(rng.uniform(2, 6)) for _ in range(5)))
    whole = stain_measurements(pixels, nuclei, H_DAB)
    window = stain_measurements(pixels[y:, x:], nuclei, H_DAB, origin=(x, y))
    assert window.equals(whole)


@settings(max_examples=60)
@given(
    groups=st.lists(
        st.lists(st.floats(-1e6, 1e6, width=32, allow_subnormal=False), max_size=9), min_size=1, max_size=6
    )
)
def test_statistics_of_groups(groups: list[list[float]]) -> None:
    values = np.array([value for group in groups for value in group], np.float32)
    size = np.array([len(group) for group in groups])
    found = grouped_statistics(values, size)
    for row, group in zip(found, groups, strict=True):
        if not group:
            assert np.isnan(row).all()
            continue
        numbers = np.array(group, np.float32).astype(np.float64)
        spread = numbers.std(ddof=1) if len(group) > 1 else 0.0
        expected = [numbers.mean(), np.median(numbers), numbers.min(), numbers.max(), spread]
        assert row == pytest.approx(expected, rel=1e-9, abs=1e-9)


def test_no_nuclei_keep_their_columns() -> None:
    table = stain_measurements(np.zeros((5, 5, 3), np.uint8), np.empty(0, dtype=object), H_E)
    assert list(table.columns) == stain_columns(H_E)
    assert len(table) == 0
