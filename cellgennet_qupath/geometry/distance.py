"""Distances in images that are the same in every run."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray


def distance_to_zero(mask: NDArray[np.bool_]) -> NDArray[np.float64]:
    """Euclidean distance of every sample to the nearest false one, float64 of the mask's shape.

    OpenCV's exact transform, whose last digit changes from run to run on several threads: squared distances
    are integers, so they are rounded to them. Without a false sample the distances mean nothing.
    """
    rough = cv2.distanceTransform(mask.astype(np.uint8), cv2.DIST_L2, cv2.DIST_MASK_PRECISE)
    return np.sqrt(np.rint(np.square(rough, dtype=np.float64)))
