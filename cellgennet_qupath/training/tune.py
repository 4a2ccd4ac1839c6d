"""What is chosen on validation windows from a few candidates, and how good the choice is on others.

A candidate that is the best of many on some nuclei owes a part of that to chance, so its score on them is too
high. Cross-fitting gives one that is not (Stone 1974): each nucleus is scored with what other nuclei choose.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from ..annotations.windows import Window
from ..metrics.scores import Scores, mean_scores, score_matching
from ..metrics.statistics import clusters_of
from .tally import Tally, match_maps, tally_of

MOST_FOLDS = 5

Choice = TypeVar("Choice")
Mask = NDArray[np.bool_]


@dataclass(frozen=True)
class WindowScore:
    """How good one candidate is in one window: ``scores`` for means over windows, ``tally`` for sums."""

    scores: Scores
    tally: Tally


def score_window(predicted: NDArray[np.int32], objects: NDArray[np.int32], stride: int = 1) -> WindowScore:
    """Score a label image against the true objects, -1 where unknown.

    stride : samples of ``objects`` per sample of ``predicted``, along each side.
    """
    matching = match_maps(predicted, objects, stride)
    return WindowScore(score_matching(matching, thresholds=(0.5, 0.7)), tally_of(matching))


def means(scored: Sequence[WindowScore]) -> dict[str, float]:
    """Mean scores over windows."""
    return mean_scores([one.scores for one in scored])


def sentence(scores: dict[str, float], of_standard: bool = False) -> str:
    """Scores for a message.

    of_standard : whether they are of the standard settings, although others were chosen on the one region.
    """
    return (
        f"PQ {scores['pq']:.3f}, AJI {scores['aji']:.3f}, F1@0.5 {scores['f1@0.5']:.3f}, "
        f"Dice {scores['dice']:.3f}"
        + (
            " with the standard settings, as a single region cannot check those it chose"
            if of_standard
            else ""
        )
    )


def rounded(scores: dict[str, float]) -> dict[str, float]:
    """Scores to four digits, for files."""
    return {name: round(value, 4) for name, value in scores.items()}


def best_of(scored: Sequence[Sequence[WindowScore]], among: Mask) -> int:
    """The candidate of highest mean PQ if it beats the first, the standard, by more than chance, else that.

    Chance is one standard error of the standard's PQ q over the n true nuclei, sqrt(q (1 - q) / n): with
    few nuclei to validate on, the rule that has worked elsewhere is kept.

    scored : each candidate's score in each window; among: (windows,) those that choose.
    """
    quality = np.array([[one.scores.pq for one in row] for row in scored])[:, among]
    nuclei = sum(one.tally.true for one, chooses in zip(scored[0], among, strict=True) if chooses)
    if not nuclei:
        return 0
    known = ~np.isnan(quality)
    mean = np.where(known, quality, 0).sum(axis=1) / np.maximum(known.sum(axis=1), 1)
    best, standard = int(mean.round(4).argmax()), float(mean[0])
    chance = math.sqrt(standard * (1 - standard) / nuclei)
    return best if mean[best] - standard > chance else 0


def folds_of(windows: Sequence[Window]) -> NDArray[np.int_]:
    """(n,) The fold of each window, from 0: whole clusters, as ``compare_paired`` resamples them.

    At most ``MOST_FOLDS``; one per cluster where these are fewer.
    """
    places = [window.place for window in windows]
    clusters = clusters_of([place.slide for place in places], places)
    return clusters.group % MOST_FOLDS


def cross_fitted(
    folds: NDArray[np.int_],
    choose: Callable[[Mask], Choice],
    scores: Callable[[Choice], Sequence[WindowScore]],
) -> list[WindowScore]:
    """The score of each window with what the windows of all other folds choose.

    choose : by the windows of a mask; what it returns for none of them is the standard, and is scored where
             there is one fold only.
    scores : of a choice, for all windows.
    """
    by_fold = {int(fold): scores(choose(folds != fold)) for fold in np.unique(folds)}
    return [by_fold[fold][window] for window, fold in enumerate(folds.tolist())]
