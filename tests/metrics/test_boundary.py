"""Distances between outlines, against scikit-image and SciPy."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from scipy import ndimage
from scipy.spatial.distance import cdist
from skimage.metrics import hausdorff_distance
from skimage.segmentation import find_boundaries

from cellgennet_qupath.evaluation.label_images import read_labels
from cellgennet_qupath.metrics.boundary import boundary_scores, outlines


def random_labels(generator: np.random.Generator) -> NDArray[np.int32]:
    labels = np.zeros((48, 60), np.int32)
    for number in range(1, generator.integers(2, 12)):
        top, left = generator.integers(0, 44, 2)
        height, width = generator.integers(1, 12, 2)
        labels[top : top + height, left : left + width] = number
    return labels


def rim(mask: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Foreground samples next to background, by SciPy; outside the image is background."""
    return np.asarray(mask & ~ndimage.binary_erosion(mask))


@settings(max_examples=40)
@given(seed=st.integers(0, 2**31))
def test_as_scikit_image_and_scipy_measure(seed: int) -> None:
    generator = np.random.default_rng(seed)
    true, predicted = random_labels(generator), random_labels(generator)
    here, there = rim(true > 0), rim(predicted > 0)
    assert (outlines(true > 0) == here).all()
    result = boundary_scores(true, predicted)
    assert result.hausdorff == pytest.approx(hausdorff_distance(here, there), abs=1e-3)
    apart = cdist(np.argwhere(here), np.argwhere(there))
    expected = max(np.percentile(apart.min(axis=0), 95), np.percentile(apart.min(axis=1), 95))
    assert result.hd95 == pytest.approx(expected, abs=1e-3)
    assert result.hd95 <= result.hausdorff
    swapped = boundary_scores(predicted, true)
    assert (swapped.hausdorff, swapped.hd95) == pytest.approx((result.hausdorff, result.hd95))
    assert swapped.boundary_f1 == pytest.approx(result.boundary_f1)


def test_real_nuclei(shared: Path) -> None:
    true = read_labels(shared / "data" / "nuclei" / "tnbc" / "labels" / "tnbc_02_1.png")
    predicted = np.where(np.roll(true, (3, -2), (0, 1)) % 3 == 0, 0, np.roll(true, (3, -2), (0, 1)))
    result = boundary_scores(true, predicted)
    assert result.hausdorff == pytest.approx(hausdorff_distance(rim(true > 0), rim(predicted > 0)), abs=1e-3)


def test_outlines_between_touching_nuclei() -> None:
    labels = np.zeros((9, 12), np.int32)
    labels[2:7, 2:6], labels[2:7, 6:10] = 1, 2
    expected = find_boundaries(labels, connectivity=1, mode="inner") & (labels > 0)
    assert (outlines(labels) == expected).all()
    merged = (labels > 0).astype(np.int32)
    both = boundary_scores(labels, merged, tolerance=0)
    assert both.hausdorff == 0, "the foregrounds are the same"
    assert 0.7 < both.boundary_f1 < 1, "the boundary between the nuclei is missed"


def test_one_nucleus_worked_by_hand() -> None:
    true, predicted = np.zeros((20, 20), int), np.zeros((20, 20), int)
    true[5:10, 5:10] = 1
    predicted[5:10, 8:13] = 7
    result = boundary_scores(true, predicted, tolerance=3)
    assert (result.hausdorff, result.boundary_f1) == (3, 1)
    # Within one sample are, on either side, the outline samples of columns 7 to 9.
    assert boundary_scores(true, predicted, tolerance=1).boundary_f1 < 1


def test_no_true_and_no_predicted_outlines() -> None:
    nothing, something = np.zeros((30, 40), int), np.zeros((30, 40), int)
    something[3:9, 3:9] = 1
    empty = boundary_scores(nothing, nothing)
    assert all(math.isnan(v) for v in (empty.hausdorff, empty.hd95, empty.boundary_f1))
    for pair in [(nothing, something), (something, nothing)]:
        assert (boundary_scores(*pair).hausdorff, boundary_scores(*pair).boundary_f1) == (50, 0)


def test_a_nucleus_as_large_as_the_image_has_an_outline() -> None:
    full, hole = np.ones((12, 12), int), np.ones((12, 12), int)
    hole[6, 6] = 0
    assert boundary_scores(full, full).hausdorff == 0
    assert boundary_scores(full, hole).hausdorff == pytest.approx(5)


def test_unknown_samples_are_ignored() -> None:
    true, predicted = np.zeros((30, 60), int), np.zeros((30, 60), int)
    true[5:15, 5:15] = predicted[5:15, 5:15] = 1
    predicted[5:15, 40:50] = 2
    true[20:28, 24:36], predicted[20:28, 24:30] = 3, 3
    unknown = np.zeros(true.shape, bool)
    unknown[:, 30:] = True
    assert boundary_scores(true, predicted).hausdorff > 10
    result = boundary_scores(true, predicted, unknown)
    assert (result.hausdorff, result.boundary_f1) == (0, 1)


def test_shapes_must_agree() -> None:
    with pytest.raises(ValueError, match="different shape"):
        boundary_scores(np.zeros((3, 3), int), np.zeros((3, 4), int))
