"""Outlines of labels: area, place, validity, independence of the tile."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
import shapely
from hypothesis import given, settings
from hypothesis import strategies as st

from cellgennet_qupath.geometry.contours import label_polygons
from cellgennet_qupath.geometry.raster import rasterize


def ellipse(x: float, y: float, long: float, short: float, turn: float) -> shapely.Polygon:
    disc = shapely.Point(0, 0).buffer(1, quad_segs=64)
    scaled = shapely.affinity.scale(disc, long, short)
    return shapely.affinity.translate(shapely.affinity.rotate(scaled, turn), x, y)


@pytest.mark.parametrize("downsample", [1.0, 2.0, 3.4])
@pytest.mark.parametrize("origin", [(0, 0), (-7, 12)])
def test_area_place_and_length_of_ellipses(downsample: float, origin: tuple[int, int]) -> None:
    generator = np.random.default_rng(4)
    shapes = [
        ellipse(
            (origin[0] + 30 + 60 * column + generator.uniform(0, 1)) * downsample,
            (origin[1] + 30 + 60 * row + generator.uniform(0, 1)) * downsample,
            generator.uniform(8, 20) * downsample,
            generator.uniform(6, 12) * downsample,
            generator.uniform(0, 180),
        )
        for row in range(10)
        for column in range(10)
    ]
    labels = rasterize(shapes, (600, 600), downsample, origin)
    outlines = label_polygons(labels, downsample, origin)
    area = shapely.area(outlines) / shapely.area(shapes)
    length = shapely.length(outlines) / shapely.length(shapes)
    shift = shapely.get_coordinates(shapely.centroid(outlines)) - shapely.get_coordinates(
        shapely.centroid(np.array(shapes))
    )
    assert abs(area.mean() - 1) < 0.002
    assert np.abs(area - 1).max() < 0.04
    assert abs(length.mean() - 1) < 0.015
    assert np.abs(shift.mean(axis=0)).max() < 0.02 * downsample
    assert np.abs(shift).max() < 0.25 * downsample
    # Half a sample of offset would show here whatever its direction.
    assert max(shapely.hausdorff_distance(outlines, shapes)) < 0.8 * downsample


def test_area_and_centroid_are_those_of_the_samples() -> None:
    labels = np.zeros((30, 40), np.int32)
    labels[4:9, 3:20] = 1
    labels[9:25, 3:7] = 1
    labels[12:20, 25:33] = 2
    outlines = label_polygons(labels, 2.0)
    for number, outline in enumerate(outlines, start=1):
        rows, columns = np.nonzero(labels == number)
        assert outline.area == pytest.approx(len(rows) * 4, rel=1e-3)
        assert outline.centroid.x == pytest.approx((columns.mean() + 0.5) * 2, abs=0.02)
        assert outline.centroid.y == pytest.approx((rows.mean() + 0.5) * 2, abs=0.02)


@settings(max_examples=60)
@given(seed=st.integers(0, 2**31), grain=st.floats(0.3, 3), number=st.integers(1, 6))
def test_whatever_the_labels_outlines_are_valid_polygons(seed: int, grain: float, number: int) -> None:
    noise = np.random.default_rng(seed).normal(size=(60, 70)).astype(np.float32)
    field = cv2.GaussianBlur(noise, (0, 0), grain)
    bands = np.digitize(field / field.std(), np.linspace(-1, 1.5, number)).astype(np.int32)
    _, inverse = np.unique(bands, return_inverse=True)
    labels = np.asarray(inverse.reshape(bands.shape), np.int32)
    outlines = label_polygons(labels)
    assert len(outlines) == labels.max()
    assert shapely.is_valid(outlines).all()
    assert (shapely.get_type_id(outlines) == shapely.GeometryType.POLYGON).all()
    assert (shapely.get_num_interior_rings(outlines) == 0).all()
    assert (shapely.area(outlines) > 0.9).all()


@settings(max_examples=30)
@given(
    seed=st.integers(0, 2**31),
    dx=st.integers(0, 40),
    dy=st.integers(0, 40),
    downsample=st.sampled_from([1.0, 2.0, 3.4]),
)
def test_an_outline_does_not_depend_on_the_tile(seed: int, dx: int, dy: int, downsample: float) -> None:
    generator = np.random.default_rng(seed)
    image = (cv2.GaussianBlur(generator.normal(size=(40, 50)).astype(np.float32), (0, 0), 2) > 0.05).astype(
        np.uint8
    )
    labels = np.asarray(cv2.connectedComponents(image, connectivity=4)[1], np.int32)
    moved = np.pad(labels, ((dy, 3), (dx, 5)))
    here = label_polygons(labels, downsample, (1000, 2000))
    there = label_polygons(moved, downsample, (1000 - dx, 2000 - dy))
    assert [shape.wkb for shape in here] == [shape.wkb for shape in there]


def test_the_largest_part_is_kept_and_holes_are_filled() -> None:
    labels = np.zeros((20, 30), np.int32)
    labels[2:12, 2:12] = 1
    labels[5:8, 5:8] = 0
    labels[2:5, 20:23] = 1
    labels[12:14, 12:14] = 1  # touches at a corner only
    (outline,) = label_polygons(labels)
    assert outline.area == pytest.approx(100, rel=1e-3)
    assert outline.bounds[2] < 12.5


def test_one_sample_objects_and_the_edge_of_the_image() -> None:
    labels = np.zeros((1, 4), np.int32)
    labels[0, 0], labels[0, 3] = 1, 2
    outlines = label_polygons(labels, 2.0)
    assert shapely.area(outlines) == pytest.approx([4, 4], rel=0.01)
    assert outlines[1].centroid.coords[0] == pytest.approx((7, 1), abs=0.01)


def test_no_objects() -> None:
    assert len(label_polygons(np.zeros((5, 5), np.int32))) == 0


def test_gaps_in_the_numbers_are_refused() -> None:
    labels = np.zeros((5, 5), np.int32)
    labels[1, 1] = 3
    with pytest.raises(ValueError, match="without gaps"):
        label_polygons(labels)
