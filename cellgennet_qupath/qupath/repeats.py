"""Detections that are there twice, as after importing one file twice."""

from __future__ import annotations

import numpy as np
import shapely
from numpy.typing import NDArray

from ..nuclei import Nuclei
from .formats.outlines import drawn, repeats


class RepeatedOutlines:
    """Counts detections that have exactly the outline of an earlier one on the same plane.

    Eight bytes are kept of each detection.
    """

    def __init__(self) -> None:
        self._keys: list[NDArray[np.int64]] = [np.empty(0, np.int64)]

    def add(self, nuclei: Nuclei) -> None:
        """Look at more detections of the same image."""
        texts = shapely.to_wkb(drawn(nuclei)).tolist()
        keys = [hash(key) for key in zip(texts, nuclei.z.tolist(), nuclei.t.tolist(), strict=True)]
        self._keys.append(np.array(keys, np.int64))

    @property
    def count(self) -> int:
        """How many so far."""
        return repeats(np.concatenate(self._keys))


def remark(count: int, image: str) -> str:
    """One line about repeated detections of an image."""
    what = "1 detection has" if count == 1 else f"{count:,} detections have"
    return (
        f"{image}: {what} exactly the outline of another one, as if a file had been imported twice, so "
        "nuclei are counted twice. Segment with --existing replace-all, or delete them in QuPath and import "
        "once."
    )
