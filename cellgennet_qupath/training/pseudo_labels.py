"""Pseudo-labels: what teacher and averaged student say of unlabelled tissue, and how steady they are in it.

Kept on disk, one file a tile, so that training streams them whatever their number.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ..core.config import PseudoConfig
from ..core.files import replacing
from .batches import UnlabelledBatch
from .material import UnlabelledTile
from .patches import recolour

Predict = Callable[[NDArray[np.float32]], NDArray[np.float32]]
"""Soft foreground and object probability of an image: (h, w, 3) -> (h / 2, w / 2, 2)."""


@dataclass(frozen=True)
class AveragedPrediction:
    """What is said of a tile over several views: mean and standard deviation, float32 (h / 2, w / 2, 2)."""

    mean: NDArray[np.float32]
    std: NDArray[np.float32]


def predict_views(predict: Predict, image: NDArray[np.float32], views: int) -> AveragedPrediction:
    """One network's opinion over rotations (4) and mirror images (8).

    image : (h, w, 3) with even h and w.
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
    return AveragedPrediction(stack.mean(axis=0), stack.std(axis=0))


def mix(first: AveragedPrediction, second: AveragedPrediction, share: float) -> AveragedPrediction:
    """Two networks' opinions as one set of views, in which the second's weigh ``share`` = a.

    m = (1 - a) m1 + a m2 and s^2 = (1 - a) s1^2 + a s2^2 + a (1 - a) (m1 - m2)^2: a set whose halves
    contradict each other spreads, though each is steady.
    """
    mean = first.mean + np.float32(share) * (second.mean - first.mean)
    within = (1 - share) * first.std**2 + share * second.std**2
    between = share * (1 - share) * (first.mean - second.mean) ** 2
    return AveragedPrediction(mean, np.sqrt(within + between).astype(np.float32))


def agreement(std: NDArray[np.float32], sharpness: float) -> NDArray[np.float32]:
    """How well views agree, exp(-k s) in (0, 1]; what is made of it, ``student.losses.belief`` says."""
    steady: NDArray[np.float32] = np.exp(-sharpness * std).astype(np.float32)
    return steady


def write_tile(path: Path, tile: UnlabelledTile) -> None:
    """Keep a tile's picture, in 8 bits a value, and where in it something may be learnt."""
    rows, columns = tile.usable.shape
    usable = np.min(tile.usable.reshape(rows // 2, 2, columns // 2, 2), axis=(1, 3))
    _save(path, image=np.rint((tile.image + 0.5) * 127.5).astype(np.uint8), usable=usable)


def read_picture(path: Path) -> NDArray[np.float32]:
    """The picture of ``write_tile``, normalised."""
    with np.load(path, allow_pickle=False) as tile:
        return _picture(tile["image"])


def write_prediction(path: Path, opinion: AveragedPrediction) -> None:
    """Keep an opinion, in 8 bits a value."""
    _save(
        path,
        mean=np.rint(opinion.mean * 255).astype(np.uint8),
        std=np.rint(opinion.std * 255).astype(np.uint8),
    )


def _picture(image: NDArray[np.uint8]) -> NDArray[np.float32]:
    return image.astype(np.float32) / np.float32(127.5) - np.float32(0.5)


def _unit(levels: NDArray[np.uint8]) -> NDArray[np.float32]:
    return levels.astype(np.float32) / np.float32(255)


def _save(path: Path, **arrays: NDArray[np.generic]) -> None:
    with replacing(path) as part, part.open("wb") as file:
        np.savez_compressed(file, allow_pickle=False, **arrays)


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
    """Draws crops of pseudo-labelled tiles, mirrored and turned, in a weak and a strong colouring.

    tiles    : files of ``write_tile``.
    opinions : of each tile the teacher's file of ``write_prediction``, the averaged student's, or both in
               this order; both are mixed, with ``config.student_share``.
    size     : of a crop, in samples of the picture.
    """

    def __init__(
        self, tiles: Sequence[Path], opinions: Sequence[Sequence[Path]], size: int, config: PseudoConfig
    ) -> None:
        if not tiles:
            raise ValueError("no pseudo-labelled tile")
        self._tiles = list(zip(tiles, opinions, strict=True))
        self._size = size
        self._config = config

    def draw(self, rng: np.random.Generator, count: int) -> UnlabelledBatch:
        """``count`` crops."""
        drawn = [self._one(rng) for _ in range(count)]
        weak, strong, targets, steady = (np.stack(column) for column in zip(*drawn, strict=True))
        half, share = self._size // 2, self._config.cutmix
        pasted = np.stack([rectangle(rng, half, share) for _ in range(count)])
        return UnlabelledBatch(weak, strong, targets, steady, pasted)

    def _one(self, rng: np.random.Generator) -> tuple[NDArray[np.float32], ...]:
        file, opinions = self._tiles[int(rng.integers(len(self._tiles)))]
        with np.load(file, allow_pickle=False) as tile:
            image, usable = tile["image"], tile["usable"]
        half = self._size // 2
        y = int(rng.integers(usable.shape[0] - half + 1))
        x = int(rng.integers(usable.shape[1] - half + 1))
        turn, mirror = int(rng.integers(4)), rng.random() < 0.5

        def posed(array: NDArray[np.uint8], scale: int = 1) -> NDArray[np.uint8]:
            crop = array[y * scale : (y + half) * scale, x * scale : (x + half) * scale]
            crop = np.rot90(crop, turn)
            return np.ascontiguousarray(crop[:, ::-1] if mirror else crop)

        def heard(path: Path) -> AveragedPrediction:
            with np.load(path, allow_pickle=False) as said:
                return AveragedPrediction(_unit(posed(said["mean"])), _unit(posed(said["spread"])))

        said = heard(opinions[0])
        for other in opinions[1:]:
            said = mix(said, heard(other), self._config.student_share)
        steady = agreement(said.std, self._config.uncertainty_decay) * posed(usable)[:, :, None]
        picture = _picture(posed(image, 2))
        return recolour(picture, rng, 0.3), recolour(picture, rng, 1.0), said.mean, steady
