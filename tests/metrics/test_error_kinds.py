"""Kinds of error on drawn rectangles, and what holds for any two label images."""

from __future__ import annotations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from cellgennet_qupath.metrics.error_kinds import ErrorKinds, error_kinds
from cellgennet_qupath.metrics.matching import match_labels

from .test_scores import blobs, squares


def kinds(true: NDArray[np.int32], predicted: NDArray[np.int32]) -> ErrorKinds:
    matching = match_labels(true, predicted)
    return error_kinds(matching.overlaps, matching.matches)


def labels(found: ErrorKinds) -> tuple[list[int], list[int], list[int]]:
    return sorted(found.merged.tolist()), sorted(found.split.tolist()), sorted(found.false.tolist())


def test_two_nuclei_under_one_outline_are_merged() -> None:
    true = squares((0, 0, 6, 6), (0, 7, 6, 6))
    assert labels(kinds(true, squares((0, 0, 6, 13)))) == ([1, 2], [], [])


def test_an_outline_that_matches_one_of_two_nuclei_merges_none() -> None:
    """It is 60 samples of the first and 12 of the second nucleus: the first matches, the second is missed."""
    true = squares((0, 0, 6, 10), (0, 10, 6, 3))
    assert labels(kinds(true, squares((0, 0, 6, 12)))) == ([], [], [])


def test_three_nuclei_of_which_one_is_half_covered() -> None:
    true = squares((0, 0, 4, 4), (0, 4, 4, 4), (0, 8, 4, 4), (10, 0, 4, 4))
    assert labels(kinds(true, squares((0, 0, 4, 9)))) == ([1, 2], [], [])
    assert labels(kinds(true, squares((0, 0, 4, 10)))) == ([1, 2, 3], [], [])


def test_a_nucleus_in_halves_is_split_and_its_halves_are_not_false() -> None:
    true = squares((0, 0, 6, 12))
    assert labels(kinds(true, squares((0, 0, 6, 5), (0, 7, 6, 5)))) == ([], [1], [])
    assert labels(kinds(true, squares((0, 0, 6, 5)))) == ([], [], []), "one small outline: missed, not split"
    assert labels(kinds(true, squares((0, 0, 6, 8), (0, 8, 6, 4)))) == ([], [], []), "one half matches"


def test_detections_beside_nuclei_are_false() -> None:
    true = squares((0, 0, 6, 6))
    assert labels(kinds(true, squares((0, 0, 6, 6), (10, 10, 3, 3), (0, 7, 6, 6)))) == ([], [], [2, 3])
    assert labels(kinds(true, squares((0, 4, 6, 6)))) == ([], [], [1]), "two of six columns on the nucleus"
    assert labels(kinds(true, squares((0, 3, 6, 6)))) == ([], [], []), "half on it"


def test_nothing_on_either_side() -> None:
    assert labels(kinds(squares(), squares((0, 0, 3, 3)))) == ([], [], [1])
    assert labels(kinds(squares((0, 0, 3, 3)), squares())) == ([], [], [])


@settings(max_examples=50, deadline=None)
@given(st.integers(0, 2**32 - 1))
def test_kinds_exclude_each_other_and_matches(seed: int) -> None:
    generator = np.random.default_rng(seed)
    true = blobs(generator)
    matching = match_labels(true, blobs(generator, true))
    found, outcome = error_kinds(matching.overlaps, matching.matches), matching.outcome
    assert not set(found.merged) & set(found.split)
    assert {*found.merged, *found.split} <= set(outcome.missed)
    assert set(found.false) <= set(outcome.false_positive)
