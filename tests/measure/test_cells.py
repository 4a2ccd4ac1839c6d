"""Nuclei grown into cells: as far as they may, never into each other."""

from __future__ import annotations

import numpy as np
import pytest
import shapely
from hypothesis import given, settings
from hypothesis import strategies as st

from cellgennet_qupath.measure import cells
from cellgennet_qupath.measure.cells import cell_outlines

MPP = (0.5, 0.5)


def column(*shapes: shapely.Geometry | None) -> np.ndarray:
    return np.array(shapes, dtype=object)


def overlaps(outlines: np.ndarray) -> float:
    first, second = shapely.STRtree(outlines).query(outlines)
    pair = first < second
    return float(shapely.area(shapely.intersection(outlines[first[pair]], outlines[second[pair]])).sum())


def apart(nuclei: np.ndarray) -> np.ndarray:
    """Those of the nuclei that overlap none before them."""
    chosen: list[int] = []
    for row in range(len(nuclei)):
        if not shapely.area(shapely.intersection(nuclei[row], nuclei[chosen])).any():
            chosen.append(row)
    return nuclei[chosen]


def test_a_lonely_nucleus_grows_by_the_distance() -> None:
    (cell,) = cell_outlines(column(shapely.box(100, 100, 120, 110)), 4.0, MPP)
    assert cell.bounds == pytest.approx((92, 92, 128, 118))
    assert cell.area == pytest.approx(20 * 10 + 2 * 8 * 30 + np.pi * 64, rel=0.02)


def test_micrometres_are_measured_along_each_axis() -> None:
    (cell,) = cell_outlines(column(shapely.box(100, 100, 120, 120)), 2.0, (0.5, 0.25))
    assert cell.bounds == pytest.approx((96, 92, 124, 128))


def test_the_border_is_halfway_between_neighbours() -> None:
    left, right = cell_outlines(column(shapely.box(0, 0, 10, 10), shapely.box(16, 0, 26, 10)), 5.0, MPP)
    assert left.bounds[2] == pytest.approx(13)
    assert right.bounds[0] == pytest.approx(13)
    assert left.bounds[0] == pytest.approx(-10)


def test_touching_nuclei_share_their_border() -> None:
    left, right = cell_outlines(column(shapely.box(0, 0, 10, 10), shapely.box(10, 0, 20, 10)), 5.0, MPP)
    assert left.bounds[2] == pytest.approx(10)
    assert right.bounds[0] == pytest.approx(10)


def test_a_nucleus_is_never_taken_by_a_neighbour_that_it_winds_around() -> None:
    hook = shapely.Polygon([(0, 0), (30, 0), (30, 30), (0, 30), (0, 20), (20, 20), (20, 10), (0, 10)])
    inside = shapely.box(4, 13, 12, 17)
    nuclei = column(hook, inside)
    found = cell_outlines(nuclei, 5.0, MPP)
    assert shapely.covers(shapely.buffer(found, 1e-9), nuclei).all()
    assert overlaps(found) < 1e-6
    assert found[1].area > inside.area


def test_cells_stay_inside_the_image_and_their_annotation() -> None:
    annotation = shapely.box(0, 0, 60, 60)
    nuclei = column(shapely.box(2, 2, 10, 10), shapely.box(55, 30, 65, 40), shapely.box(90, 90, 98, 98))
    found = cell_outlines(nuclei, 5.0, MPP, (100, 100), column(annotation, annotation, None))
    assert found[0].bounds == pytest.approx((0, 0, 20, 20))
    # as far as the nucleus does, and no farther
    assert shapely.difference(found[1], annotation).area == pytest.approx(5 * 10)
    assert found[2].bounds[2:] == pytest.approx((100, 100))


def test_none_and_one_block_after_another(monkeypatch: pytest.MonkeyPatch) -> None:
    assert len(cell_outlines(column(), 5.0, MPP)) == 0
    nuclei = column(*(shapely.box(12 * n, 0, 12 * n + 8, 8) for n in range(9)))
    whole = cell_outlines(nuclei, 5.0, MPP)
    monkeypatch.setattr(cells, "_AT_ONCE", 2)
    assert shapely.equals_exact(whole, cell_outlines(nuclei, 5.0, MPP), 1e-9).all()


