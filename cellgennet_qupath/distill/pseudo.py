"""Pseudo-labels: what the teacher says about unlabelled tissue, and how far it is believed.

Kept on disk, one file a tile, so that training streams them whatever their number.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ..config import PseudoConfig
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


def confidence(
    mean: NDArray[np.float32], spread: NDArray[np.float32], config: PseudoConfig
) -> NDArray[np.float32]:
    """How far soft labels are believed, in [0, 1], per map.

    foreground         : c = |2p - 1| exp(-k sd), times ``miss_doubt`` where p < 1/2: a nucleus that the
                         teacher misses, it misses in all views alike.
    object probability : c = exp(-k sd), times ``miss_doubt`` where the foreground says background.
    mean, spread : (h, w, 2). Returns (h, w, 2) float32.
    """
    foreground = mean[..., 0]
    side = np.where(foreground < 0.5, np.float32(config.miss_doubt), np.float32(1))
    steady = np.exp(-config.sharpness * spread)
    certain = np.stack([np.abs(2 * foreground - 1), np.ones_like(foreground)], axis=-1)
    believed: NDArray[np.float32] = (certain * steady * side[..., None]).astype(np.float32)
    return believed


def write_pseudo_label(path: Path, tile: UnlabelledTile, predict: View, config: PseudoConfig) -> float:
    """Pseudo-label a tile and keep it in 8 bits a value; returns the share of confident foreground."""
    mean, spread = averaged(predict, tile.image, config.views)
    believed = confidence(mean, spread, config)
    usable = np.min(tile.usable.reshape(mean.shape[0], 2, mean.shape[1], 2), axis=(1, 3))
    believed *= usable[:, :, None]
    part = path.with_name(path.name + ".part")
    with part.open("wb") as file:
        np.savez_compressed(
            file,
            image=np.rint((tile.image + 0.5) * 127.5).astype(np.uint8),
            targets=np.rint(mean * 255).astype(np.uint8),
            confidence=np.rint(believed * 255).astype(np.uint8),
        )
    part.replace(path)
    return float((believed[..., 0] * (mean[..., 0] > 0.5)).sum() / max(1, usable.sum()))


class PseudoLabels:
    """Draws crops of pseudo-labelled tiles, mirrored and turned, in a weak and a strong colouring."""

    def __init__(self, files: list[Path], size: int) -> None:
        if not files:
            raise ValueError("no pseudo-labelled tile")
        self._files = files
        self._size = size

    def draw(
        self, rng: np.random.Generator, count: int
    ) -> tuple[NDArray[np.float32], NDArray[np.float32], NDArray[np.float32], NDArray[np.float32]]:
        """weak and strong images (n, s, s, 3), targets and confidence (n, s / 2, s / 2, 2), float32."""
        drawn = [self._one(rng) for _ in range(count)]
        weak, strong, targets, believed = (np.stack(column) for column in zip(*drawn, strict=True))
        return weak, strong, targets, believed

    def _one(self, rng: np.random.Generator) -> tuple[NDArray[np.float32], ...]:
        with np.load(self._files[int(rng.integers(len(self._files)))], allow_pickle=False) as tile:
            image, targets, believed = tile["image"], tile["targets"], tile["confidence"]
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
        return weak, strong, posed(targets, 1) / top, posed(believed, 1) / top
