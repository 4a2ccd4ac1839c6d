"""Outlines: which are nuclei, and which the reader sets aside, joins and divides."""

from __future__ import annotations

import time
from collections.abc import Callable

import numpy as np
import pytest
import shapely

from cellgennet_qupath.annotations.findings import Kind
from cellgennet_qupath.annotations.labels import UNKNOWN, Split
from cellgennet_qupath.qupath.project import Annotation
from tests.helpers import annotation

from .reading import GOOD, REGION, ROW, box, disc, kinds, raster, read


@pytest.mark.parametrize(
    "around",
    [
        box(0, 0, 399, 299, ""),
        box(20, 20, 160, 160, ""),
        box(22, 22, 157, 157, "Nucleus"),
        annotation(shapely.box(0, 0, 399, 299).difference(shapely.box(15, 15, 190, 190))),
    ],
    ids=["tissue", "the same rectangle", "a rectangle of nuclei", "tissue with a hole for the region"],
)
def test_an_outline_around_a_region_is_left_out(around: Annotation) -> None:
    alone, beside = read(*GOOD), read(*GOOD, around)
    np.testing.assert_array_equal(raster(alone).objects, raster(beside).objects)
    assert kinds(beside)[Kind.HOLDS_REGION] == 1


def test_tissue_of_a_thresholder_is_left_out_with_its_islands_and_holes() -> None:
    tissue = shapely.difference(shapely.box(0, 0, 250, 299), shapely.Point(220, 250).buffer(12))
    islands = [shapely.Point(280 + 30 * i, 100).buffer(9) for i in range(4)]
    alone = read(*GOOD)
    beside = read(*GOOD, annotation(shapely.union_all([tissue, *islands])))
    np.testing.assert_array_equal(raster(alone).objects, raster(beside).objects)
    assert kinds(beside) == {Kind.HOLDS_REGION: 1, Kind.OUTSIDE_REGIONS: 4}


def test_an_outline_around_nuclei_is_left_out() -> None:
    gland = box(35, 45, 70, 35, "")
    alone, beside = read(*GOOD), read(*GOOD, gland)
    np.testing.assert_array_equal(raster(alone).foreground, raster(beside).foreground)
    assert kinds(beside) == {Kind.HOLDS_NUCLEI: 1}


def test_an_outline_too_large_for_a_nucleus_is_unknown() -> None:
    found = read(*GOOD, box(40, 80, 130, 130, ""))
    assert kinds(found) == {Kind.TOO_LARGE: 1}
    assert (raster(found).foreground[100:170, 50:160] == UNKNOWN).all()
    assert found.count(Split.TRAINING) == 3


def test_a_slip_of_the_hand_is_not_a_nucleus() -> None:
    found = read(*GOOD, box(100, 150, 3, 3, ""))
    assert kinds(found) == {Kind.TOO_SMALL: 1}
    assert found.count(Split.TRAINING) == 3
    assert (raster(found).foreground[150:153, 100:103] == UNKNOWN).all()


@pytest.mark.parametrize("larger", [0.0, 1.5, -1.5])
def test_a_nucleus_drawn_twice_counts_once(larger: float) -> None:
    again = [annotation(shapely.buffer(one.geometry, larger), "Nucleus") for one in ROW]
    found = read(*GOOD, *again)
    assert found.count(Split.TRAINING) == 3
    assert kinds(found) == {Kind.DRAWN_TWICE: 3}


def test_a_nucleus_drawn_three_times_does_not_hold_two_nuclei() -> None:
    found = read(REGION, disc(60, 60, 10), disc(60, 60, 11), disc(60, 60, 12))
    assert kinds(found) == {Kind.DRAWN_TWICE: 2}
    assert found.count(Split.TRAINING) == 1
    assert abs(shapely.area(found.nuclei[0]) - shapely.Point(0, 0).buffer(12).area) < 1


def test_of_a_nucleus_and_its_nucleoli_the_nucleus_stays() -> None:
    nucleoli = [disc(55, 60, 4), disc(66, 60, 5)]
    found = read(REGION, disc(60, 60, 16), *nucleoli)
    assert kinds(found) == {Kind.INSIDE_NUCLEUS: 2}
    assert len(np.unique(raster(found).objects)) == 3


