"""Training patches drawn from labelled windows: every patch holds labelled pixels.

All random numbers come from a generator made of (seed, stream, step), so that a run resumed at any step
draws the same patches as an uninterrupted one.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from ..annotations.labels import UNKNOWN
from ..annotations.windows import Window

CONTEXT = 32
"""Samples drawn around the part that is trained on, so that nuclei at its edge keep their whole outline."""
INNER = slice(CONTEXT, -CONTEXT)


@dataclass(frozen=True)
class Patch:
    """A square crop: image float32 (size, size, 3), objects int32 and foreground int8 (size, size).

    soft : float32 (size, size, 2), a model's foreground and object probability, or None.
    """

    image: NDArray[np.float32]
    objects: NDArray[np.int32]
    foreground: NDArray[np.int8]
    soft: NDArray[np.float32] | None = None


def generator(seed: int, stream: str, step: int) -> np.random.Generator:
    """The random numbers of one step of one named stream of a seeded run."""
    return np.random.default_rng([seed, step, *stream.encode()])


class PatchSampler:
    """Draws augmented patches from windows.

    Windows are drawn in proportion to the square root of their labelled area, so that one large region
    does not outweigh small ones; half of the patches are centred on a nucleus, the rest on any labelled
    pixel. Patches are rotated, scaled (by up to ``zoom``) and mirrored; samples outside the window are
    unknown.
    """

    def __init__(self, windows: Sequence[Window], size: int, zoom: float = 0.2) -> None:
        self._windows, self._known, self._nuclear = [], [], []
        for window in windows:
            labels = window.labels
            known = _row_ends(np.not_equal(labels.foreground, UNKNOWN))
            if known[-1]:
                self._windows.append(window)
                self._known.append(known)
                self._nuclear.append(_row_ends(labels.objects > 0))
        if not self._windows:
            raise ValueError("no window holds a labelled pixel")
        self._size = size
        self._zoom = zoom
        share = np.sqrt([ends[-1] for ends in self._known])
        self._share = share / share.sum()

    def draw(self, rng: np.random.Generator, count: int) -> list[Patch]:
        """``count`` patches."""
        return [self._one(rng) for _ in range(count)]

    def _one(self, rng: np.random.Generator) -> Patch:
        row = int(rng.choice(len(self._windows), p=self._share))
        window = self._windows[row]
        nuclear = rng.random() < 0.5 and bool(self._nuclear[row][-1])
        ends = (self._nuclear if nuclear else self._known)[row]
        number = int(rng.integers(ends[-1]))
        y = int(np.searchsorted(ends, number, side="right"))
        _, labels = window.part(slice(y, y + 1), slice(None))
        chosen = labels.objects[0] > 0 if nuclear else labels.foreground[0] != UNKNOWN
        x = int(np.flatnonzero(chosen)[number - (ends[y - 1] if y else 0)])
        return self._cut(window, (float(y), float(x)), rng)

    def _cut(self, window: Window, centre: tuple[float, float], rng: np.random.Generator) -> Patch:
        size = self._size
        angle = rng.uniform(0, 2 * np.pi)
        scale = np.exp(rng.uniform(-1, 1) * np.log1p(self._zoom))
        mirror = -1.0 if rng.random() < 0.5 else 1.0
        # The chosen pixel may be anywhere in the middle half of the trained part, not only at its centre.
        reach = max(0.0, size / 2 - CONTEXT) / 2
        middle = (size - 1) / 2 + rng.uniform(-reach, reach, 2)
        cos, sin = np.cos(angle) / scale, np.sin(angle) / scale
        linear = np.array([[cos * mirror, -sin], [sin * mirror, cos]])
        target = np.array([centre[1], centre[0]])
        matrix = np.hstack([linear, (target - linear @ middle)[:, None]])
        # Only the part that the patch shows; its mirror image at the window's edge included.
        corners = matrix @ np.array([[0, 0, size, size], [0, size, 0, size], [1, 1, 1, 1]])
        around = np.ceil(np.abs(corners - target[:, None]).max(axis=1)).astype(int) + 2
        x0, y0 = np.maximum(target.astype(int) - around, 0)
        x1, y1 = target.astype(int) + around + 1
        matrix[:, 2] -= x0, y0
        image, labels = window.part(slice(y0, y1), slice(x0, x1))
        return Patch(
            _warp(image, matrix, size, cv2.INTER_LINEAR, cv2.BORDER_REFLECT_101),
            renumbered(_warp_labels(labels.objects, matrix, size).astype(np.int32)),
            _warp_labels(labels.foreground, matrix, size).astype(np.int8),
            None if labels.soft is None else _warp_soft(labels.soft, matrix, size),
        )


def _row_ends(mask: NDArray[np.bool_]) -> NDArray[np.int64]:
    """(rows,) how many samples of a mask are in each row and those above it."""
    return np.cumsum(mask.sum(axis=1), dtype=np.int64)


def renumbered(objects: NDArray[np.int32]) -> NDArray[np.int32]:
    """Labels 1, 2, ... in place of any positive ones, in the same order; 0 and UNKNOWN stay.

    StarDist's targets have 16 bits for a label, and an image may have more than 65,535 nuclei.
    """
    positive = objects > 0
    out = objects.copy()
    out[positive] = np.unique(objects[positive], return_inverse=True)[1] + 1
    return out


def _warp(
    image: NDArray[np.float32], matrix: NDArray[np.float64], size: int, interpolation: int, border: int
) -> NDArray[np.float32]:
    return cv2.warpAffine(  # type: ignore[return-value]
        image,
        matrix,
        (size, size),
        flags=interpolation | cv2.WARP_INVERSE_MAP,
        borderMode=border,
        borderValue=(UNKNOWN, UNKNOWN, UNKNOWN),
    )


def _warp_labels(
    labels: NDArray[np.signedinteger], matrix: NDArray[np.float64], size: int
) -> NDArray[np.float32]:
    # float32 represents every label up to 2^24 exactly, and OpenCV cannot warp int32.
    return _warp(labels.astype(np.float32), matrix, size, cv2.INTER_NEAREST, cv2.BORDER_CONSTANT)


def _warp_soft(labels: NDArray[np.uint8], matrix: NDArray[np.float64], size: int) -> NDArray[np.float32]:
    unit = labels.astype(np.float32) / np.float32(255)
    return _warp(unit, matrix, size, cv2.INTER_LINEAR, cv2.BORDER_REFLECT_101)


def recolour(
    image: NDArray[np.float32], rng: np.random.Generator, strength: float = 1.0
) -> NDArray[np.float32]:
    """A normalised image under another stain, exposure, focus and noise; (..., 3), same range.

    The optical density is mixed by a random matrix near the identity, which moves both stains and
    background as another laboratory and scanner would (after Tellez et al. 2018, stain augmentation).
    """
    floor = 0.02
    # 0 and 1 of a normalised image are its darkest tissue and its glass.
    density = -np.log(np.clip(image * 0.8 + 0.2, floor, None))
    mix = np.eye(3) + strength * rng.uniform(-0.12, 0.12, (3, 3)) * (1 - np.eye(3))
    mix *= np.exp(strength * rng.uniform(-0.25, 0.25, (1, 3)))
    shift = strength * rng.uniform(-0.06, 0.06, 3)
    out = (np.exp(-(density @ mix.T.astype(np.float32)) + shift.astype(np.float32)) - 0.2) / 0.8
    chance = rng.random(2)
    if chance[0] < 0.3 * strength:
        sigma = rng.uniform(0.3, 1.2)
        out = cv2.GaussianBlur(out, (0, 0), sigma)
    if chance[1] < 0.3 * strength:
        out = out + rng.normal(0, rng.uniform(0.005, 0.03), out.shape)
    recoloured: NDArray[np.float32] = np.clip(out, -0.5, 1.5).astype(np.float32)
    return recoloured
