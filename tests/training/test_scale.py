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


def tallies(peak: float, n: int, height: float = 0.6, width: float = 1.0) -> list[Tally]:
    """A parabola of PQ over log2(factor) that is highest at ``peak``."""
    quality = [height - width * (np.log2(f) - np.log2(peak)) ** 2 for f in FACTORS]
    return [Tally(n, n, n, max(q, 0) * n) for q in quality]


def test_many_nuclei_find_the_peak_and_few_do_not_dare() -> None:
    assert best_factor(tallies(1.4, 5000)) == pytest.approx(1.4, rel=0.04)
    assert 1 < best_factor(tallies(1.4, 3)) < best_factor(tallies(1.4, 30)) < 1.43


def test_nothing_to_score_changes_nothing() -> None:
    assert best_factor([Tally() for _ in FACTORS]) == 1.0


@given(st.lists(st.floats(0, 1), min_size=7, max_size=7), st.integers(1, 500))
def test_the_choice_is_within_what_was_tried(quality: list[float], n: int) -> None:
    chosen = best_factor([Tally(n, n, n, q * n) for q in quality])
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
    choice = choose_scale(predict, DecodingConfig(), windows)
    assert 1.15 < choice.factor <= 1.6
    assert "smaller" in choice.sentence("start", 0.25)
    assert not choice.disagree
