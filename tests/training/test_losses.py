"""Each term of the objective against a value worked out by hand."""

from __future__ import annotations

import math

import pytest
import torch

from cellgennet_qupath.training import losses

LOGIT = torch.tensor([0.0, math.log(3), -math.log(3)])  # p = 1/2, 3/4, 1/4
ONES = torch.ones(3)


def test_binary_cross_entropy() -> None:
    target = torch.tensor([1.0, 1.0, 0.0])
    expected = -(math.log(1 / 2) + 2 * math.log(3 / 4)) / 3
    assert losses.binary_cross_entropy(LOGIT, target, ONES).item() == pytest.approx(expected)


def test_unknown_pixels_do_not_count() -> None:
    target = torch.tensor([1.0, 1.0, 1.0])
    weight = torch.tensor([1.0, 0.0, 0.0])
    assert losses.binary_cross_entropy(LOGIT, target, weight).item() == pytest.approx(math.log(2))
    assert losses.binary_cross_entropy(LOGIT, target, torch.zeros(3)).item() == 0


def test_samples_where_nuclei_touch_count_more_if_they_are_known() -> None:
    known, touching = torch.tensor([1.0, 1.0, 0.5, 0.0]), torch.tensor([0.0, 1.0, 0.5, 1.0])
    assert losses.object_weight(known, touching, 4.0).tolist() == [1.0, 5.0, 1.5, 0.0]


def test_tversky() -> None:
    # TP = 1/2 + 3/4, FP = 1/4, FN = 1/2 + 1/4, smoothing 1
    target = torch.tensor([1.0, 1.0, 0.0])
    expected = 1 - (1.25 + 1) / (1.25 + 0.3 * 0.25 + 0.7 * 0.75 + 1)
    assert losses.tversky(LOGIT, target, ONES, 0.3, 0.7).item() == pytest.approx(expected)
    assert losses.tversky(LOGIT, target, torch.zeros(3), 0.3, 0.7).item() == 0


def test_distillation_is_the_divergence_from_the_soft_target() -> None:
    q = torch.tensor([0.5, 0.5, 0.5])
    kl = 0.5 * math.log(0.5 / 0.75) + 0.5 * math.log(0.5 / 0.25)
    assert losses.distillation(LOGIT, q, ONES).item() == pytest.approx(2 * kl / 3, rel=1e-5)
    assert losses.distillation(LOGIT, torch.sigmoid(LOGIT), ONES).item() == pytest.approx(0, abs=1e-6)


def test_consistency() -> None:
    other = torch.tensor([0.5, 0.5, 0.5])
    assert losses.consistency(LOGIT, other, ONES).item() == pytest.approx((0.25**2) * 2 / 3)


def test_ramp() -> None:
    assert losses.ramp(0.0, 0.0, 0.4) == pytest.approx(math.exp(-5))
    assert losses.ramp(0.2, 0.0, 0.4) == pytest.approx(math.exp(-1.25))
    assert losses.ramp(0.4, 0.0, 0.4) == 1
    assert losses.ramp(0.0, 0.0, 0.0) == 1
    assert losses.ramp(0.29, 0.3, 0.4) == 0
    assert losses.ramp(0.5, 0.3, 0.4) == pytest.approx(math.exp(-1.25))


def test_confidence_by_hand() -> None:
    q = torch.tensor([[[[0.9, 0.1]], [[0.5, 0.2]]]])
    agreement = torch.tensor([[[[1.0, 0.5]], [[0.8, 0.5]]]])
    confidence = losses.confidence(q, agreement, background_weight=0.25)
    expected = [[[[0.8, 0.8 * 0.5 * 0.25]], [[0.8 * 0.8, 0.8 * 0.5 * 0.25]]]]
    torch.testing.assert_close(confidence, torch.tensor(expected))
