"""A region that is annotated in several images of one slide counts once, and images of one slide are one."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import shapely
from matplotlib.axes import Axes
from numpy.typing import NDArray

from cellgennet_qupath.core.config import ClassNames
from cellgennet_qupath.evaluation.prediction import Prediction
from cellgennet_qupath.evaluation.regions import EvaluationRegion, project_regions
from cellgennet_qupath.evaluation.run import Evaluation, evaluate
from cellgennet_qupath.evaluation.same_tissue import tissues
from cellgennet_qupath.evaluation.verdict import judge
from cellgennet_qupath.qupath.project import ImageEntry
from cellgennet_qupath.report import plots
from cellgennet_qupath.report.evaluation_page import examples
from cellgennet_qupath.slides.view import View
from tests.helpers import annotation

from .test_regions import Project

SIZE = (300, 200)


def add(project: Project, slide: str, identifier: str, shift: float = 0.0) -> None:
    """An image of a slide with a Validation region of two nuclei, drawn a little elsewhere by ``shift``."""
    file = project.path / slide
    if not file.exists():
        picture = np.full((SIZE[1], SIZE[0], 3), 180 + len(project.entries), np.uint8)
        assert cv2.imwrite(str(file), picture)
    project.entries.append(ImageEntry(identifier, identifier, file.as_uri(), file, SIZE, (0.5, 0.5)))
    project.drawn[identifier] = [
        annotation(shapely.box(20 + shift, 20, 120 + shift, 120), "Validation"),
        annotation(shapely.Point(50, 50).buffer(9)),
        annotation(shapely.Point(90, 90).buffer(9)),
    ]


@dataclass(frozen=True)
class Finds:
    """Predicts the true nuclei of some images up to a label, and of all others all."""

    name: str
    most: dict[str, int]
    probability: float = float("nan")

    def predict(self, region: EvaluationRegion, pixels: NDArray[np.uint8]) -> Prediction:
        true, _ = region.truth()
        labels = np.where(true <= self.most.get(region.image, 9), true, 0).astype(np.int32)
        return Prediction(labels, np.full(int(labels.max()), self.probability, np.float32))


def evaluated(project: Project, **most: int) -> Evaluation:
    regions = project_regions(project, ClassNames())  # type: ignore[arg-type]
    return evaluate(regions, [Finds("ours", most), Finds("other", {}, 0.9)])


def pq(evaluation: Evaluation) -> tuple[float, float, float]:
    table = evaluation.summary()
    ours = table[table["method"] == "ours"]
    low, middle, high = (float(ours[name].iloc[0]) for name in ("pq_low", "pq", "pq_high"))
    return middle, low, high


@pytest.mark.parametrize("shift", [0.0, 12.0])
def test_a_region_in_two_images_of_a_slide_counts_once(tmp_path: Path, shift: float) -> None:
    project = Project(tmp_path, {})
    for name in "abcd":
        add(project, f"{name}.png", name)
    once = evaluated(project, a=1)
    assert evaluated(project, a=1).tissues == [0, 1, 2, 3]
    add(project, "a.png", "again", shift)
    twice = evaluated(project, a=1, again=1)
    assert twice.tissues == [0, 1, 2, 3, 0]
    assert pq(twice) == pytest.approx(pq(once))
    assert len(twice.scores) == 10, "tables keep every region"
    assert twice.summary()["images"].tolist() == [4, 4]
    assert twice.summary()["true_objects"].tolist() == [8, 8]
    assert twice.resampled() == "4 regions"
    assert [one.images for one in twice.comparisons if one.metric == "pq"] == [4]
    lines = judge(twice).warnings
    assert lines[0].startswith("The tissue of again is annotated in another image of the same slide")
    assert judge(twice).sentences[:2] == judge(once).sentences[:2]
    assert not any(line.startswith("The tissue of") for line in judge(once).warnings)


def six(folder: Path) -> Project:
    """Six images of slides, and the first slide once more."""
    folder.mkdir()
    project = Project(folder, {})
    for name in "abcdef":
        add(project, f"{name}.png", name)
    add(project, "a.png", "again")
    return project


def test_figures_show_tissue_as_often_as_scores_count_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    twice = evaluated(six(tmp_path / "six"), a=1)
    boxes: list[int] = []
    points: list[NDArray[np.float64]] = []
    boxplot, scatter = Axes.boxplot, Axes.scatter

    def boxed(self: Axes, columns: Any, **options: Any) -> Any:
        boxes.extend(len(column) for column in columns)
        return boxplot(self, columns, **options)

    def scattered(self: Axes, x: Any, y: Any, **options: Any) -> Any:
        points.append(np.asarray(y))
        return scatter(self, x, y, **options)

    monkeypatch.setattr(Axes, "boxplot", boxed)
    monkeypatch.setattr(Axes, "scatter", scattered)
    plots.box_plots(twice)
    assert boxes == [6] * 2 * len(plots.BOXES)
    assert [len(one) for one in points] == [6] * 2 * len(plots.BOXES)
    points.clear()
    plots.counts(twice)
    assert sorted(points[0]) == [1.5, *[2] * 5], "the mean of both"
    assert len(points[1]) == 6
    drawn: dict[str, list[float]] = {}
    monkeypatch.setattr(plots, "_curves", lambda x, curves, *rest, **options: drawn.update(curves))
    plots.threshold_curve(twice)
    assert drawn["ours"][0] == pytest.approx(float(twice.summary()["f1@0.5"].iloc[0]))


def test_calibration_counts_the_nuclei_that_the_table_of_kinds_counts(tmp_path: Path) -> None:
    twice = evaluated(six(tmp_path / "six"))
    assert twice.calibration["other"].count.tolist() == [12]
    of_other = twice.counted_nuclei["method"] == "other"
    assert of_other.sum() == 12
    assert "ours" not in twice.calibration


def test_of_repeated_tissue_one_picture_is_shown(tmp_path: Path) -> None:
    worst, typical = examples(evaluated(six(tmp_path / "again"), again=1, b=1))
    assert {one.image for one in worst[:2]} == {"again", "b"}
    assert "a" not in {one.image for one in [*worst, *typical]}
    worst, _ = examples(evaluated(six(tmp_path / "first"), a=1))
    assert worst[0].image == "a"


def test_two_opinions_of_one_region_are_averaged(tmp_path: Path) -> None:
    project = Project(tmp_path, {})
    for name, file in (("a", "a.png"), ("again", "a.png"), ("b", "b.png")):
        add(project, file, name)
    evaluation = evaluated(project, a=0)
    (averaged, _) = evaluation.counted[evaluation.counted["method"] == "ours"]["pq"]
    assert averaged == pytest.approx(0.5)
    assert pq(evaluation)[0] == pytest.approx(0.75)


def test_a_copied_file_and_a_mirrored_image_show_the_same_slide(tmp_path: Path) -> None:
    project = Project(tmp_path, {})
    for name in "ab":
        add(project, f"{name}.png", name)
    (tmp_path / "copy.png").write_bytes((tmp_path / "a.png").read_bytes())
    add(project, "copy.png", "copy")
    add(project, "a.png", "turned")
    mirrored = View(mirrored=(True, False))
    project.entries[-1] = replace(project.entries[-1], view=mirrored)
    assert evaluated(project).tissues == [0, 1, 0, 2], "mirrored, the same box is other tissue"
    project.drawn["turned"][0] = annotation(shapely.box(180, 20, 280, 120), "Validation")
    project.drawn["turned"][1:] = [annotation(shapely.Point(230, 50).buffer(9))]
    assert evaluated(project).tissues == [0, 1, 0, 0]


def test_slides_are_resampled_where_there_are_five(tmp_path: Path) -> None:
    project = Project(tmp_path, {})
    for name in "abcde":
        add(project, f"{name}.png", name)
    add(project, "a.png", "elsewhere", 150.0)
    project.drawn["elsewhere"][1:] = [annotation(shapely.Point(220, 60).buffer(9))]
    evaluation = evaluated(project, a=1)
    assert len(set(evaluation.tissues)) == 6
    assert evaluation.resampled() == "5 slides"


def test_two_slides_give_no_interval(tmp_path: Path) -> None:
    project = Project(tmp_path, {})
    for name, file in (("a", "a.png"), ("again", "a.png"), ("b", "b.png")):
        add(project, file, name)
    mean, low, high = pq(evaluated(project, a=1))
    assert 0 < mean < 1
    assert np.isnan([low, high]).all()


def test_what_is_the_same_tissue() -> None:
    box, half, apart = shapely.box(0, 0, 10, 10), shapely.box(5, 0, 15, 10), shapely.box(6, 0, 16, 10)
    assert tissues(["s", "s"], ["a", "b"], [box, half]) == [0, 0]
    assert tissues(["s", "s"], ["a", "b"], [box, apart]) == [0, 1]
    assert tissues(["s", "s"], ["a", "a"], [box, box]) == [0, 1], "an image has no region twice"
    assert tissues(["s", "t"], ["a", "b"], [box, box]) == [0, 1]
    assert tissues(["s", "s"], ["a", "b"], [box, None]) == [0, 1]
    assert tissues(["s"] * 4, ["a", "a", "b", "c"], [apart, box, box, box]) == [0, 1, 1, 1]
