"""Pseudo-labels: predictions of teacher and averaged student on unlabelled tissue, and their uncertainty.

They are kept on disk, one file per tile, so that training streams any number of them.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ..core.arrays import DamagedArraysError, read_npz
from ..core.config import PseudoConfig
from ..core.files import replacing
from .batches import UnlabelledBatch
from .data import UnlabelledTile
from .patches import recolour
from .soft_maps import Predict

_MOST_BYTES = 2 * 1024**3


@dataclass(frozen=True)
class AveragedPrediction:
    """Mean and standard deviation of a tile's maps over views, float32 (h / stride, w / stride, 2)."""

    mean: NDArray[np.float32]
    std: NDArray[np.float32]


def predict_views(predict: Predict, image: NDArray[np.float32], views: int) -> AveragedPrediction:
    """One network's prediction averaged over rotations (4 views), and mirror images too (8 views).

    image : (h, w, 3), h and w multiples of the network's stride.
    """
    aligned = []
    for turn in range(4):
        for mirror in (False, True)[: views // 4]:
            view = np.rot90(image, turn)
            view = view[:, ::-1] if mirror else view
            maps = predict(np.ascontiguousarray(view))
            maps = maps[:, ::-1] if mirror else maps
            aligned.append(np.rot90(maps, -turn))
    stack = np.stack(aligned)
    return AveragedPrediction(stack.mean(axis=0), stack.std(axis=0))


def mix(first: AveragedPrediction, second: AveragedPrediction, share: float) -> AveragedPrediction:
    """Two networks' predictions as one set of views, in which the second's have the weight ``share`` = a.

    m = (1 - a) m1 + a m2 and s^2 = (1 - a) s1^2 + a s2^2 + a (1 - a) (m1 - m2)^2: the mixture is uncertain
    where the networks contradict each other, even if each is certain.
    """
    mean = first.mean + np.float32(share) * (second.mean - first.mean)
    within = (1 - share) * first.std**2 + share * second.std**2
    between = share * (1 - share) * (first.mean - second.mean) ** 2
    return AveragedPrediction(mean, np.sqrt(within + between).astype(np.float32))


def agreement(std: NDArray[np.float32], decay: float) -> NDArray[np.float32]:
    """How well views agree: exp(-k s) in (0, 1], k = ``decay``. A factor of ``losses.confidence``."""
    agreed: NDArray[np.float32] = np.exp(-decay * std).astype(np.float32)
    return agreed


def write_tile(path: Path, tile: UnlabelledTile, stride: int) -> None:
    """Write a tile's image, in 8 bits a value, and the mask of what may be learnt from, on the maps' grid."""
    rows, columns = tile.usable.shape
    usable = np.min(tile.usable.reshape(rows // stride, stride, columns // stride, stride), axis=(1, 3))
    _save(path, image=np.rint((tile.image + 0.5) * 127.5).astype(np.uint8), usable=usable)


def read_image(path: Path) -> NDArray[np.float32]:
    """The image of ``write_tile``, normalised."""
    with np.load(path, allow_pickle=False) as tile:
        return _normalised(tile["image"])


def write_prediction(path: Path, prediction: AveragedPrediction) -> None:
    """Write a prediction, in 8 bits a value."""
    # Under the name that earlier versions gave the standard deviation, so that their runs can be resumed.
    _save(path, mean=_levels(prediction.mean), spread=_levels(prediction.std))


def tile_is_whole(path: Path, stride: int) -> bool:
    """Whether a file of ``write_tile`` is there and undamaged."""
    arrays = _stored(path)
    if set(arrays) != {"image", "usable"}:
        return False
    rows, columns = arrays["image"].shape[:2]
    return bool(rows and arrays["usable"].shape == (rows // stride, columns // stride))


def prediction_is_whole(path: Path) -> bool:
    """Whether a file of ``write_prediction`` is there and undamaged."""
    arrays = _stored(path)
    return set(arrays) == {"mean", "spread"} and arrays["mean"].shape == arrays["spread"].shape


def _stored(path: Path) -> dict[str, NDArray[np.generic]]:
    """The arrays of a file; none where it is missing, cut off or damaged."""
    try:
        return read_npz(path, _MOST_BYTES) if path.is_file() else {}
    except DamagedArraysError:
        return {}


def _normalised(image: NDArray[np.uint8]) -> NDArray[np.float32]:
    return image.astype(np.float32) / np.float32(127.5) - np.float32(0.5)


def _levels(unit: NDArray[np.float32]) -> NDArray[np.uint8]:
    return np.rint(unit * 255).astype(np.uint8)


def _unit(levels: NDArray[np.uint8]) -> NDArray[np.float32]:
    return levels.astype(np.float32) / np.float32(255)


def _save(path: Path, **arrays: NDArray[np.generic]) -> None:
    with replacing(path) as part, part.open("wb") as file:
        np.savez_compressed(file, allow_pickle=False, **arrays)


def rectangle(rng: np.random.Generator, size: int, share: float) -> NDArray[np.bool_]:
    """A mask, bool (size, size), of a rectangle of random shape and position that covers ``share`` of it.

    CutMix of French et al., "Semi-supervised semantic segmentation needs strong, varied perturbations",
    BMVC 2020.
    """
    inside = np.zeros((size, size), bool)
    if share:
        height = round(size * share ** rng.random())
        width = min(size, round(size * size * share / height))
        y, x = int(rng.integers(size - height + 1)), int(rng.integers(size - width + 1))
        inside[y : y + height, x : x + width] = True
    return inside


class PseudoLabels:
    """Draws crops of pseudo-labelled tiles, rotated and mirrored, with weak and strong colour augmentation.

    tiles       : files of ``write_tile``.
    predictions : for each tile the teacher's file of ``write_prediction``, the averaged student's, or both
                  in this order; both are mixed, with ``config.student_share``.
    size        : of a crop, in samples of the image.
    stride      : samples of the image per sample of the maps.
    """

    def __init__(
        self,
        tiles: Sequence[Path],
        predictions: Sequence[Sequence[Path]],
        size: int,
        stride: int,
        config: PseudoConfig,
    ) -> None:
        if not tiles:
            raise ValueError("no pseudo-labelled tile")
        self._tiles = list(zip(tiles, predictions, strict=True))
        self._size = size
        self._stride = stride
        self._config = config

    def draw(self, rng: np.random.Generator, count: int) -> UnlabelledBatch:
        """``count`` crops."""
        drawn = [self._one(rng) for _ in range(count)]
        weak, strong, targets, agreed = (np.stack(column) for column in zip(*drawn, strict=True))
        side, share = self._size // self._stride, self._config.cutmix
        pasted = np.stack([rectangle(rng, side, share) for _ in range(count)])
        return UnlabelledBatch(weak, strong, targets, agreed, pasted)

    def _one(self, rng: np.random.Generator) -> tuple[NDArray[np.float32], ...]:
        file, predictions = self._tiles[int(rng.integers(len(self._tiles)))]
        with np.load(file, allow_pickle=False) as tile:
            image, usable = tile["image"], tile["usable"]
        side = self._size // self._stride
        y = int(rng.integers(usable.shape[0] - side + 1))
        x = int(rng.integers(usable.shape[1] - side + 1))
        turn, mirror = int(rng.integers(4)), rng.random() < 0.5

        def posed(array: NDArray[np.uint8], scale: int = 1) -> NDArray[np.uint8]:
            crop = array[y * scale : (y + side) * scale, x * scale : (x + side) * scale]
            crop = np.rot90(crop, turn)
            return np.ascontiguousarray(crop[:, ::-1] if mirror else crop)

        def read(path: Path) -> AveragedPrediction:
            with np.load(path, allow_pickle=False) as stored:
                return AveragedPrediction(_unit(posed(stored["mean"])), _unit(posed(stored["spread"])))

        mixed = read(predictions[0])
        for other in predictions[1:]:
            mixed = mix(mixed, read(other), self._config.student_share)
        agreed = agreement(mixed.std, self._config.uncertainty_decay) * posed(usable)[:, :, None]
        pixels = _normalised(posed(image, self._stride))
        return recolour(pixels, rng, 0.3), recolour(pixels, rng, 1.0), mixed.mean, agreed
