"""Thresholds leave the standard only where validation can tell them apart."""

from __future__ import annotations

import math

import pytest

from cellgennet_qupath.training.tune import best_of


def scores(quality: float, nuclei: int) -> dict[str, float]:
    return {"pq": quality, "true_objects": nuclei}


@pytest.mark.parametrize(
    ("nuclei", "gain", "chosen"),
    [(3, 0.2, 0), (100, 0.04, 0), (100, 0.06, 2), (2500, 0.009, 0), (2500, 0.011, 2)],
)
def test_a_gain_counts_when_it_is_over_one_standard_error(nuclei: int, gain: float, chosen: int) -> None:
    # sqrt(0.5 * 0.5 / 100) = 0.05 and sqrt(0.5 * 0.5 / 2500) = 0.01.
    quality = {0: 0.5, 1: 0.3, 2: 0.5 + gain}
    best, found = best_of(0, [1, 2], lambda c: scores(quality[c], nuclei))
    assert best == chosen
    assert found["pq"] == quality[chosen]


def test_without_a_nucleus_to_check_with_the_standard_stays() -> None:
    best, found = best_of(0, [1], lambda c: scores(math.nan, 0))
    assert best == 0
    assert math.isnan(found["pq"])


def test_a_candidate_that_finds_nothing_to_score_is_not_chosen() -> None:
    best, _ = best_of(0, [1, 2], lambda c: scores({0: 0.2, 1: math.nan, 2: 0.6}[c], 1000))
    assert best == 2
