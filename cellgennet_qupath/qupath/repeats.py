"""Detections that are there twice, as after importing one file twice."""

from __future__ import annotations

import numpy as np
import shapely
from numpy.typing import NDArray

from ..nuclei import Nuclei
from .formats.outlines import drawn, repeats

_MULTIPLIERS = np.array([0xBF58476D1CE4E5B9, 0x94D049BB133111EB, 0x9E3779B97F4A7C15], np.uint64)
"""Of SplitMix64 (Steele, Lea and Flood 2014): two that mix, and the step between its numbers."""


class RepeatedOutlines:
    """Counts detections that have exactly the outline of an earlier one on the same plane.

    Eight bytes are kept of each detection.
    """

    def __init__(self) -> None:
        self._keys: list[NDArray[np.int64]] = [np.empty(0, np.int64)]

    def add(self, nuclei: Nuclei) -> None:
        """Look at more detections of the same image."""
        self._keys.append(_keys(drawn(nuclei), nuclei.z, nuclei.t))

    @property
    def count(self) -> int:
        """How many so far."""
        return repeats(np.concatenate(self._keys))


def _keys(outlines: NDArray[np.object_], z: NDArray[np.int32], t: NDArray[np.int32]) -> NDArray[np.int64]:
    """(n,) a number of 64 bits for each outline on a plane: equal for equal ones, and else by chance only."""
    xy, row = shapely.get_coordinates(outlines, return_index=True)
    starts = np.searchsorted(row, np.arange(len(outlines)))
    # Where along the outline a vertex is counts as much as where in the image.
    place = (np.arange(len(row)) - starts[row]).astype(np.uint64)
    x, y = (xy + 0.0).view(np.uint64).T
    vertices = _mixed(_mixed(x + place * _MULTIPLIERS[2]) ^ y)
    total = np.zeros(len(outlines), np.uint64)
    np.add.at(total, row, vertices)
    plane = np.column_stack([z, t]).view(np.uint64)[:, 0]
    keys: NDArray[np.int64] = _mixed(total ^ _mixed(plane + _MULTIPLIERS[2])).view(np.int64)
    return keys


def _mixed(bits: NDArray[np.uint64]) -> NDArray[np.uint64]:
    """Numbers every bit of which depends on every bit of the given ones: the finaliser of SplitMix64."""
    bits = (bits ^ (bits >> np.uint64(30))) * _MULTIPLIERS[0]
    bits = (bits ^ (bits >> np.uint64(27))) * _MULTIPLIERS[1]
    return bits ^ (bits >> np.uint64(31))


def remark(count: int, image: str) -> str:
    """One line about repeated detections of an image."""
    what = "1 detection has" if count == 1 else f"{count:,} detections have"
    return (
        f"{image}: {what} exactly the outline of another one, as if a file had been imported twice, so "
        "nuclei are counted twice. Segment with --existing replace-all, or delete them in QuPath and import "
        "once."
    )
