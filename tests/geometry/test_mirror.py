"""What lies beyond an image: its mirror image."""

from __future__ import annotations

from typing import Any

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from cellgennet_qupath.geometry.mirror import mirrored_around, part_with_data


def mirrored_beyond(window: NDArray[Any], origin: tuple[int, int], size: tuple[int, int]) -> NDArray[Any]:
    return mirrored_around(window, part_with_data(window.shape, origin, size))


def test_a_window_inside_is_left_alone() -> None:
    window = np.arange(12).reshape(3, 4)
    assert mirrored_beyond(window, (2, 5), (6, 8)) is window


def test_the_edge_itself_is_repeated_first() -> None:
    row = np.array([[9, 9, 1, 2, 3, 9]])
    assert mirrored_beyond(row, (-2, 0), (3, 1)).tolist() == [[2, 1, 1, 2, 3, 3]]


@given(
    st.tuples(st.integers(3, 12), st.integers(3, 12)),
    st.tuples(st.integers(-9, 11), st.integers(-9, 11)),
    st.tuples(st.integers(1, 20), st.integers(1, 20)),
)
def test_a_sample_is_the_same_in_every_window(
    size: tuple[int, int], origin: tuple[int, int], shape: tuple[int, int]
) -> None:
    columns, rows = size
    image = np.arange(rows * columns).reshape(rows, columns)
    whole = np.pad(image, 40, mode="symmetric")
    x, y = min(origin[0], columns - 1), min(origin[1], rows - 1)
    width, height = max(shape[0], 1 - x), max(shape[1], 1 - y)
    seen = np.full((height, width), -1)
    inside = np.s_[max(y, 0) : min(y + height, rows), max(x, 0) : min(x + width, columns)]
    part = image[inside]
    seen[max(-y, 0) :, max(-x, 0) :][: part.shape[0], : part.shape[1]] = part
    found = mirrored_beyond(seen, (x, y), size)
    margins = (max(-x, x + width - columns, 0), max(-y, y + height - rows, 0))
    if margins[0] <= part.shape[1] and margins[1] <= part.shape[0]:
        assert np.array_equal(found, whole[40 + y : 40 + y + height, 40 + x : 40 + x + width])
    assert found.shape == (height, width) and (found >= 0).all()


def test_a_margin_without_data_is_mirrored_too() -> None:
    """Black around tissue, with a speck of compression in it and a hole in the tissue."""
    image = np.arange(100 * 80).reshape(100, 80)
    empty = np.zeros(image.shape, bool)
    empty[:7] = empty[:, 70:] = empty[40:45, 30:35] = True
    empty[3, 20] = False
    part = part_with_data(image.shape, (0, 0), (80, 100), empty)
    assert part == (slice(7, 100), slice(0, 70))
    found = mirrored_around(image, part)
    assert np.array_equal(found[part], image[part])
    assert np.array_equal(found[6], found[7]) and np.array_equal(found[:, 70], found[:, 69])


def test_the_margin_begins_where_the_image_does() -> None:
    empty = np.zeros((50, 60), bool)
    empty[:15] = True  # ten rows beyond the image, and five of fill
    assert part_with_data((50, 60), (-20, -10), (200, 200), empty) == (slice(15, 50), slice(20, 60))


def test_a_window_without_any_data_is_left_alone() -> None:
    assert part_with_data((9, 9), (0, 0), (9, 9), np.ones((9, 9), bool)) == (slice(0, 9), slice(0, 9))
