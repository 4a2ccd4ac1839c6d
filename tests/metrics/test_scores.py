"""Matching and scores, by hand and against StarDist's own matching."""

from __future__ import annotations

import math
import time
import warnings
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from cellgennet_qupath.evaluation.label_images import read_labels
from cellgennet_qupath.metrics.boundary import boundary_scores
from cellgennet_qupath.metrics.matching import match, overlaps
from cellgennet_qupath.metrics.scores import mean_scores, score


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
    # IoU: 12/16 and 12/20; one true object missed (10 samples), one false positive (9 samples).
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
    wrong = ("fpr", "count_error", "merged_objects", "split_objects", "false_objects")
    assert [scores.pop(name) for name in wrong] == [0] * 5
    assert set(scores.values()) == {1.0, 3}


def test_no_true_and_no_predicted_objects() -> None:
    nothing, something = squares(), squares((0, 0, 3, 3))
    scores = score(nothing, nothing)
    assert all(math.isnan(scores.as_dict()[name]) for name in ("dice", "iou", "aji", "pq", "sq", "f1@0.5"))
    for pair in [(nothing, something), (something, nothing)]:
        assert all(score(*pair).as_dict()[name] == 0 for name in ("dice", "iou", "aji", "pq", "sq", "f1@0.5"))


def test_unknown_samples_are_ignored() -> None:
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
    pairs = overlaps(true, predicted)
    matches = match(pairs, 0.3)
    matched = pairs.true_label[matches.true], pairs.predicted_label[matches.predicted]
    assert sorted(zip(*(labels.tolist() for labels in matched), strict=True)) == [(1, 2), (2, 1)]


@settings(max_examples=40)
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
        matches = match(overlaps(true, predicted), threshold)
        assert matches.iou.mean() >= theirs.mean_matched_score - 1e-6
        if threshold >= 0.5:
            assert matches.iou.mean() == pytest.approx(theirs.mean_matched_score)
    if threshold == 0.5:
        assert ours.pq == pytest.approx(theirs.panoptic_quality)


@settings(max_examples=30)
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


def test_means_ignore_nan_and_sum_the_objects() -> None:
    full = score(squares((0, 0, 4, 4)), squares((0, 0, 4, 4)))
    half = score(squares((0, 0, 4, 4)), squares((0, 0, 4, 2)))
    means = mean_scores([full, half, score(squares(), squares())])
    assert means["sq"] == pytest.approx(0.75)
    assert means["true_objects"] == 2
    assert mean_scores([]) == {}


def test_shapes_must_agree() -> None:
    with pytest.raises(ValueError, match="different shape"):
        score(np.zeros((3, 3), int), np.zeros((3, 4), int))


@pytest.mark.parametrize(
    ("seed", "published"),
    [(0, 0.13234), (1, 0.330314), (2, 0.126692), (3, 0.465445), (4, 0.115744), (5, 0.230152)],
)
def test_aji_as_published(seed: int, published: float) -> None:
    """Values of ``get_fast_aji`` of vqdang/hover_net (the version that MoNuSeg distributed)."""
    generator = np.random.default_rng(seed)
    true = blobs(generator)
    predicted = blobs(generator, true) if seed % 2 else blobs(generator)
    assert score(true, predicted).aji == pytest.approx(published, abs=1e-6)


@pytest.mark.parametrize(
    ("name", "shift", "published"),
    [
        ("tnbc/labels/tnbc_01_1.png", (3, 2), 0.63191),
        ("nuinsseg/labels/human_brain_1.png", (4, -3), 0.681939),
        ("dsb2018_purple/labels/01d44a26f6680c42.png", (1, 2), 0.841254),
    ],
)
def test_real_nuclei_as_published(shared: Path, name: str, shift: tuple[int, int], published: float) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        matching = pytest.importorskip("stardist.matching").matching
    true = read_labels(shared / "data" / "nuclei" / name)
    predicted = np.roll(true, shift, (0, 1))
    ours = score(true, predicted)
    assert ours.aji == pytest.approx(published, abs=1e-6)
    for threshold, counts in ours.counts.items():
        assert counts.f1 == pytest.approx(matching(true, predicted, thresh=threshold).f1)
    assert ours.pq == pytest.approx(matching(true, predicted, thresh=0.5).panoptic_quality)


def test_all_nuclei_over_one_another() -> None:
    everywhere = np.ones((30, 30), int)
    halves = everywhere.copy()
    halves[:, 15:] = 2
    one_true = score(everywhere, halves)
    assert (one_true.dice, one_true.counts[0.5].true_positive, one_true.count_error) == (1, 1, 1)
    assert one_true.aji == pytest.approx(450 / (900 + 450))
    assert math.isnan(one_true.fpr), "there is no background"
    assert score(halves, everywhere).aji == pytest.approx(900 / 1800)


def test_more_nuclei_than_sixteen_bits_hold() -> None:
    true = np.kron(np.arange(1, 65_537).reshape(256, 256), np.ones((4, 4), int))
    true[3::4] = 0
    predicted = np.where(true == 65_536, 0, true)
    result = score(true, predicted)
    assert (result.true_objects, result.predicted_objects) == (65_536, 65_535)
    assert result.counts[0.9].true_positive == 65_535
    assert result.aji == pytest.approx(65_535 / 65_536)
    assert boundary_scores(true, true).hausdorff == 0
    outline = boundary_scores(true, predicted)
    # The last nucleus is 4 columns wide and alone in its corner: its far side is that far away.
    assert 1 < outline.hausdorff <= 6
    assert outline.hd95 == 0


def test_numbers_too_large_for_a_table() -> None:
    true = squares((0, 0, 4, 4), (0, 10, 4, 4)).astype(np.int64)
    assert score(true * 2**40, true).as_dict() == score(true, true).as_dict()


@pytest.mark.slow
def test_a_large_field_takes_seconds() -> None:
    """4096 x 4096 samples with 20,000 nuclei in at most 15 s of processor time, outlines included.

    It takes 3 s on a machine that does nothing else; what grows with the square of the nuclei takes minutes.
    """
    side, step = 142, 28
    y, x = np.mgrid[:step, :step]
    disc = np.hypot(y - 14, x - 14) < 10
    true = np.zeros((4096, 4096), np.int32)
    numbers = np.arange(1, side**2 + 1).reshape(side, side)
    true[: side * step, : side * step] = np.kron(numbers, disc)
    predicted = np.roll(true, (2, 1), (0, 1))
    begin = time.process_time()
    result, outline = score(true, predicted), boundary_scores(true, predicted)
    assert time.process_time() - begin < 15
    assert result.true_objects == 20_164
    assert outline.hausdorff == pytest.approx(math.hypot(2, 1), abs=0.5)
