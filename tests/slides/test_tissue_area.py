"""How much tissue is inside a shape, also in one narrower than the samples of the mask."""

from __future__ import annotations

import numpy as np
import pytest
import shapely

from cellgennet_qupath.slides.tissue_area import TissueArea

WIDTH, HEIGHT, STEP = 1000, 500, 48


def tissue(left: int = 0) -> TissueArea:
    """A slide with tissue right of ``left`` samples; its last samples reach beyond the image."""
    rows, columns = -(-HEIGHT // STEP), -(-WIDTH // STEP)
    mask = np.ones((rows, columns), bool)
    mask[:, :left] = False
    sides = (
        np.diff(np.minimum(np.arange(n + 1) * STEP, side)) for n, side in ((rows, HEIGHT), (columns, WIDTH))
    )
    return TissueArea(mask, np.outer(*sides).astype(float), STEP)


@pytest.mark.parametrize(
    "shape",
    [
        shapely.box(0, 0, WIDTH, HEIGHT),
        shapely.box(300, 0, 313, HEIGHT),
        shapely.box(301, 40, 321, 60),
        shapely.box(100, 200, 900, 209),
        shapely.box(990, 100, 1000, 300),
        shapely.box(800, 480, 1000, 500),
        shapely.Point(400, 250).buffer(30),
        shapely.box(200, 200, 400, 400).difference(shapely.box(210, 210, 390, 390)),
        shapely.MultiPolygon([shapely.box(x, 10, x + 7, 20) for x in range(5, 950, 60)]),
    ],
)
def test_where_all_is_tissue_the_area_is_that_of_the_shape(shape: shapely.Geometry) -> None:
    area = tissue().inside(shape)
    assert area == pytest.approx(shapely.area(shape), rel=0.08)
    assert tissue(99).inside(shape) == 0


def test_beyond_the_image_is_no_tissue() -> None:
    assert tissue().inside(shapely.box(-500, -500, 5000, 5000)) == WIDTH * HEIGHT
    assert tissue().inside(shapely.box(960, 480, 2000, 2000)) == 40 * 20
    assert tissue().inside(shapely.box(2000, 0, 2100, 90)) == tissue().inside(shapely.Polygon()) == 0


def test_the_part_of_a_shape_on_tissue() -> None:
    half = tissue(left=5)
    assert half.inside(shapely.box(230, 0, 250, HEIGHT)) == pytest.approx(10 * HEIGHT, rel=0.08)
