"""No score depends on the numbers that true and predicted nuclei have in a label image."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from cellgennet_qupath.metrics.boundary import boundary_scores, outlines
from cellgennet_qupath.metrics.calibration import calibration_curve, correctness
from cellgennet_qupath.metrics.matching import match, match_labels, objects, overlaps
from cellgennet_qupath.metrics.scores import score
from cellgennet_qupath.metrics.strata import matched_iou, summarise, true_nuclei

Labels = NDArray[np.int64]


def _tiles(generator: np.random.Generator, side: int = 24) -> Labels:
    """Squares of 4 samples, some missing and some two tiles wide: most overlaps tie with others."""
    step = int(generator.choice([2, 4, 6]))
    count = side // step + 1
    numbers = np.arange(1, count * count + 1).reshape(count, count)
    if generator.random() < 0.5:
        numbers[:, 1::2] = numbers[:, : count // 2 * 2 : 2]
    numbers[generator.random(numbers.shape) < 0.3] = 0
    labels = np.kron(numbers, np.ones((step, step), np.int64))
    y, x = generator.integers(0, step, 2)
    return labels[y : y + side, x : x + side]


def _renumbered(
    labels: Labels, generator: np.random.Generator, probability: NDArray[np.float64]
) -> tuple[Labels, NDArray[np.float64]]:
    """The same objects under other labels, and their probabilities in the order of those."""
    highest = len(probability)
    new = generator.permutation(highest) + 1
    other = np.empty(highest)
    other[new - 1] = probability
    return np.concatenate([[0], new])[labels], other


def _everything(
    true: Labels, predicted: Labels, unknown: NDArray[np.bool_] | None, probability: NDArray[np.float64]
) -> dict[str, Any]:
    """Every number of a report."""
    matching = match_labels(true, predicted, unknown)
    own, correct = correctness(matching, probability)
    curve = calibration_curve(own, correct)
    nuclei = true_nuclei(true, unknown)
    nuclei["iou"] = matched_iou(nuclei, matching)
    low = match(matching.overlaps, 0.2)
    return {
        **score(true, predicted, unknown, thresholds=(0.1, 0.3, 0.5, 0.7, 0.9)).as_dict(),
        **vars(boundary_scores(true, predicted, unknown)),
        "calibration": (curve.error, curve.bias, curve.probability.tolist(), curve.count.tolist()),
        "strata": summarise(nuclei.assign(method="m")).to_dict("records"),
        "nuclei": nuclei.drop(columns="label").to_dict("records"),
        "matched at 0.2": low.iou.tolist(),
    }


@settings(max_examples=40)
@given(seed=st.integers(0, 2**31), partly_unknown=st.booleans())
def test_no_score_depends_on_the_numbers(seed: int, partly_unknown: bool) -> None:
    generator = np.random.default_rng(seed)
    true, predicted = _tiles(generator), _tiles(generator)
    unknown = generator.random(true.shape) < 0.1 if partly_unknown else None
    count = int(max(true.max(), predicted.max(), 1))
    probability = generator.integers(1, 100, count) / 100
    once = _everything(true, predicted, unknown, probability)
    others, own = _renumbered(predicted, generator, probability)
    true = _renumbered(true, generator, probability)[0]
    again = _everything(true, others, unknown, own)
    # To the last bit, because no sum is taken in the order of the numbers.
    pd.testing.assert_series_equal(pd.Series(once), pd.Series(again), rtol=0, atol=0)


@pytest.mark.parametrize("numbers", [[0, 1, 2], [0, 2, 1], [0, 900, 3]])
@pytest.mark.parametrize("true_numbers", [[0, 1, 2], [0, 2, 1]])
def test_the_aji_of_two_equal_candidates_by_hand(numbers: list[int], true_numbers: list[int]) -> None:
    # Both predicted nuclei share 4 samples with the first true one, with a union of 12; the first of them
    # also covers the second true nucleus.
    true, predicted = np.zeros((8, 8), int), np.zeros((8, 8), int)
    true[0:2, 0:4], true[4:6, 0:2] = 1, 2
    predicted[0:2, 0:2], predicted[4:6, 0:2] = 1, 1
    predicted[0:2, 2:4], predicted[4:6, 6:8] = 2, 2
    # The first in the image counts: 8 shared samples over 12 + 8, and 8 of the other one, which is not used.
    aji = score(np.array(true_numbers)[true], np.array(numbers)[predicted]).aji
    assert aji == pytest.approx((4 + 4) / (12 + 8 + 8))


def test_the_aji_takes_the_smaller_union_of_equal_ious() -> None:
    # IoU 1/4 with both: 2 of 8 samples, and 1 of 4.
    true, predicted = np.zeros((8, 12), int), np.zeros((8, 12), int)
    true[3, 0:4] = 1
    predicted[3, 0:2], predicted[0:2, 0:2] = 1, 1  # 2 shared, union 8
    predicted[3, 3] = 2  # 1 shared, union 4
    expected = 1 / (4 + 6)
    for numbers in ([0, 1, 2], [0, 2, 1]):
        assert score(true, np.array(numbers)[predicted]).aji == pytest.approx(expected)


@pytest.mark.parametrize("factor", [1, 1 << 22, 1 << 40], ids=["table", "large table", "sorted"])
def test_objects_are_in_the_order_of_their_first_sample(factor: int) -> None:
    labels = np.array([[0, 7, 7, 2], [9, 0, -4, 2], [9, 9, 1, 1]]) * factor
    number, row, area = objects(labels)
    assert (number // factor).tolist() == [7, 2, 9, 1]
    assert row.tolist() == [[-1, 0, 0, 1], [2, -1, -1, 1], [2, 2, 3, 3]]
    assert area.tolist() == [2, 2, 3, 2]


@pytest.mark.parametrize("measure", [score, boundary_scores, true_nuclei])
def test_negative_numbers_are_background(measure: Callable[..., Any]) -> None:
    true, predicted = np.zeros((12, 12), int), np.zeros((12, 12), int)
    true[1:6, 1:6] = 1
    predicted[1:6, 2:7] = 1
    marked = np.where(predicted == 0, -1, predicted)
    if measure is true_nuclei:
        assert true_nuclei(marked).equals(true_nuclei(predicted))
    else:
        assert measure(true, marked) == measure(true, predicted)
    assert (outlines(marked) == outlines(predicted)).all()
    assert overlaps(true, marked).intersection.tolist() == [20]
