"""Distances that are the same in every run."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from scipy import ndimage

from cellgennet_qupath.geometry.distance import distance_to_zero


@given(st.integers(0, 2**31), st.floats(0.001, 0.5), st.integers(2, 200), st.integers(2, 200))
def test_they_are_exact_to_the_last_digit(seed: int, share: float, rows: int, columns: int) -> None:
    mask = np.random.default_rng(seed).random((rows, columns)) >= share
    mask[0, 0] = False
    assert np.array_equal(distance_to_zero(mask), ndimage.distance_transform_edt(mask))
