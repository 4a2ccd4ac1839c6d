"""What the plots do not show: parts of nuclei, quartiles of two points, tests of two images."""

from __future__ import annotations

import re
from dataclasses import replace
from typing import Any

import pytest
from matplotlib.axes import Axes

from cellgennet_qupath.evaluation.run import Evaluation
from cellgennet_qupath.report import plots


def _texts(svg: str) -> list[str]:
    """The texts of a figure: matplotlib keeps each as a comment before its outlines."""
    return [text.strip() for text in re.findall(r"<!--(.*?)-->", svg, re.S)]


def _of(evaluation: Evaluation, number: int) -> Evaluation:
    """The evaluation of the first regions alone."""
    regions = evaluation.regions[:number]
    names = {region.name for region in regions}
    results = {key: one for key, one in evaluation.results.items() if key[1] in names}
    return replace(evaluation, regions=regions, results=results)


def test_axes_of_counts_have_whole_numbers(evaluation: Evaluation) -> None:
    for number in (1, 2, 6):
        texts = _texts(plots.counts(_of(evaluation, number)))
        numbers = [text for text in texts if re.fullmatch(r"[\d.]+", text)]
        assert len(numbers) > 4
        assert all("." not in text for text in numbers), numbers


def test_epochs_are_whole_numbers_and_losses_have_names() -> None:
    history = [{"bce": 0.5, "total": 1.0}, {"bce": 0.4, "total": 0.9}, {"bce": 0.3, "total": 0.8}]
    texts = _texts(plots.training_curves(history))
    assert {"1", "2", "3"} <= set(texts)
    assert "1.5" not in texts
    assert "foreground (cross-entropy)" in texts
    assert "bce" not in texts
    assert _texts(plots.training_curves(history[:1])).count("total") == 1


def test_few_images_have_points_instead_of_boxes(
    evaluation: Evaluation, monkeypatch: pytest.MonkeyPatch
) -> None:
    drawn: list[int] = []
    original = Axes.boxplot

    def counted(self: Axes, columns: Any, **options: Any) -> Any:
        drawn.extend(len(column) for column in columns)
        return original(self, columns, **options)

    monkeypatch.setattr(Axes, "boxplot", counted)
    few = plots.box_plots(_of(evaluation, 2))
    assert drawn == []
    assert "ns" not in [text for svg in few.values() for text in _texts(svg)]
    many = plots.box_plots(evaluation)
    assert drawn == [6] * 2 * len(plots.BOXES)
    assert [svg for svg in many.values() if "*" in "".join(_texts(svg))], "six images can be tested"


def test_long_names_of_methods_have_two_lines(evaluation: Evaluation) -> None:
    assert plots._in_two_lines("another tool of a long name") == "another tool of\na long name"
    assert plots._in_two_lines("x" * 90).count("\n") == 1
