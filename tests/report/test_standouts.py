"""Which slides of a run stand out: the rule by hand."""

from __future__ import annotations

import pytest

from cellgennet_qupath.report.standouts import SlideNumbers, standouts


def _with(**values: list[float | None]) -> list[SlideNumbers]:
    [(name, column)] = values.items()
    return [SlideNumbers(**{name: value}) for value in column]


def test_a_slide_far_from_the_others_stands_out() -> None:
    # ln: median ln 4000; deviations of the others at most ln(4400/4000) = .095, their median .051.
    # 3.5 x 1.4826 x .051 = .267 is below ln 1.5 = .405, so the factor decides: 12,000 is 3 times the median.
    said = standouts(_with(per_mm2=[4000, 3800, 4200, 4400, 12_000, 3900]))
    assert [bool(reasons) for reasons in said] == [False, False, False, False, True, False]
    assert said[4] == [
        "Its density of 12,000 nuclei per mm² of tissue is 2.9 times the slides' median (4,100)"
    ]


def test_slides_that_differ_a_lot_do_not_stand_out_from_each_other() -> None:
    # ln of 1000 2000 4000 8000 16000: the median deviation is ln 2 = .69, the limit 3.5 x 1.4826 x .69 = 3.6.
    assert not any(standouts(_with(per_mm2=[1000, 2000, 4000, 8000, 16_000])))
    assert standouts(_with(per_mm2=[1000, 2000, 4000, 8000, 16_000, 4_000_000]))[5]


def test_equal_slides_have_a_deviation_of_zero_and_the_least_difference_decides() -> None:
    near = standouts(_with(area=[30.0, 30, 30, 30, 37]))
    assert not any(near), "a factor of 1.23"
    [far] = [reasons for reasons in standouts(_with(area=[30.0, 30, 30, 30, 120])) if reasons]
    assert far == [
        "Its median nuclear area of 120.0 µm² is 4.0 times the slides' median (30.0): check its pixel size"
    ]


@pytest.mark.parametrize(("value", "words"), [(0.5, "below"), (0.9, "above")])
def test_probabilities_are_compared_by_difference(value: float, words: str) -> None:
    said = standouts(_with(probability=[0.70, 0.71, 0.72, 0.70, 0.71, 0.71, value]))
    assert [len(reasons) for reasons in said] == [0, 0, 0, 0, 0, 0, 1]
    assert f"is {words} the slides' median (0.71)" in said[6][0]


def test_few_slides_and_unknown_numbers() -> None:
    assert standouts(_with(per_mm2=[4000, 4000, 4000, 90_000])) == [[], [], [], []]
    unknown = standouts(_with(per_mm2=[None, 4000, 4000, 4000, 90_000]))
    assert not any(unknown), "four known ones are too few"
    assert not any(standouts([SlideNumbers()] * 6))
    some = standouts(_with(per_mm2=[None, 0.0, 4000, 4100, 3900, 4000, 90_000]))
    assert [bool(reasons) for reasons in some] == [False, False, False, False, False, False, True]
