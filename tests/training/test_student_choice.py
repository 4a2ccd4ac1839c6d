"""What is kept is chosen by all validation windows; how good it is, is asked where others have chosen."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from cellgennet_qupath.annotations.labels import Split
from cellgennet_qupath.annotations.windows import LabelledWindow
from cellgennet_qupath.core.config import Config
from cellgennet_qupath.core.progress import SILENT
from cellgennet_qupath.segmentation.decode import DecodingConfig
from cellgennet_qupath.training.data import TrainingData
from cellgennet_qupath.training.record import SHOWN
from cellgennet_qupath.training.run_folder import TrainingRun
from cellgennet_qupath.training.soft_maps import Predict
from cellgennet_qupath.training.student_choice import _Chosen, _chosen, choose_rule
from cellgennet_qupath.training.tune import sentence

from .drawn import discs, window

SHARES = [0.5, 0.25, 0.75, 1.0]
RULE = DecodingConfig()


class Drawn:
    """Maps of drawn windows: of so many discs of nine as a share sees in each, of so much foreground."""

    def __init__(self, folder: Path, seen: dict[float, list[int]], foreground: list[float]) -> None:
        self.windows = [
            window(*discs(seed), f"slide {seed}", Split.VALIDATION) for seed in range(len(foreground))
        ]
        data = TrainingData(0.25, len(foreground), [window(*discs(99), "other")], self.windows, [])
        self.run = TrainingRun(folder, data, Config(), False, SILENT)
        self.seen, self.foreground = seen, foreground
        self.calls: Counter[float] = Counter()

    def predict_at(self, share: float) -> Predict:
        def predict(image: NDArray[np.float32]) -> NDArray[np.float32]:
            self.calls[share] += 1
            number = next(i for i, one in enumerate(self.windows) if one.image is image)
            labels = _objects(self.windows[number])
            seen = (labels > 0) & (labels <= self.seen[share][number])
            return np.repeat((seen * self.foreground[number]).astype(np.float32)[..., None], 2, -1)

        return predict

    def chosen(self) -> _Chosen:
        return _chosen(self.run, [one for one in SHARES if one in self.seen], self.predict_at, RULE)


def _objects(one: LabelledWindow) -> NDArray[np.int32]:
    return one.labels.objects[::2, ::2]


def quality(chosen: _Chosen) -> list[float]:
    return [round(one.scores.pq, 1) for one in chosen.held_out]


def test_a_share_that_two_slides_alone_prefer_is_kept_and_credited_on_none(tmp_path: Path) -> None:
    drawn = Drawn(tmp_path, {share: [6] * 5 for share in SHARES} | {0.75: [9, 9, 6, 6, 6]}, [0.9] * 5)
    chosen = drawn.chosen()
    assert (chosen.share, chosen.rule, chosen.of_standard) == (0.75, RULE, False)
    assert [sample.predicted.max() for sample in chosen.samples] == [9, 9, 6, 6, 6]
    assert quality(chosen) == [0.8] * 5, "without one of both, the other does not choose it"


def test_a_share_that_every_slide_prefers_is_credited_on_all(tmp_path: Path) -> None:
    drawn = Drawn(tmp_path, {share: [3] * 5 for share in SHARES} | {1.0: [9] * 5}, [0.9] * 5)
    chosen = drawn.chosen()
    assert chosen.share == 1.0 and quality(chosen) == [1.0] * 5


@pytest.mark.parametrize(
    ("others", "predicted"),
    [
        ({1.0: [9] * 5}, {0.5: 1, 0.25: 1, 0.75: 1, 1.0: 3}),
        ({}, {0.5: 3, 0.25: 1, 0.75: 1, 1.0: 1}),
        ({0.75: [9, 9, 6, 6, 6]}, {0.5: 2, 0.25: 1, 0.75: 3, 1.0: 1}),
    ],
)
def test_only_shares_that_someone_chooses_are_predicted_again(
    tmp_path: Path, others: dict[float, list[int]], predicted: dict[float, int]
) -> None:
    drawn = Drawn(tmp_path, {share: [6] * 5 for share in SHARES} | others, [0.9] * 5)
    drawn.chosen()
    assert drawn.calls == {share: 5 * times for share, times in predicted.items()}


def test_one_region_cannot_choose_and_judge(tmp_path: Path) -> None:
    chosen = Drawn(tmp_path, {share: [3] for share in SHARES} | {1.0: [9]}, [0.9]).chosen()
    assert chosen.share == 1.0 and chosen.samples[0].predicted.max() == 9
    assert quality(chosen) == [0.5] and chosen.of_standard
    standard = Drawn(tmp_path, {share: [9] for share in SHARES}, [0.9]).chosen()
    assert standard.share == 0.5 and quality(standard) == [1.0] and not standard.of_standard


@pytest.mark.parametrize(
    ("foreground", "expected"),
    [([0.65] * 4, [1.0] * 4), ([0.65, 0.9, 0.9, 0.9], [0.0, 1.0, 1.0, 1.0]), ([0.65], [0.0])],
)
def test_the_rule_of_a_student_without_a_start(
    tmp_path: Path, foreground: list[float], expected: list[float]
) -> None:
    """The standard rule drops nuclei of a mean foreground below .7; another one in the grid takes them."""
    drawn = Drawn(tmp_path, {1.0: [9] * len(foreground)}, foreground)
    assert quality(drawn.chosen()) == expected
    finished = choose_rule(drawn.run, drawn.predict_at(1.0))
    assert finished.decoding.mean_foreground == 0.6
    assert [sample.predicted.max() for sample in finished.samples] == [9] * len(foreground)
    assert finished.scores["pq"] == pytest.approx(np.mean(expected), abs=0.01)
    assert (finished.share, finished.comparison) == (1.0, None)
    assert finished.of_standard == (len(foreground) == 1)
    assert ("standard settings" in sentence(finished.scores, finished.of_standard)) == finished.of_standard
    assert drawn.calls == {1.0: 4 * len(foreground)}, "two passes each, the second for the page"


def test_a_page_shows_some_windows_of_many(tmp_path: Path) -> None:
    count = 3 * SHOWN + 1
    drawn = Drawn(tmp_path, {1.0: list(range(1, count + 1))}, [0.9] * count)
    finished = choose_rule(drawn.run, drawn.predict_at(1.0))
    names = [sample.name for sample in finished.samples]
    assert len(names) == SHOWN and len(set(names)) == SHOWN
    assert {names[0], names[-1]} == {drawn.windows[0].source, drawn.windows[-1].source}
    assert drawn.calls == {1.0: count + SHOWN}, "only these are predicted again"