@pytest.mark.parametrize("apart", [20.0, 16.0])
@pytest.mark.parametrize("kind", [shapely.MultiPolygon, shapely.GeometryCollection])
@pytest.mark.parametrize("path_class", ["", "Nucleus"])
def test_merged_nuclei_that_touch_or_overlap_are_separated(apart: float, kind: type, path_class: str) -> None:
    squares = [shapely.box(x, 50, x + 20, 70) for x in (40, 40 + apart, 100)]
    found = read(REGION, annotation(kind(squares), path_class))
    assert found.count(Split.TRAINING) == 3
    assert kinds(found) == {Kind.SPLIT: 3}
    apart_drawn = read(REGION, *(annotation(one, path_class) for one in squares))
    np.testing.assert_array_equal(raster(found).objects, raster(apart_drawn).objects)


def spiked(shape: shapely.Geometry) -> shapely.Polygon:
    """The shape with a line that leaves its outline and comes back, as a slip of the hand draws it."""
    start = shapely.get_coordinates(shape)[0]
    return shapely.Polygon([*shapely.get_coordinates(shape), start - 1, start])


@pytest.mark.parametrize(
    "wrapped",
    [
        lambda shape: shapely.GeometryCollection([shape, shapely.LineString([(0, 0), (9, 9)])]),
        lambda shape: shapely.GeometryCollection([shapely.GeometryCollection([shape])]),
        lambda shape: shapely.GeometryCollection([spiked(shape)]),
    ],
)
def test_collections_are_what_they_hold(wrapped: Callable[[shapely.Geometry], shapely.Geometry]) -> None:
    drawn = [annotation(wrapped(one.geometry), one.path_class) for one in GOOD]
    found = read(*drawn, size=(500, 500))
    assert found.count(Split.TRAINING) == 3
    assert not {Kind.OFF_IMAGE, Kind.NO_AREA}.intersection(kinds(found))


def test_a_region_of_overlapping_parts_is_all_of_them() -> None:
    parts = shapely.MultiPolygon([shapely.box(20, 20, 100, 180), shapely.box(80, 20, 180, 180)])
    found = read(annotation(parts, "Training"), *ROW)
    np.testing.assert_array_equal(raster(found).objects, raster(read(*GOOD)).objects)


def test_overlapping_nuclei_stay_two() -> None:
    found = read(REGION, disc(60, 60), disc(73, 60))
    assert found.count(Split.TRAINING) == 2
    assert not found.findings


def test_parts_far_apart_are_nuclei_of_their_own() -> None:
    parts = shapely.union_all([*(one.geometry for one in ROW), shapely.box(100, 120, 102, 122)])
    found = read(REGION, annotation(parts, "Nucleus"))
    assert found.count(Split.TRAINING) == 3
    assert kinds(found) == {Kind.SPLIT: 3}
    assert (raster(found).foreground[120:122, 100:102] == UNKNOWN).all(), "a crumb is no nucleus"


def test_a_splinter_beside_its_nucleus_belongs_to_it() -> None:
    parts = shapely.union_all([ROW[0].geometry, shapely.box(61, 58, 63, 61)])
    found = read(REGION, annotation(parts))
    assert found.count(Split.TRAINING) == 1
    assert raster(found).objects[59, 62] == raster(found).objects[60, 50] > 0
    assert not found.findings


def test_rings_of_nuclei_are_filled_and_holes_of_regions_stay() -> None:
    ring = shapely.Point(60, 60).buffer(12).difference(shapely.Point(60, 60).buffer(8))
    region = annotation(shapely.difference(REGION.geometry, shapely.box(120, 120, 140, 140)), "Training")
    found = read(region, annotation(ring))
    assert kinds(found) == {Kind.FILLED: 1}
    assert raster(found).objects[60, 60] > 0
    assert (raster(found).foreground[120:140, 120:140] == UNKNOWN).all()


def test_the_size_of_a_nucleus_without_a_pixel_size() -> None:
    found = read(*GOOD, disc(60, 120, 10, "Tumor"), box(30, 100, 140, 70, "Stroma"), mpp=None)
    assert kinds(found) == {Kind.OTHER_CLASS: 1}


def test_thousands_of_outlines_take_seconds() -> None:
    shapes = [disc(12 + 22 * (i % 70), 12 + 22 * (i // 70)) for i in range(4900)]
    again = [annotation(shapely.buffer(one.geometry, 1.0)) for one in shapes[::2]]
    tissue = annotation(shapely.Point(800, 800).buffer(1500, quad_segs=2000))
    begin = time.process_time()
    found = read(box(0, 0, 1600, 1600), tissue, *shapes, *again, size=(1600, 1600))
    assert found.count(Split.TRAINING) == 4900
    assert time.process_time() - begin < 20, "about one second; a busy machine needs more"
