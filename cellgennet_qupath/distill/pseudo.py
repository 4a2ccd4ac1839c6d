"""Pseudo-labels: what the teacher says about unlabelled tissue, and how steady it is in it.

Kept on disk, one file a tile, so that training streams them whatever their number.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ..config import PseudoConfig
from ..student.batches import UnlabelledBatch
from ..supervision.sampling import recolour
from .material import UnlabelledTile

View = Callable[[NDArray[np.float32]], NDArray[np.float32]]
"""Soft foreground and object probability of an image: (h, w, 3) -> (h / 2, w / 2, 2)."""


def averaged(
    predict: View, image: NDArray[np.float32], views: int
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Mean and standard deviation of a prediction over rotations (4) and mirror images (8).

    image : (h, w, 3) with even h and w. Returns two (h / 2, w / 2, 2) float32 arrays.
    """
    seen = []
    for turn in range(4):
        for mirror in (False, True)[: views // 4]:
            view = np.rot90(image, turn)
            view = view[:, ::-1] if mirror else view
            maps = predict(np.ascontiguousarray(view))
            maps = maps[:, ::-1] if mirror else maps
            seen.append(np.rot90(maps, -turn))
    stack = np.stack(seen)
    return stack.mean(axis=0), stack.std(axis=0)


def steadiness(spread: NDArray[np.float32], sharpness: float) -> NDArray[np.float32]:
    """How well views agree, exp(-k sd) in (0, 1]; what is made of it, ``student.losses.belief`` says."""
    steady: NDArray[np.float32] = np.exp(-sharpness * spread).astype(np.float32)
    return steady


def write_pseudo_label(path: Path, tile: UnlabelledTile, predict: View, config: PseudoConfig) -> float:
    """Pseudo-label a tile and keep it in 8 bits a value; returns the share of steady foreground."""
    mean, spread = averaged(predict, tile.image, config.views)
    usable = np.min(tile.usable.reshape(mean.shape[0], 2, mean.shape[1], 2), axis=(1, 3))
    steady = steadiness(spread, config.sharpness) * usable[:, :, None]
    part = path.with_name(path.name + ".part")
    with part.open("wb") as file:
        np.savez_compressed(
            file,
            image=np.rint((tile.image + 0.5) * 127.5).astype(np.uint8),
            targets=np.rint(mean * 255).astype(np.uint8),
            steadiness=np.rint(steady * 255).astype(np.uint8),
        )
    part.replace(path)
    return float((steady[..., 0] * (mean[..., 0] > 0.5)).sum() / max(1, usable.sum()))


def rectangle(rng: np.random.Generator, size: int, share: float) -> NDArray[np.bool_]:
    """A rectangle of ``share`` of a square of ``size``, of random shape and place, as bool (size, size).

    CutMix of French et al., "Semi-supervised semantic segmentation needs strong, varied perturbations",
    BMVC 2020: no patch teaches by what surrounds it alone.
    """
    inside = np.zeros((size, size), bool)
    if share:
        height = round(size * share ** rng.random())
        width = min(size, round(size * size * share / height))
        y, x = int(rng.integers(size - height + 1)), int(rng.integers(size - width + 1))
        inside[y : y + height, x : x + width] = True
    return inside


class PseudoLabels:
    """Draws crops of pseudo-labelled tiles, mirrored and turned, in a weak and a strong colouring."""

    def __init__(self, files: list[Path], size: int, cutmix: float) -> None:
        if not files:
            raise ValueError("no pseudo-labelled tile")
        self._files = files
        self._size = size
        self._cutmix = cutmix

    def draw(self, rng: np.random.Generator, count: int) -> UnlabelledBatch:
        """``count`` crops."""
        drawn = [self._one(rng) for _ in range(count)]
        weak, strong, targets, steady = (np.stack(column) for column in zip(*drawn, strict=True))
        pasted = np.stack([rectangle(rng, self._size // 2, self._cutmix) for _ in range(count)])
        return UnlabelledBatch(weak, strong, targets, steady, pasted)

    def _one(self, rng: np.random.Generator) -> tuple[NDArray[np.float32], ...]:
        with np.load(self._files[int(rng.integers(len(self._files)))], allow_pickle=False) as tile:
            image, targets, steady = tile["image"], tile["targets"], tile["steadiness"]
        half = self._size // 2
        y = int(rng.integers(targets.shape[0] - half + 1))
        x = int(rng.integers(targets.shape[1] - half + 1))
        turn, mirror = int(rng.integers(4)), rng.random() < 0.5

        def posed(array: NDArray[np.uint8], scale: int) -> NDArray[np.float32]:
            crop = array[y * scale : (y + half) * scale, x * scale : (x + half) * scale]
            crop = np.rot90(crop, turn)
            return np.ascontiguousarray(crop[:, ::-1] if mirror else crop).astype(np.float32)

        picture = posed(image, 2) / np.float32(127.5) - np.float32(0.5)
        weak, strong = recolour(picture, rng, 0.3), recolour(picture, rng, 1.0)
        top = np.float32(255)
        return weak, strong, posed(targets, 1) / top, posed(steady, 1) / top
