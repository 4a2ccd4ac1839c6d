"""Matching and scores, by hand and against StarDist's own matching."""

from __future__ import annotations

import math
import warnings

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from cellgennet_qupath.evaluate.matching import match, overlaps
from cellgennet_qupath.evaluate.metrics import mean_scores, score


def squares(*boxes: tuple[int, int, int, int], shape: tuple[int, int] = (20, 30)) -> NDArray[np.int32]:
    labels = np.zeros(shape, np.int32)
    for number, (top, left, height, width) in enumerate(boxes, start=1):
        labels[top : top + height, left : left + width] = number
    return labels


def blobs(generator: np.random.Generator, like: NDArray[np.int32] | None = None) -> NDArray[np.int32]:
    if like is not None:
        return np.roll(like, tuple(generator.integers(-2, 3, 2)), (0, 1)) * (generator.random() > 0.1)
    boxes = [(*generator.integers(0, 40, 2), *generator.integers(2, 12, 2)) for _ in range(25)]
    return squares(*boxes, shape=(50, 50))


def test_worked_by_hand() -> None:
    true = squares((0, 0, 4, 4), (0, 10, 4, 4), (10, 0, 2, 5))
    predicted = squares((0, 0, 4, 3), (1, 10, 4, 4), (10, 20, 3, 3))
    result = score(true, predicted, thresholds=(0.5, 0.7))
    # IoU: 12/16 and 12/20; one true object missed (10 samples), one invented (9 samples).
    assert result.counts[0.5].f1 == pytest.approx(2 * 2 / 6)
    assert result.counts[0.7].f1 == pytest.approx(2 * 1 / 6)
    assert (result.counts[0.7].precision, result.counts[0.7].recall) == pytest.approx((1 / 3, 1 / 3))
    assert result.sq == pytest.approx((0.75 + 0.6) / 2)
    assert result.pq == pytest.approx(0.675 * 2 / 3)
    assert result.dice == pytest.approx(2 * 24 / (42 + 37))
    assert result.iou == pytest.approx(24 / (42 + 37 - 24))
    assert result.aji == pytest.approx((12 + 12) / (16 + 20 + 10 + 9))
    assert (result.true_objects, result.predicted_objects, result.count_error) == (3, 3, 0)
    assert (result.tpr, result.fpr) == pytest.approx((24 / 42, (37 - 24) / (20 * 30 - 42)))


def test_aji_takes_one_predicted_object_for_two_true_ones() -> None:
    true = squares((0, 0, 4, 4), (0, 4, 4, 4))
    predicted = squares((0, 0, 4, 8))
    assert score(true, predicted).aji == pytest.approx(32 / 64)


def test_perfect_and_permuted() -> None:
    true = squares((0, 0, 4, 4), (0, 10, 4, 4), (10, 0, 2, 5))
    renumbered = np.array([0, 700, 3, 12])[true]
    scores = score(true, renumbered).as_dict()
    assert (scores.pop("fpr"), scores.pop("count_error")) == (0, 0)
    assert set(scores.values()) == {1.0, 3}


def test_nothing_there_and_nothing_found() -> None:
    nothing, something = squares(), squares((0, 0, 3, 3))
    scores = score(nothing, nothing)
    assert all(math.isnan(scores.as_dict()[name]) for name in ("dice", "iou", "aji", "pq", "sq", "f1@0.5"))
    for pair in [(nothing, something), (something, nothing)]:
        assert all(score(*pair).as_dict()[name] == 0 for name in ("dice", "iou", "aji", "pq", "sq", "f1@0.5"))


def test_unknown_samples_count_for_nothing() -> None:
    true = squares((0, 0, 4, 4), (0, 10, 4, 4))
    predicted = squares((0, 0, 4, 4), (0, 10, 4, 2), (10, 20, 5, 5), (10, 0, 4, 4))
    unknown = np.zeros(true.shape, bool)
    unknown[:, 12:] = True
    unknown[10:12, 0:4] = True
    result = score(true, predicted, unknown)
    assert result.true_objects == 2
    assert result.predicted_objects == 3
    assert result.counts[0.5].true_positive == 2
    assert result.dice == pytest.approx(2 * 24 / (24 + 24 + 8))


def test_below_half_the_assignment_is_solved() -> None:
    true = squares((0, 0, 4, 10), (4, 0, 4, 10))
    predicted = squares((2, 0, 4, 10), (0, 0, 2, 10))
    # Object 1 overlaps both equally well (1/3 and 1/2); the second true one has only the first.
    found = match(overlaps(true, predicted), 0.3)
    assert sorted(zip(found.true.tolist(), found.predicted.tolist(), strict=True)) == [(0, 1), (1, 0)]


@settings(deadline=None, max_examples=40)
@given(seed=st.integers(0, 2**31), threshold=st.sampled_from([0.1, 0.3, 0.5, 0.7, 0.9]))
def test_as_stardist_counts(seed: int, threshold: float) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        matching = pytest.importorskip("stardist.matching").matching
    generator = np.random.default_rng(seed)
    true = blobs(generator)
    predicted = blobs(generator, true) if seed % 2 else blobs(generator)
    theirs = matching(true, predicted, thresh=threshold)
    ours = score(true, predicted, thresholds=(threshold,))
    counts = ours.counts[threshold]
    assert (counts.true_positive, counts.false_positive, counts.false_negative) == (
        theirs.tp,
        theirs.fp,
        theirs.fn,
    )
    if theirs.tp:
        assert counts.f1 == pytest.approx(theirs.f1)
        found = match(overlaps(true, predicted), threshold)
        assert found.iou.mean() >= theirs.mean_matched_score - 1e-6
        if threshold >= 0.5:
            assert found.iou.mean() == pytest.approx(theirs.mean_matched_score)
    if threshold == 0.5:
        assert ours.pq == pytest.approx(theirs.panoptic_quality)


@settings(deadline=None, max_examples=30)
@given(seed=st.integers(0, 2**31))
def test_bounds_and_symmetry(seed: int) -> None:
    generator = np.random.default_rng(seed)
    one = blobs(generator)
    other = blobs(generator, one)
    here, there = score(one, other), score(other, one)
    for name in ("dice", "iou", "pq", "sq", "rq"):
        assert 0 <= here.as_dict()[name] <= 1
        assert here.as_dict()[name] == pytest.approx(there.as_dict()[name])
    assert 0 <= here.aji <= here.iou + 1e-12


def test_means_leave_nan_out_and_sum_the_objects() -> None:
    full = score(squares((0, 0, 4, 4)), squares((0, 0, 4, 4)))
    half = score(squares((0, 0, 4, 4)), squares((0, 0, 4, 2)))
    means = mean_scores([full, half, score(squares(), squares())])
    assert means["sq"] == pytest.approx(0.75)
    assert means["true_objects"] == 2
    assert mean_scores([]) == {}


def test_shapes_must_agree() -> None:
    with pytest.raises(ValueError, match="different shape"):
        score(np.zeros((3, 3), int), np.zeros((3, 4), int))
