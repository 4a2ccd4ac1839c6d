"""Windows of drawn nuclei to train on."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from cellgennet_qupath.annotations.labels import LabelRasters, Split
from cellgennet_qupath.annotations.windows import LabelledWindow
from cellgennet_qupath.geometry.rectangle import Rectangle


def discs(seed: int, size: int = 128, area: float = 120) -> tuple[NDArray[np.float32], NDArray[np.int32]]:
    """Nine dark discs on a light ground, and their labels; ``area`` is that of a disc over pi."""
    rng = np.random.default_rng(seed)
    labels = np.zeros((size, size), np.int32)
    y, x = np.mgrid[:size, :size]
    for number, (cy, cx) in enumerate(
        np.argwhere(np.ones((3, 3))) * 40 + 24 + rng.integers(-4, 4, (9, 2)), 1
    ):
        labels[(y - cy) ** 2 + (x - cx) ** 2 < area] = number
    image = np.where(labels[..., None] > 0, 0.3, 0.9) + rng.normal(0, 0.03, (size, size, 3))
    return image.astype(np.float32), labels


def window(
    image: NDArray[np.float32], labels: NDArray[np.int32], source: str, split: Split = Split.TRAINING
) -> LabelledWindow:
    """A window in which everything is known."""
    rasters = LabelRasters(labels, (labels > 0).astype(np.int8), np.zeros(labels.shape, bool))
    return LabelledWindow(image, rasters, Rectangle(0, 0, *labels.shape[::-1]), split, source)
