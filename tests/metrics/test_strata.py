"""Strata of nuclei, and the calibration of probabilities."""

from __future__ import annotations

import math

import numpy as np
import pandas as pd
import pytest
from numpy.typing import NDArray

from cellgennet_qupath.metrics.calibration import calibration_curve, correctness
from cellgennet_qupath.metrics.matching import match_labels
from cellgennet_qupath.metrics.strata import matched_iou, size_limits, summarise, true_nuclei


def drawn() -> NDArray[np.int32]:
    """An isolated disc (7), two touching squares (2, 3), and a thin L (9)."""
    labels = np.zeros((80, 120), np.int32)
    y, x = np.mgrid[:80, :120]
    labels[np.hypot(y - 20, x - 20) < 9] = 7
    labels[10:22, 60:72], labels[10:22, 72:84] = 2, 3
    labels[45:75, 30:36] = labels[69:75, 30:60] = 9
    return labels


def test_every_nucleus_is_described() -> None:
    table = true_nuclei(drawn()).set_index("label")
    assert sorted(table.index) == [2, 3, 7, 9]
    assert table["area"].to_dict() == {n: float((drawn() == n).sum()) for n in (2, 3, 7, 9)}
    assert table["crowded"].to_dict() == {2: True, 3: True, 7: False, 9: False}
    assert table["irregular"].to_dict() == {2: False, 3: False, 7: False, 9: True}
    assert table.loc[7, "gap"] == pytest.approx(math.hypot(30 - 20.5, 45 - 20.5) - 9, abs=0.7)
    assert (table["solidity"] <= 1).all()


def test_one_nucleus_and_none() -> None:
    one = np.zeros((20, 20), np.int32)
    one[5:12, 5:12] = 4
    assert true_nuclei(one)["gap"].tolist() == [math.inf]
    assert true_nuclei(np.zeros((20, 20), np.int32)).empty
    assert all(math.isnan(v) for v in size_limits([]))
    nothing = true_nuclei(np.zeros((20, 20), np.int32)).assign(method="m", iou=[])
    assert summarise(nothing).empty


def test_what_is_unknown_is_left_out_but_still_crowds() -> None:
    unknown = np.zeros((80, 120), bool)
    unknown[:, 72:] = True
    table = true_nuclei(drawn(), unknown).set_index("label")
    assert sorted(table.index) == [2, 7, 9]
    assert table.loc[2, "crowded"]


def test_detection_rate_by_stratum() -> None:
    true = drawn()
    predicted = np.where(np.isin(true, [7, 2]), true, 0)
    table = true_nuclei(true)
    iou = matched_iou(table, match_labels(true, predicted))
    assert dict(zip(table["label"], iou, strict=True)) == {2: 1, 3: 0, 7: 1, 9: 0}
    strata = summarise(table.assign(method="m", iou=iou))
    assert isinstance(strata, pd.DataFrame)
    by_name = strata.set_index("kind").to_dict("index")
    assert by_name["crowded"]["found"] == 0.5
    assert by_name["irregular"]["found"] == 0
    assert math.isnan(by_name["irregular"]["overlap"])
    assert by_name["apart"]["nuclei"] + by_name["crowded"]["nuclei"] == 4
    assert sum(by_name[size]["nuclei"] for size in ("small", "medium", "large")) == 4


def test_probability_and_correctness_of_each_nucleus() -> None:
    true, predicted = drawn(), np.zeros((80, 120), np.int32)
    predicted[true == 7], predicted[60:64, 90:100] = 1, 3
    probability, correct = correctness(match_labels(true, predicted), np.array([0.9, 0.5, 0.3], np.float32))
    assert probability == pytest.approx([0.9, 0.3])
    assert correct.tolist() == [True, False]
    nothing, _ = correctness(match_labels(true, predicted), np.full(3, np.nan, np.float32))
    assert not len(nothing)


def test_calibration_worked_by_hand() -> None:
    one = calibration_curve(np.array([0.95, 0.95, 0.25, 0.25]), np.array([True, False, False, False]))
    assert one.probability == pytest.approx([0.25, 0.95])
    assert one.correct == pytest.approx([0, 0.5])
    assert one.error == pytest.approx((0.25 + 0.45) / 2)
    assert one.bias == pytest.approx(0.35)
    assert calibration_curve(np.array([1.0]), np.array([True])).error == 0
    empty = calibration_curve(np.empty(0), np.empty(0, bool))
    assert math.isnan(empty.error)
    assert math.isnan(empty.bias)


def test_true_probabilities_are_calibrated() -> None:
    rng = np.random.default_rng(0)
    probability = rng.random(20_000)
    correct = rng.random(20_000) < probability
    assert calibration_curve(probability, correct).error < 0.02
    assert calibration_curve(probability**0.3, correct).bias > 0.1