disc = st.tuples(st.floats(0, 150), st.floats(0, 150), st.floats(2, 12), st.integers(1, 6))


@settings(max_examples=60, deadline=None)
@given(st.lists(disc, min_size=1, max_size=25), st.floats(0.5, 10))
def test_cells_contain_their_nuclei_and_overlap_no_other(
    discs: list[tuple[float, float, float, int]], distance: float
) -> None:
    nuclei = apart(column(*(shapely.buffer(shapely.Point(x, y), r, quad_segs=q) for x, y, r, q in discs)))
    found = cell_outlines(nuclei, distance, MPP, (150, 150))
    frame = shapely.box(0, 0, 150, 150)
    assert shapely.is_valid(found).all()
    assert (shapely.get_type_id(found) == shapely.GeometryType.POLYGON).all()
    assert shapely.area(shapely.difference(nuclei, found)).max() < 1e-6
    assert overlaps(found) < 1e-6
    reach = shapely.buffer(nuclei, distance / MPP[0] + 1e-6, quad_segs=32)
    assert shapely.area(shapely.difference(found, reach)).max() < 1e-6
    assert shapely.area(shapely.difference(shapely.difference(found, nuclei), frame)).max() < 1e-6


@settings(max_examples=30, deadline=None)
@given(st.lists(disc, min_size=2, max_size=25))
def test_far_nuclei_make_no_difference(discs: list[tuple[float, float, float, int]]) -> None:
    nuclei = apart(column(*(shapely.buffer(shapely.Point(x, y), r, quad_segs=q) for x, y, r, q in discs)))
    near = shapely.distance(nuclei, nuclei[0]) <= 2 * 3.0 / MPP[0]
    whole, some = cell_outlines(nuclei, 3.0, MPP), cell_outlines(nuclei[near], 3.0, MPP)
    assert shapely.area(shapely.symmetric_difference(whole[0], some[0])) < 1e-9


def test_the_shape_of_many_cells_is_copied_once(monkeypatch: pytest.MonkeyPatch) -> None:
    nuclei = column(*(shapely.box(x, y, x + 8, y + 8) for x in range(0, 240, 20) for y in range(0, 240, 20)))
    region = shapely.Point(120, 120).buffer(110, quad_segs=500)
    vertices: list[int] = []
    real = shapely.transform

    def counting(shapes: object, change: object) -> object:
        vertices.append(int(shapely.get_num_coordinates(np.asarray(shapes, dtype=object)).sum()))
        return real(shapes, change)  # type: ignore[call-overload]

    monkeypatch.setattr(shapely, "transform", counting)
    limits = np.full(len(nuclei), region, dtype=object)
    limits[::7] = None
    cells = cell_outlines(nuclei, 5.0, (0.5, 0.5), None, limits)
    assert sum(vertices) < 10 * shapely.get_num_coordinates(region)
    kept = shapely.area(shapely.difference(cells, shapely.union(region, nuclei)))
    assert (kept[~shapely.is_missing(limits)] < 1e-6).all()
    assert (kept[shapely.is_missing(limits)] > 1).any()


def test_cells_on_a_border_of_many_vertices_are_clipped_to_it() -> None:
    nuclei = column(*(shapely.box(x, y, x + 8, y + 8) for x in range(0, 400, 20) for y in range(0, 400, 20)))
    angle = np.linspace(0, 2 * np.pi, 4000, endpoint=False)
    reach = 180 + 20 * np.sin(angle * 200)
    region = shapely.Polygon(200 + reach[:, None] * np.column_stack([np.cos(angle), np.sin(angle)]))
    limits = np.full(len(nuclei), region, dtype=object)
    free = cell_outlines(nuclei, 5.0, (0.5, 0.5))
    found = cell_outlines(nuclei, 5.0, (0.5, 0.5), None, limits)
    # What lies in several parts keeps the one around its nucleus, so only those of one part are compared.
    expected = shapely.union(shapely.intersection(free, region), nuclei)
    one = shapely.get_type_id(expected) == shapely.GeometryType.POLYGON
    assert one.sum() > 200
    assert (shapely.area(expected) < shapely.area(free) - 1)[one].sum() > 20
    assert shapely.area(shapely.symmetric_difference(found[one], expected[one])).max() < 1e-6
