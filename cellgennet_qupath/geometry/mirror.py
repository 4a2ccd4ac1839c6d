"""What a network sees beyond the edge of an image, or of its part with data: the mirror image."""

from __future__ import annotations

from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

Value = TypeVar("Value", bound=np.generic)

_ALL = 0.98
"""Share of a row or column without data from which all of it counts as such: compression leaves specks."""


def part_with_data(
    shape: tuple[int, ...],
    origin: tuple[int, int],
    size: tuple[int, int],
    empty: NDArray[np.bool_] | None = None,
) -> tuple[slice, slice]:
    """Rows and columns of a window that are inside the image and its margin without data.

    shape  : of the window, of which some part is inside the image.
    origin : (column, row) of its first sample; size: (columns, rows) of the image, in the same samples.
             A window beside it has no such part.
    empty  : (rows, columns), where the image holds no data, such as the black that scanners leave around
             tissue. Rows and columns without data are margin from the window's edges up to the first others.
    """
    rows, columns = (
        slice(max(0, -start), min(length, whole - start))
        for length, start, whole in zip(shape[:2], origin[::-1], size[::-1], strict=True)
    )
    if rows.stop <= rows.start or columns.stop <= columns.start:
        return slice(0, 0), slice(0, 0)
    if empty is None or not empty.any():
        return rows, columns
    inside = empty[rows, columns]
    down = np.flatnonzero(inside.mean(axis=1) < _ALL)
    if not len(down):
        return rows, columns
    tall = slice(int(down[0]), int(down[-1]) + 1)
    across = np.flatnonzero(inside[tall].mean(axis=0) < _ALL)
    wide = slice(int(across[0]), int(across[-1]) + 1) if len(across) else slice(0, inside.shape[1])
    return _within(rows, tall), _within(columns, wide)


def _within(outer: slice, inner: slice) -> slice:
    return slice(outer.start + inner.start, outer.start + inner.stop)


def mirrored_around(window: NDArray[Value], part: tuple[slice, slice]) -> NDArray[Value]:
    """A window (rows, columns, ...) with all but a part of it replaced by the reflection of that part.

    White, which readers give beyond the image, looks like glass: nuclei at a picture's edge would be missed.
    Returns ``window`` itself where the part is all of it or nothing, else a new array.
    """
    inner = window[part]
    if inner.shape == window.shape or not inner.size:
        return window
    margins = [(side.start, length - side.stop) for side, length in zip(part, window.shape[:2], strict=True)]
    return np.pad(inner, [*margins, *((0, 0) for _ in range(window.ndim - 2))], mode="symmetric")
