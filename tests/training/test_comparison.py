"""Start and result on the same nuclei: outcome, interval, sentence, recommendation."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cellgennet_qupath.annotations.windows import Place, Window
from cellgennet_qupath.geometry.rectangle import Rectangle
from cellgennet_qupath.training.comparison import compare_paired
from cellgennet_qupath.training.recommendation import recommend
from cellgennet_qupath.training.stain_check import doubt, share_darker
from cellgennet_qupath.training.tally import Tally, tally

from .drawn import discs, window


def windows_of(quality: list[float], n: int = 20) -> list[Tally]:
    return [Tally(n, n, n, q * n) for q in quality]


AREA = Rectangle(0, 0, 100, 100)


def places_of(count: int) -> list[Place]:
    return [Place(str(number), AREA) for number in range(count)]


SLIDES = [Place(name, AREA) for name in "abcdef"]


def test_tallies_add_up_to_the_panoptic_quality_of_all() -> None:
    true = np.zeros((8, 8), int)
    true[:4, :4], true[5:, 5:] = 1, 2
    predicted = np.where(true == 1, 7, 0)
    one = tally(true, predicted)
    assert (one.true, one.predicted, one.matched, one.iou) == (2, 1, 1, 1.0)
    assert one.pq == pytest.approx(1 / 1.5)
    assert (one + one).pq == pytest.approx(one.pq)


def test_a_clear_gain_is_better_and_a_clear_loss_worse() -> None:
    low, high = [0.5, 0.52, 0.48, 0.5, 0.51, 0.5], [0.6, 0.61, 0.6, 0.58, 0.6, 0.62]
    better = compare_paired(windows_of(low), windows_of(high), SLIDES)
    worse = compare_paired(windows_of(high), windows_of(low), SLIDES)
    assert (better.outcome, worse.outcome) == ("better", "worse")
    assert "6 slides" in better.sentence("start") and "better than start" in better.sentence("start")
    assert worse.prefers_start and not better.prefers_start
    assert better.nuclei == 120


def test_a_gain_on_one_slide_alone_cannot_tell_and_says_how_many_would() -> None:
    start, result = [0.5] * 6, [0.9, 0.5, 0.45, 0.5, 0.48, 0.5]
    compared = compare_paired(windows_of(start), windows_of(result), SLIDES)
    assert compared.outcome == "cannot tell"
    assert "cannot tell" in compared.sentence("start") and "would show" in compared.sentence("start")
    assert not compared.prefers_start


@pytest.mark.parametrize("count", [3, 5, 9])
def test_equal_models_are_seldom_told_apart(count: int) -> None:
    """Percentiles of the bootstrap called one of them better or worse in a quarter of the cases of three."""
    rng = np.random.default_rng(count)
    claims = 0
    for _ in range(200):
        quality = rng.normal(0.6, 0.08, count)
        one, two = (windows_of(list(quality + rng.normal(0, 0.04, count))) for _ in range(2))
        claims += compare_paired(one, two, places_of(count)).outcome != "cannot tell"
    assert claims <= 20, "10 are expected"


@pytest.mark.parametrize("count", [1, 2])
def test_too_few_regions_give_no_interval(count: int) -> None:
    compared = compare_paired(windows_of([0.4] * count), windows_of([0.6] * count), SLIDES[:count])
    assert compared.outcome == "cannot tell" and np.isnan(compared.low)
    assert "Too few regions" in compared.sentence("start")


def test_a_small_loss_on_few_nuclei_in_two_regions_is_no_evidence_and_a_large_one_is() -> None:
    start = windows_of([0.5, 0.5], 3)
    assert not compare_paired(start, windows_of([0.4, 0.4], 3), SLIDES[:2]).prefers_start
    assert compare_paired(start, windows_of([0.1, 0.1], 3), SLIDES[:2]).prefers_start


def test_regions_of_one_slide_count_as_regions() -> None:
    places = [Place("a", Rectangle(x, 0, x + 10, 10)) for x in range(0, 80, 20)]
    compared = compare_paired(windows_of([0.4] * 4), windows_of([0.6] * 4), places)
    assert compared.clusters == "4 regions"


@pytest.mark.parametrize("parts", [(4,), (2, 3), (1, 1, 5)])
def test_the_windows_of_a_large_region_are_one_region(parts: tuple[int, ...]) -> None:
    places = [Place("a", Rectangle(x, 0, x + 10, 10)) for x, count in enumerate(parts) for _ in range(count)]
    better = [0.6 + 0.01 * i for i in range(len(places))]
    compared = compare_paired(windows_of([0.4] * len(places)), windows_of(better), places)
    assert compared.clusters == f"{len(parts)} region{'s' if len(parts) > 1 else ''}"
    assert np.isnan(compared.low) == (len(parts) < 3)


def test_nothing_to_compare_is_said() -> None:
    compared = compare_paired([Tally()] * 3, [Tally()] * 3, SLIDES[:3])
    assert "no validation nucleus" in compared.sentence("start") and not compared.prefers_start


@given(st.lists(st.floats(0.1, 0.9), min_size=3, max_size=9), st.integers(0, 50))
def test_a_model_is_neither_better_nor_worse_than_itself(quality: list[float], seed: int) -> None:
    same = windows_of(quality)
    compared = compare_paired(same, same, places_of(len(same)), seed)
    assert compared.outcome == "cannot tell" and compared.difference == 0


class TestRecommendation:
    def training(self, shift: int = 0, seeds: range = range(3)) -> list[Window]:
        found: list[Window] = []
        for seed in seeds:
            image, labels = discs(seed)
            found.append(window(image, np.roll(labels, (shift, shift), (0, 1)), f"slide {seed}"))
        return found

    def test_outlines_on_nuclei_are_darker_and_shifted_ones_are_not(self) -> None:
        assert share_darker(self.training())[0] == 1.0
        assert share_darker(self.training(20))[0] < 0.5
        assert doubt(self.training(), "Training") == ""
        assert "shifted" in doubt(self.training(20), "Training")

    def test_the_result_is_recommended_unless_it_is_worse(self) -> None:
        good = compare_paired(windows_of([0.5] * 3), windows_of([0.6] * 3), SLIDES[:3])
        bad = compare_paired(windows_of([0.6] * 3), windows_of([0.3] * 3), SLIDES[:3])
        assert recommend("start", good, self.training(), self.training(0, range(5, 8))).use == "trained"
        advice = recommend("start", bad, self.training(), self.training(0, range(5, 8)))
        assert advice.use == "start" and "worse" in advice.reasons[0]

    def test_shifted_validation_makes_any_comparison_worthless(self) -> None:
        good = compare_paired(windows_of([0.5] * 3), windows_of([0.6] * 3), SLIDES[:3])
        advice = recommend("start", good, self.training(20), self.training(20, range(5, 8)))
        assert advice.use == "start"
        assert sum("darker" in sentence for sentence in advice.reasons) == 2

    def test_shifted_training_alone_must_prove_itself(self) -> None:
        unsure = compare_paired(windows_of([0.5, 0.5, 0.5]), windows_of([0.6, 0.45, 0.5]), SLIDES[:3])
        assert recommend("start", unsure, self.training(20), self.training(0, range(5, 8))).use == "start"

    def test_a_shared_slide_is_said(self) -> None:
        good = compare_paired(windows_of([0.5] * 3), windows_of([0.6] * 3), SLIDES[:3])
        advice = recommend("start", good, self.training(), self.training())
        assert any("share 3 slides" in sentence for sentence in advice.reasons)
