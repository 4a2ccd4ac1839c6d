"""What the student sees in one step: plain arrays, made without torch."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True)
class LabelledBatch:
    """Patches with ground truth, at input resolution.

    image      : (n, h, w, 3) float32, normalised.
    foreground : (n, h, w) float32: -1 unknown, else in [0, 1].
    objectness : (n, h, w) float32: -1 unknown, else in [0, 1].
    touching   : (n, h, w) bool, where two nuclei touch or nearly touch.
    geometry   : (n, h / 2, w / 2, ``GEOMETRY``) float32 as ``targets.geometry``, or None.
    """

    image: NDArray[np.float32]
    foreground: NDArray[np.float32]
    objectness: NDArray[np.float32]
    touching: NDArray[np.bool_]
    geometry: NDArray[np.float32] | None = None


@dataclass(frozen=True)
class UnlabelledBatch:
    """Two colour augmentations of the same unlabelled patches, with their soft labels.

    weak, strong : (n, h, w, 3) float32.
    targets      : (n, h / stride, w / stride, 2) float32, soft foreground and object probability.
    agreement    : of the same shape, in [0, 1], of the views; 0 where nothing may be learnt.
    pasted       : (n, h / stride, w / stride) bool, where the strong view shows the next patch of the batch
                   instead of its own (the last one: the first).
    """

    weak: NDArray[np.float32]
    strong: NDArray[np.float32]
    targets: NDArray[np.float32]
    agreement: NDArray[np.float32]
    pasted: NDArray[np.bool_]
