"""Regions of seeds: the same as a watershed of the whole image gives, from lists of samples."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray
from skimage.segmentation import watershed

from cellgennet_qupath.geometry.distance import distance_to_zero
from cellgennet_qupath.geometry.rectangle import Rectangle
from cellgennet_qupath.segmentation.decode import Decoding, decode_levels
from cellgennet_qupath.segmentation.regions import Foreground, regions

NOTHING_MERGED = 2.0
"""No saddle is higher than the lower one of its peaks, so none reaches this share of it."""


def blobs(seed: int, shape: tuple[int, int] = (180, 150)) -> NDArray[np.uint16]:
    """Maps in which nuclei touch, in chains that are wider than an object may be."""
    random = np.random.default_rng(seed)
    rough = [cv2.GaussianBlur(random.standard_normal(shape), (0, 0), sigma) for sigma in (4.0, 2.5)]
    foreground, objectness = (one / one.std() for one in rough)
    chances = np.stack([foreground, 0.7 * foreground + 0.3 * objectness], axis=-1)
    return np.asarray(np.clip(511 + 300 * chances, 0, 1023), np.uint16)


def of_whole_image(
    mask: NDArray[np.bool_], smooth: NDArray[np.float32], seeds: NDArray[np.intp], max_extent: float
) -> NDArray[np.int32]:
    markers = np.zeros(mask.shape, np.int32)
    markers.reshape(-1)[seeds] = np.arange(1, len(seeds) + 1)
    near = distance_to_zero(markers == 0) <= max_extent
    labels: NDArray[np.int32] = watershed(-smooth, markers, mask=mask & near)
    count, part = cv2.connectedComponents(mask.view(np.uint8), connectivity=4)
    seedless = np.setdiff1d(np.arange(1, count), part.reshape(-1)[seeds])
    number = np.zeros(count, np.int32)
    number[seedless] = len(seeds) + 1 + np.arange(len(seedless))
    return np.asarray(np.maximum(labels, number[part]), np.int32)


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("max_extent", [3.0, 12.0, 25.5, 60.0])
@pytest.mark.parametrize("seeds", [1, 7, 60])
def test_regions_are_those_of_a_watershed_of_the_whole_image(
    seed: int, max_extent: float, seeds: int
) -> None:
    mask = blobs(seed)[..., 0] > 500
    rough = np.random.default_rng(seed).standard_normal(mask.shape)
    smooth = np.asarray(10 + cv2.GaussianBlur(rough, (0, 0), 3.0), np.float32)
    chosen = np.sort(np.random.default_rng(seed).choice(np.flatnonzero(mask), seeds, replace=False))
    foreground = Foreground.of(mask, chosen)
    labels = np.zeros(mask.size, np.int32)
    owner = regions(foreground, smooth, max_extent, NOTHING_MERGED)
    labels[foreground.position] = owner
    expected = of_whole_image(mask, smooth, chosen, max_extent).reshape(-1)
    assert np.array_equal(labels > seeds, expected > seeds)
    assert np.array_equal(np.where(labels > seeds, 0, labels), np.where(expected > seeds, 0, expected))


def test_an_empty_foreground_has_no_regions() -> None:
    mask = np.zeros((9, 7), bool)
    foreground = Foreground.of(mask, np.empty(0, np.intp))
    assert len(regions(foreground, np.zeros(mask.shape, np.float32), 60.0, 0.9)) == 0


@pytest.mark.parametrize("seed", range(6))
def test_objects_near_a_core_are_those_of_the_whole_window(seed: int) -> None:
    levels, core = blobs(seed), Rectangle(60, 70, 95, 120)
    rule = Decoding(peak_distance=3.0, blur=1.0, valley=0.9, max_extent=30.0)
    every, near = decode_levels(levels, rule), decode_levels(levels, rule, core)
    top, left, bottom, right = every.boxes.T
    touching = (bottom >= 69) & (top <= 121) & (right >= 59) & (left <= 96)
    rows = np.flatnonzero(touching)
    assert 0 < len(rows) < len(every.probability)
    number = np.zeros(len(touching) + 1, np.int32)
    number[rows + 1] = np.arange(1, len(rows) + 1)
    assert np.array_equal(near.labels, number[every.labels])
    assert np.array_equal(near.probability, every.probability[rows])
    assert np.array_equal(near.boxes, every.boxes[rows])
