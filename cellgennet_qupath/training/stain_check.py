"""Whether outlines lie on stained nuclei: a check that no other annotation can deceive."""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from ..annotations.windows import Window

LEAST_DARKER = 0.75
"""Of outlined nuclei at least this share is darker than its surroundings; real outlines: over 0.9."""
FEWEST = 10
RING = 4
"""Samples around a nucleus that are compared with it."""


def share_darker(windows: Sequence[Window]) -> tuple[float, int]:
    """The share of outlined nuclei whose inside is darker than the ring around it, and their number.

    Haematoxylin absorbs red light, so the red channel is compared, median with median; other outlines do not
    count as surroundings. Nuclei without a ring are not counted.
    """
    darker = counted = 0
    for window in windows:
        image, objects = window.image[..., 0], np.maximum(window.labels.objects, 0)
        for label, box in enumerate(ndimage.find_objects(objects), start=1):
            if box is None:
                continue
            around = tuple(slice(max(0, s.start - RING), s.stop + RING) for s in box)
            ring = _ring(objects[around] == label) & (objects[around] == 0)
            if ring.any():
                inside = image[around][objects[around] == label]
                counted += 1
                darker += bool(np.median(inside) < np.median(image[around][ring]))
    return (darker / counted if counted else 1.0), counted


def doubt(windows: Sequence[Window], what: str) -> str:
    """A sentence where the outlines do not lie on stained nuclei, else "".

    what : which outlines, "Training" or "Validation".
    """
    share, count = share_darker(windows)
    if count < FEWEST or share >= LEAST_DARKER:
        return ""
    return (
        f"Only {round(share * count)} of {count} {what} outlines are darker than their surroundings: they "
        "may be shifted, or not outline nuclei. Look at them in QuPath."
    )


def _ring(inside: NDArray[np.bool_]) -> NDArray[np.bool_]:
    disc = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (2 * RING + 1, 2 * RING + 1))
    padded = np.pad(inside, RING).astype(np.uint8)
    grown = cv2.dilate(padded, disc)[RING:-RING, RING:-RING]
    return np.asarray((grown > 0) & ~inside, np.bool_)
