"""Nuclei come back where they are and as large as they are, whatever the resolution they are found at."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest
import shapely
from numpy.typing import NDArray

from cellgennet_qupath.segmentation.plan import plan_tiles
from cellgennet_qupath.segmentation.slide import segment_slide
from cellgennet_qupath.segmentation.task import SlideTask
from cellgennet_qupath.slides.normalisation import Normalisation
from cellgennet_qupath.slides.reader import open_slide

from .fakes import everywhere, model

WIDTH, HEIGHT = 1500, 1100
FINE = 4


def discs(seed: int) -> NDArray[np.float64]:
    """x, y and radius of discs at random places between pixels, apart from one another."""
    generator = np.random.default_rng(seed)
    y, x = np.mgrid[60 : HEIGHT - 60 : 64, 60 : WIDTH - 60 : 64]
    middle = np.column_stack([x.ravel(), y.ravel()]) + generator.uniform(-8, 8, (x.size, 2))
    return np.column_stack([middle, generator.uniform(14, 21, x.size)])


def drawn(found: NDArray[np.float64]) -> NDArray[np.uint8]:
    """Pixels as a camera sees the discs: each the mean over its own area."""
    image = np.full((HEIGHT, WIDTH, 3), 255, np.uint8)
    for x, y, radius in found:
        left, top, side = int(x - radius) - 2, int(y - radius) - 2, int(2 * radius) + 5
        v, u = (np.mgrid[: side * FINE, : side * FINE] + 0.5) / FINE
        distance = np.hypot(u + left - x, v + top - y)
        both = np.dstack([distance < radius, np.clip(1 - distance / radius, 0, 1)]).astype(np.float32)
        mean = both.reshape(side, FINE, side, FINE, 2).mean(axis=(1, 3))
        image[top : top + side, left : left + side, :2] = np.rint(255 * (1 - mean))
    return image


@pytest.mark.parametrize("ratio", [1.0, 2.0, 1.7])
def test_places_and_areas_are_those_of_the_slide(tmp_path: Path, ratio: float) -> None:
    truth = discs(seed=int(10 * ratio))
    file = tmp_path / "slide.png"
    assert cv2.imwrite(str(file), drawn(truth)[..., ::-1])
    fake = model(foreground=0.5, blur_um=0.5, mean_foreground=0.5, max_extent_um=24.0)
    with open_slide(file) as reader:
        area = everywhere(WIDTH, HEIGHT)
        task = SlideTask(
            pixels=reader,
            model=fake,
            normalisation=Normalisation(np.zeros(3), np.full(3, 255.0)),
            downsample=ratio,
            mpp=None,
            area=area,
        )
        found = segment_slide(task, plan_tiles(WIDTH, HEIGHT, ratio, fake, area, 256)).nuclei
    assert len(found) == len(truth)
    middle = shapely.get_coordinates(shapely.centroid(found.polygons))
    centres, points = (np.asarray(shapely.points(xy), dtype=object) for xy in (truth[:, :2], middle))
    nearest = np.asarray(shapely.STRtree(centres).nearest(points))
    assert len(set(nearest.tolist())) == len(truth)
    shift = middle - truth[nearest, :2]
    assert np.hypot(*shift.T).mean() < 0.25
    assert np.abs(shift.mean(axis=0)).max() < 0.05, "no direction is preferred"
    share = shapely.area(found.polygons) / (np.pi * truth[nearest, 2] ** 2)
    assert share.mean() == pytest.approx(1, abs=0.02)
