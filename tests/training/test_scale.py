"""The scale of a start, from its score on outlined nuclei."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from cellgennet_qupath.segmentation.decode import DecodingConfig
from cellgennet_qupath.training.scale import FACTORS, best_factor, choose_scale
from cellgennet_qupath.training.tally import Tally

from .drawn import discs, window


def tallies(peak: float, windows: int, noise: float = 0.0, height: float = 0.6) -> list[list[Tally]]:
    """A parabola of PQ over log2(factor), highest at ``peak``; each window of 20 nuclei is off by noise."""
    rng = np.random.default_rng(windows)
    x = np.log2(FACTORS)[:, None]
    slope = rng.normal(0, noise, windows)
    quality = height - 0.3 * (x - np.log2(peak)) ** 2 + slope * x
    return [[Tally(20, 20, 20, max(q, 0) * 20) for q in row] for row in quality]


def test_clear_evidence_finds_the_peak_and_weak_evidence_does_not_dare() -> None:
    assert best_factor(tallies(1.4, 20)) == pytest.approx(1.4, rel=0.02)
    some = best_factor(tallies(1.3, 12, noise=0.3))
    none = best_factor(tallies(1.05, 4, noise=1.0))
    assert 1 < some < 1.4
    assert abs(np.log2(none)) < 0.2


def test_the_many_nuclei_of_one_window_do_not_decide_for_all() -> None:
    """Ten windows that need nothing, and one of ten times as many nuclei, of half the size."""
    x = np.log2(FACTORS)
    crowded = [Tally(200, 200, 200, q * 200) for q in 0.6 - 0.3 * (x - 0.5) ** 2]
    usual = tallies(1.0, 10, noise=0.02)
    chosen = best_factor([[*column, one] for column, one in zip(usual, crowded, strict=True)])
    assert abs(np.log2(chosen)) < 0.05


def test_two_windows_and_nothing_to_score_change_nothing() -> None:
    assert best_factor(tallies(1.4, 2)) == 1.0
    assert best_factor([[Tally()] * 5 for _ in FACTORS]) == 1.0
    assert best_factor([[] for _ in FACTORS]) == 1.0


@given(st.lists(st.lists(st.floats(0, 1), min_size=7, max_size=7), min_size=1, max_size=6))
def test_the_choice_is_within_what_was_tried(quality: list[list[float]]) -> None:
    chosen = best_factor([[Tally(9, 9, 9, q * 9) for q in row] for row in np.array(quality).T.tolist()])
    assert FACTORS[0] - 1e-9 <= chosen <= FACTORS[-1] + 1e-9


def test_a_network_that_knows_large_nuclei_asks_for_enlarged_ones() -> None:
    """A stand-in that sees only discs of about the area it knows; those outlined are smaller."""

    def predict(image: NDArray[np.float32]) -> NDArray[np.float32]:
        from scipy import ndimage

        dark = image[::2, ::2, 0] < 0.6
        labels, _ = ndimage.label(dark)
        area = np.bincount(labels.ravel())
        known = (area > 85) & (area < 150)
        known[0] = False
        return np.repeat(known[labels][..., None], 2, axis=-1).astype(np.float32)

    windows = [window(*discs(seed, area=60), f"slide {seed}") for seed in range(6)]
    choice = choose_scale(predict, DecodingConfig().at(0.5), windows, 2)
    assert 1.15 < choice.factor <= 1.6
    assert "smaller" in choice.sentence("start", 0.25)
    assert not choice.disagree
