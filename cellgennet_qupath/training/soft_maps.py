"""Teacher and student as sources of soft maps: foreground and object probability on the student's grid."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from ..core.config import StudentConfig
from ..networks.stardist_process import StarDistProcess

Predict = Callable[[NDArray[np.float32]], NDArray[np.float32]]
"""Soft foreground and object probability of an image: (h, w, 3) -> (h / stride, w / stride, 2)."""


def teacher_predict(teacher: StarDistProcess, thresholds: Mapping[str, float], stride: int) -> Predict:
    """The teacher: the mask of its instances at its thresholds, and its object probability.

    stride : samples of an image, whose sides are multiples of it, per sample of the maps.
    """

    def predict(image: NDArray[np.float32]) -> NDArray[np.float32]:
        maps = teacher.predict(image)
        rows, columns = image.shape[:2]
        labels, _ = teacher.instances(maps, (rows, columns), thresholds["prob"], thresholds["nms"])
        shape = (rows // stride, columns // stride)
        blocks = (labels > 0).astype(np.float32).reshape(shape[0], stride, shape[1], stride)
        prob = _on_grid(maps.prob, teacher.grid, stride, shape)
        return np.stack([blocks.mean(axis=(1, 3)), prob], axis=-1)

    return predict


def student_predict(weights: Path, config: StudentConfig, threads: int) -> Predict:
    """A student with the weights of a file."""
    from ..networks.runtime import load_runtime

    runtime = load_runtime(weights, config, threads=threads)

    def predict(image: NDArray[np.float32]) -> NDArray[np.float32]:
        return whole_maps(runtime.predict, image)

    return predict


def window_predict(weights: Path, config: StudentConfig, threads: int) -> Predict:
    """A student with the weights of a file, for a few images of many shapes.

    On torch: the faster runtime would be compiled anew for each shape.
    """
    from ..networks.device import best_device
    from ..networks.torch_runtime import TorchRuntime

    runtime = TorchRuntime(weights, config, best_device(), threads)

    def predict(image: NDArray[np.float32]) -> NDArray[np.float32]:
        # For each shape the processor's library keeps memory: few shapes, little memory.
        return whole_maps(runtime.predict, image, unit=128)

    return predict


def whole_maps(predict: Predict, image: NDArray[np.float32], unit: int = 32) -> NDArray[np.float32]:
    """Maps of an image of any size from a network that takes batches of multiples of 32 samples.

    image : (h, w, 3). Returns (h / stride, w / stride, 2), rounded up.
    unit  : the image is reflected up to a multiple of this.
    """
    rows, columns = image.shape[:2]
    padded = np.pad(image, ((0, -rows % unit), (0, -columns % unit), (0, 0)), mode="reflect")
    maps: NDArray[np.float32] = predict(padded[None])[0]
    stride = len(padded) // len(maps)
    return maps[: -(-rows // stride), : -(-columns // stride)]


def _on_grid(
    prob: NDArray[np.float32], grid: int, stride: int, shape: tuple[int, int]
) -> NDArray[np.float32]:
    """StarDist's probability on the grid (rows, columns) of ``stride``, whatever its own grid is."""
    if grid == stride:
        return prob[: shape[0], : shape[1]]
    flags = cv2.INTER_AREA if grid < stride else cv2.INTER_LINEAR
    return np.asarray(cv2.resize(prob, (shape[1], shape[0]), interpolation=flags), np.float32)
