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
from ..annotations.windows import LabelledWindow

CONTEXT = 32
"""Samples drawn around the part that is trained on, so that nuclei at its edge keep their whole outline."""
INNER = slice(CONTEXT, -CONTEXT)


@dataclass(frozen=True)
class Patch:
    """A square crop: image float32 (size, size, 3), objects int32 and foreground int8 (size, size)."""

    image: NDArray[np.float32]
    objects: NDArray[np.int32]
    foreground: NDArray[np.int8]


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

    def __init__(self, windows: Sequence[LabelledWindow], size: int, zoom: float = 0.2) -> None:
        self._windows = [w for w in windows if w.known.any()]
        if not self._windows:
            raise ValueError("no window holds a labelled pixel")
        self._size = size
        self._zoom = zoom
        self._known = [np.flatnonzero(w.known) for w in self._windows]
        self._nuclear = [np.flatnonzero(w.labels.objects > 0) for w in self._windows]
        share = np.sqrt([len(k) for k in self._known])
        self._share = share / share.sum()

    def draw(self, rng: np.random.Generator, count: int) -> list[Patch]:
        """``count`` patches."""
        return [self._one(rng) for _ in range(count)]

    def _one(self, rng: np.random.Generator) -> Patch:
        row = int(rng.choice(len(self._windows), p=self._share))
        window = self._windows[row]
        pool = self._nuclear[row] if rng.random() < 0.5 and len(self._nuclear[row]) else self._known[row]
        centre = np.unravel_index(int(rng.choice(pool)), window.known.shape)
        return self._cut(window, (float(centre[0]), float(centre[1])), rng)

    def _cut(self, window: LabelledWindow, centre: tuple[float, float], rng: np.random.Generator) -> Patch:
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
        return Patch(
            _warp(window.image, matrix, size, cv2.INTER_LINEAR, cv2.BORDER_REFLECT_101),
            _warp_labels(window.labels.objects, matrix, size).astype(np.int32),
            _warp_labels(window.labels.foreground, matrix, size).astype(np.int8),
        )


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
