"""The choice among candidate windows: doubtful ones, unlike each other and unlike what is annotated."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import shapely
from numpy.typing import NDArray
from scipy.stats import rankdata

from .criteria import Windows

_LEAST = 3
"""Nuclei that a window should have, unless too few windows have: an empty region teaches nothing."""


@dataclass(frozen=True)
class Choice:
    """A chosen window.

    row          : of the candidates.
    disagreement : share in (0, 1] of the candidates whose views disagree less, this one included.
    novelty      : the same share for the distance to everything annotated or chosen before.
    first        : whether it is the first window on its image, annotated ones included.
    """

    row: int
    disagreement: float
    novelty: float
    first: bool


def choose(
    candidates: Windows,
    annotated: Windows,
    on_image: NDArray[np.float64],
    count: int,
    rng: np.random.Generator,
) -> list[Choice]:
    """Up to ``count`` windows that do not overlap, the one worth most first.

    on_image : (images,) how many windows' area is annotated on each image.

    The worth of a window is v d s: v the mean rank of its disagreement and of its number of doubtful nuclei,
    d the rank of its distance to the nearest window annotated or chosen before (k-centre: Sener and Savarese,
    "Active learning for convolutional neural networks: a core-set approach", ICLR 2018), and
    s = 1 / sqrt(1 + c) with c windows already on its image. Equal worths are drawn by ``rng``.
    """
    enough = candidates.nuclei >= _LEAST
    rows = np.flatnonzero(enough) if enough.sum() >= count else np.arange(len(candidates))
    rows = rng.permutation(rows)
    pool = candidates.take(rows)
    if not len(pool):
        return []
    views = rankdata(pool.disagreement) / len(pool)
    doubt = rankdata(pool.doubtful) / len(pool)
    value = (views + doubt) / 2
    features, known = _standardised(pool.features, annotated.features)
    distance = np.full(len(pool), np.inf)
    for one in known:
        distance = np.minimum(distance, np.linalg.norm(features - one, axis=1))
    shapes = np.asarray(shapely.box(*pool.boxes.T.astype(np.float64)), dtype=object)
    free = np.ones(len(pool), bool)
    chosen: list[Choice] = []
    on_image = on_image.astype(np.float64)
    while len(chosen) < count and free.any():
        far = rankdata(distance) / len(pool)
        worth = np.where(free, value * far / np.sqrt(1 + on_image[pool.image]), -1)
        best = int(worth.argmax())
        image = pool.image[best]
        chosen.append(Choice(int(rows[best]), float(views[best]), float(far[best]), on_image[image] == 0))
        on_image[image] += 1
        distance = np.minimum(distance, np.linalg.norm(features - features[best], axis=1))
        free &= (pool.image != image) | ~shapely.relate_pattern(shapes, shapes[best], "T********")
    return chosen


def _standardised(
    features: NDArray[np.float64], others: NDArray[np.float64]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Both in standard deviations of the first from its mean; what has no value is average."""
    known = np.isfinite(features)
    count = np.maximum(known.sum(axis=0), 1)
    mean = np.where(known, features, 0).sum(axis=0) / count
    std = np.sqrt((np.where(known, features - mean, 0) ** 2).sum(axis=0) / count)
    scaled = [np.nan_to_num((part - mean) / np.maximum(std, 1e-9)) for part in (features, others)]
    return scaled[0], scaled[1]
