"""Resampling: means of source pixels by absolute position."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from cellgennet_qupath.slides.resample import Taps, resample, taps


def by_definition(window: NDArray[np.uint8], rows: Taps, columns: Taps) -> NDArray[np.float64]:
    """The weighted means, one sample at a time, in 64 bits."""
    top, left = rows.span[0], columns.span[0]
    return np.array(
        [
            [
                np.einsum(
                    "i,j,ijc->c",
                    rows.weight[y].astype(float),
                    columns.weight[x].astype(float),
                    window[np.ix_(rows.index[y] - top, columns.index[x] - left)].astype(float),
                )
                for x in range(len(columns.index))
            ]
            for y in range(len(rows.index))
        ]
    )


@given(
    st.integers(0, 40),
    st.integers(1, 9),
    st.sampled_from([1.0, 1.5, 2.0, 2.2, 3.0, 4.0, 8.0]),
    st.sampled_from([0.0, 0.5, 1.0]),
    st.integers(0, 2**32 - 1),
)
def test_samples_are_the_means_of_their_extents(
    start: int, count: int, ratio: float, offset: float, seed: int
) -> None:
    # An image that ends within the last sample.
    length = int((start + count) * ratio + offset)
    along = taps(start, count, ratio, length, offset)
    side = along.span[1] - along.span[0]
    window = np.random.default_rng(seed).integers(0, 256, (side, side, 3), np.uint8)
    expected = by_definition(window, along, along)
    np.testing.assert_allclose(resample(window, along, along), expected, atol=0.501)


@pytest.mark.parametrize("ratio", [2, 4, 8])
def test_means_of_whole_blocks_are_exact(ratio: int) -> None:
    along, across = taps(3, 8, float(ratio), 1000), taps(5, 11, float(ratio), 1000)
    window = np.random.default_rng(1).integers(0, 256, (8 * ratio, 11 * ratio, 3), np.uint8)
    means = window.reshape(8, ratio, 11, ratio, 3).mean(axis=(1, 3))
    np.testing.assert_array_equal(resample(window, along, across), np.rint(means))


def test_only_plain_means_of_own_pixels_are_blocks() -> None:
    assert taps(100, 50, 2.0, 10**6).block == 2
    assert taps(100, 50, 3.0, 10**6).block is None
    assert taps(100, 50, 2.0, 10**6, offset=0.5).block is None
    assert taps(100, 50, 2.0, 299).block is None  # the last sample has one pixel
    assert taps(100, 50, 2.05, 10**6).block is None
    assert taps(100, 50, 1.0, 10**6).block is None


@pytest.mark.parametrize("part", [slice(0, 30), slice(30, 60), slice(31, 50)])
def test_a_sample_does_not_depend_on_the_window(part: slice) -> None:
    pixels = np.random.default_rng(2).integers(0, 256, (119, 119, 3), np.uint8)
    every = taps(0, 60, 2.0, 119)
    some = taps(part.start, part.stop - part.start, 2.0, 119)
    where = slice(*some.span)
    whole = resample(pixels, every, every)
    np.testing.assert_array_equal(resample(pixels[where, where], some, some), whole[part, part])
