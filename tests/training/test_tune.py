"""What validation chooses from candidates, and scores that do not profit from the choice."""

from __future__ import annotations

import math
from dataclasses import replace
from functools import partial

import numpy as np
import pytest
from numpy.typing import NDArray

from cellgennet_qupath.annotations.windows import LabelledWindow
from cellgennet_qupath.training.comparison import compare_paired
from cellgennet_qupath.training.tally import Tally
from cellgennet_qupath.training.tune import (
    MOST_FOLDS,
    Mask,
    WindowScore,
    best_of,
    cross_fitted,
    folds_of,
    score_window,
)

from .drawn import discs, window

NOTHING = score_window(np.zeros((4, 4), np.int32), np.zeros((4, 4), np.int32)).scores


def scored(quality: float, nuclei: int = 100) -> WindowScore:
    """A window of a given PQ; NaN where there is no nucleus, neither true nor predicted."""
    true = 0 if math.isnan(quality) else nuclei
    one = Tally(true, true, true, quality * true if true else 0.0)
    return WindowScore(replace(NOTHING, pq=quality, true_objects=true), one)


def table(quality: NDArray[np.float64] | list[list[float]], nuclei: int = 100) -> list[list[WindowScore]]:
    return [[scored(float(one), nuclei) for one in row] for row in quality]


def everyone(rows: list[list[WindowScore]]) -> Mask:
    return np.ones(len(rows[0]), bool)


class TestBest:
    @pytest.mark.parametrize(
        ("nuclei", "gain", "chosen"),
        [(3, 0.2, 0), (100, 0.04, 0), (100, 0.06, 2), (2500, 0.009, 0), (2500, 0.011, 2)],
    )
    def test_a_gain_counts_when_it_is_over_one_standard_error(
        self, nuclei: int, gain: float, chosen: int
    ) -> None:
        # sqrt(0.5 * 0.5 / 100) = 0.05 and sqrt(0.5 * 0.5 / 2500) = 0.01.
        rows = table([[0.5], [0.3], [0.5 + gain]], nuclei)
        assert best_of(rows, everyone(rows)) == chosen

    def test_without_a_nucleus_to_check_with_the_standard_stays(self) -> None:
        rows = table([[math.nan], [0.0]], 0)
        assert best_of(rows, everyone(rows)) == 0

    def test_a_candidate_that_finds_nothing_to_score_is_not_chosen(self) -> None:
        rows = table([[0.2], [math.nan], [0.6]], 1000)
        assert best_of(rows, everyone(rows)) == 2

    @pytest.mark.parametrize(
        ("among", "chosen"),
        [([True, True, False], 1), ([False, True, True], 2), ([False] * 3, 0), ([True] * 3, 2)],
    )
    def test_only_the_windows_that_are_asked_choose(self, among: list[bool], chosen: int) -> None:
        rows = table([[0.3, 0.3, 0.3], [0.6, 0.6, 0.1], [0.3, 0.5, 0.8]])
        assert best_of(rows, np.array(among)) == chosen

    def test_windows_without_nuclei_count_in_no_mean(self) -> None:
        rows = table([[0.3, math.nan, 0.3], [0.5, 0.0, 0.5], [0.45, math.nan, 0.45]])
        assert best_of(rows, everyone(rows)) == 2


def windows_on(slides: list[str]) -> list[LabelledWindow]:
    return [window(*discs(0), slide) for slide in slides]


class TestFolds:
    def test_a_slide_is_never_divided(self) -> None:
        slides = [name for name in "abcdefgh" for _ in range(3)]
        folds = folds_of(windows_on(slides))
        assert len(set(folds)) == MOST_FOLDS
        assert all(len({f for f, s in zip(folds, slides, strict=True) if s == name}) == 1 for name in slides)

    @pytest.mark.parametrize("count", [1, 2, 4, 5])
    def test_few_clusters_are_a_fold_each(self, count: int) -> None:
        assert folds_of(windows_on(list("abcde"[:count]))).tolist() == list(range(count))

    def test_the_parts_of_a_region_stay_together(self) -> None:
        assert folds_of(windows_on(["a", "a", "b", "a"])).tolist() == [0, 0, 1, 0]


class TestCrossFitting:
    def test_each_window_is_scored_with_what_the_others_choose(self) -> None:
        # The first asks for candidate 1, the others for candidate 2.
        rows = table([[0.3, 0.3, 0.3], [0.9, 0.2, 0.2], [0.1, 0.6, 0.6]])
        held = cross_fitted(np.arange(3), partial(best_of, rows), rows.__getitem__)
        # Without the second or third, the mean of candidate 1 is highest.
        assert [one.scores.pq for one in held] == [0.1, 0.2, 0.2]

    def test_where_there_is_one_cluster_the_standard_is_scored(self) -> None:
        rows = table([[0.3, 0.4], [0.9, 0.9]])
        held = cross_fitted(np.zeros(2, int), partial(best_of, rows), rows.__getitem__)
        assert best_of(rows, everyone(rows)) == 1
        assert [one.scores.pq for one in held] == [0.3, 0.4]

    @pytest.mark.parametrize("slides", [5, 8, 12])
    def test_candidates_that_differ_by_chance_alone_are_seldom_better_than_the_start(
        self, slides: int
    ) -> None:
        """Scored on the nuclei that have chosen it, the best of twenty is "better" in 15 to 20 of 100."""
        rng = np.random.default_rng(slides)
        windows = windows_on([str(number) for number in range(slides)])
        folds, places = folds_of(windows), [one.place for one in windows]
        labs, same, other = 200, 0, 0
        for _ in range(labs):
            tissue = rng.normal(0.6, 0.08, slides)
            start, *candidates = table(tissue + rng.normal(0, 0.1, (21, slides)), 40)
            best = best_of(candidates, everyone(candidates))
            held = cross_fitted(folds, partial(best_of, candidates), candidates.__getitem__)
            before = [one.tally for one in start]
            same += compare_paired(before, [o.tally for o in candidates[best]], places).outcome == "better"
            other += compare_paired(before, [o.tally for o in held], places).outcome == "better"
        assert other <= 0.09 * labs < same, "2.5 of 100 are expected, 6 to 7 in the long run"
