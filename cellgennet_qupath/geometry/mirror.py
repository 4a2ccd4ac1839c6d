"""What a network sees beyond the edge of an image: the image's mirror image."""

from __future__ import annotations

from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

Value = TypeVar("Value", bound=np.generic)


def mirrored_beyond(window: NDArray[Value], origin: tuple[int, int], size: tuple[int, int]) -> NDArray[Value]:
    """A window with everything beyond the image's edges replaced by the reflection of what lies inside.

    White, which readers give there, looks like glass: nuclei at a picture's edge would be missed.

    window : (rows, columns, ...), of which some part is inside the image.
    origin : (column, row) of its first sample; size: (columns, rows) of the image, in the same samples.
    Returns ``window`` itself where it is inside the image, else a new array.
    """
    (x, y), (columns, rows) = origin, size
    left, top = max(0, -x), max(0, -y)
    right, bottom = max(0, x + window.shape[1] - columns), max(0, y + window.shape[0] - rows)
    if not (left or top or right or bottom):
        return window
    inner = window[top : window.shape[0] - bottom, left : window.shape[1] - right]
    margins = [(top, bottom), (left, right), *((0, 0) for _ in range(window.ndim - 2))]
    return np.pad(inner, margins, mode="symmetric")
