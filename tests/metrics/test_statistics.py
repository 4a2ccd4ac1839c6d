"""Statistics over images: worked by hand, against SciPy, and their invariants."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from cellgennet_qupath.metrics.statistics import (
    clusters_of,
    compare,
    holm,
    mann_whitney,
    mean_interval,
    stars,
    wilcoxon,
)

scores = st.lists(st.floats(0, 1), min_size=2, max_size=30)


def test_stars_by_their_limits() -> None:
    marks = [stars(p) for p in (0.2, 0.05, 0.01, 0.001, 0.0001, math.nan)]
    assert marks == ["ns", "*", "**", "***", "****", ""]


def test_holm_worked_by_hand() -> None:
    # Sorted 0.01, 0.02, 0.04 times 3, 2, 1; never below the one before.
    assert holm([0.04, 0.01, 0.02]) == pytest.approx([0.04, 0.03, 0.04])
    assert holm([0.6, 0.5]) == [1, 1]
    corrected = holm([math.nan, 0.01])
    assert math.isnan(corrected[0])
    assert corrected[1] == 0.01
    assert holm([]) == []


@given(p=st.lists(st.floats(0, 1), min_size=1, max_size=8))
def test_holm_never_lowers_a_p_value_nor_changes_their_order(p: list[float]) -> None:
    corrected = holm(p)
    assert all(before <= after <= 1 for before, after in zip(p, corrected, strict=True))
    assert all(corrected[i] <= corrected[j] for i in range(len(p)) for j in range(len(p)) if p[i] < p[j])


def test_effect_sizes_worked_by_hand() -> None:
    assert mann_whitney([3, 4, 5], [0, 1, 2])[1] == 1
    assert mann_whitney([1, 2], [1, 2])[1] == 0
    # Differences 1, 2, -3: ranks 1 and 2 for, 3 against.
    assert wilcoxon([1, 2, 0], [0, 0, 3])[1] == pytest.approx(0)
    assert wilcoxon([2, 3, 4, 9], [1, 1, 1, 1])[1] == 1


def test_as_scipy_says() -> None:
    rng = np.random.default_rng(1)
    x, y = rng.random(40), rng.random(40) + 0.1
    assert mann_whitney(x, y)[0] == stats.mannwhitneyu(x, y).pvalue
    assert wilcoxon(x, y)[0] == stats.wilcoxon(x, y).pvalue


def test_nothing_to_tell_apart() -> None:
    assert mann_whitney([0.5] * 4, [0.5] * 4) == (1, 0)
    assert wilcoxon([0.5] * 4, [0.5] * 4) == (1, 0)
    assert all(math.isnan(v) for v in (*mann_whitney([], []), *wilcoxon([], [])))


@given(x=scores, seed=st.integers(0, 99))
def test_tests_do_not_care_who_is_first(x: list[float], seed: int) -> None:
    y = np.random.default_rng(seed).random(len(x))
    for test in (mann_whitney, wilcoxon):
        forward, backward = test(x, y), test(y, x)
        assert forward[0] == pytest.approx(backward[0])
        assert forward[1] == pytest.approx(-backward[1])
        assert 0 <= forward[0] <= 1 + 1e-9
        assert -1 <= forward[1] <= 1


def test_the_interval_contains_the_mean_and_narrows() -> None:
    rng = np.random.default_rng(0)
    few, many = rng.normal(0.7, 0.1, 10), rng.normal(0.7, 0.1, 400)
    low, high = mean_interval(few)
    assert low < few.mean() < high
    narrow = mean_interval(many)
    assert narrow[1] - narrow[0] < high - low
    assert mean_interval([*many, math.nan]) == narrow, "reproducible, and NaN is ignored"
    assert all(
        math.isnan(v) for values in ([], [0.4], [0.4, 0.6], [math.nan] * 5) for v in mean_interval(values)
    )


@pytest.mark.parametrize("count", [3, 5, 30, 400])
def test_without_clusters_it_is_students_interval(count: int) -> None:
    values = np.random.default_rng(count).normal(0.7, 0.1, count)
    low, high = stats.t.interval(0.95, count - 1, values.mean(), stats.sem(values))
    assert mean_interval(values) == pytest.approx((low, high), abs=0.06 * (high - low))


@pytest.mark.parametrize("times", [2, 5])
def test_values_of_one_cluster_count_as_one(times: int) -> None:
    values = np.random.default_rng(1).normal(0.7, 0.1, 8)
    slides = np.repeat(np.arange(8), times)
    clusters = clusters_of(slides.tolist(), range(8 * times))
    assert clusters.what == "8 slides"
    again = mean_interval(np.repeat(values, times), clusters)
    assert again == pytest.approx(mean_interval(values))
    low, high = mean_interval(np.repeat(values, times))
    assert high - low < again[1] - again[0]


def test_slides_are_resampled_from_five_on() -> None:
    regions = list(range(12))
    assert clusters_of(list("abcdabcdabcd"), regions).what == "12 regions"
    five = clusters_of(list("abcdeabcdeaa"), regions)
    assert (five.what, five.group.tolist()) == ("5 slides", [0, 1, 2, 3, 4, 0, 1, 2, 3, 4, 0, 0])
    assert clusters_of(["a"], [0]).what == "1 region"


def test_comparisons_use_only_images_with_both_values() -> None:
    rng = np.random.default_rng(2)
    base = rng.random(12)
    values = {"ours": base + 0.2, "teacher": base.copy(), "classical": base - 0.1}
    values["teacher"][3] = math.nan
    first, second, third = compare("pq", values)
    assert (first.first, first.second, first.images) == ("ours", "teacher", 11)
    assert (second.images, third.images) == (12, 11)
    assert first.difference == pytest.approx(0.2)
    assert first.low == pytest.approx(0.2)
    assert first.rank_biserial == 1
    assert first.wilcoxon <= first.holm <= 3 * first.wilcoxon
    assert first.holm < 0.01 < first.mann_whitney, "the paired test is more powerful"
    assert first.stars == stars(first.mann_whitney)
