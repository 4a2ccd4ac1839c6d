"""Training on a handful of drawn nuclei: repeated, interrupted and resumed, initialised from a bundle."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from cellgennet_qupath.annotations.labels import Split
from cellgennet_qupath.bundle import sha256
from cellgennet_qupath.core.config import PseudoConfig, TeacherConfig
from cellgennet_qupath.core.config_file import config_from
from cellgennet_qupath.core.errors import TrainingError
from cellgennet_qupath.networks.stardist_process import StarDistProcess
from cellgennet_qupath.report.training_page import write_training_page
from cellgennet_qupath.training.data import TrainingData, UnlabelledTile
from cellgennet_qupath.training.pseudo_label_store import rounds
from cellgennet_qupath.training.run import Trained, train_model
from cellgennet_qupath.training.run_folder import read_json

from .drawn import discs, window

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("one_stardist")]

TINY = config_from(
    {
        "threads": 1,
        "teacher": {
            "filters": 4, "depth": 1, "rays": 8, "patch": 64, "batch": 1, "epochs": 2, "steps_per_epoch": 2,
        },
        "pseudo": {"tile": 128, "rounds": 2},
        "student": {"architecture": "unet", "width": 4, "levels": 2, "patch": 64, "batch": 1}
        | {"epochs": 4, "steps_per_epoch": 2},
        "loss": {"warm_up": 0.3},
    },
    "test",
)  # fmt: skip


class DrawnTile:
    def read(self) -> UnlabelledTile:
        image, _ = discs(9)
        return UnlabelledTile(image, np.ones(image.shape[:2], bool), "unlabelled")


def drawn_data() -> TrainingData:
    windows = [
        window(*discs(seed), f"drawn {seed}", split)
        for seed, split in ((0, Split.TRAINING), (1, Split.VALIDATION))
    ]
    return TrainingData(0.5, 2, windows[:1], windows[1:], [DrawnTile()])


def weights(trained: Trained) -> list[str]:
    files = [trained.files["teacher"] / "weights_best.h5", trained.files["student.safetensors"]]
    return [sha256(file) for file in files]


class Interrupting:
    """A reporter that interrupts after so many steps of a stage."""

    def __init__(self, stage: str, steps: int) -> None:
        self._stage, self._steps = stage, steps

    def say(self, line: str) -> None: ...

    def warn(self, line: str) -> None: ...

    def track(self, what: str, total: float | None, unit: str = "") -> Any:
        return _Countdown(self._steps if what.startswith(self._stage) else -1)


class _Countdown:
    def __init__(self, left: int) -> None:
        self._left = left

    def __enter__(self) -> _Countdown:
        return self

    def __exit__(self, *_: object) -> None: ...

    def advance(self, amount: float = 1, note: str = "") -> None:
        self._left -= 1
        if self._left == 0:
            raise KeyboardInterrupt


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Trained]:
    folder = tmp_path_factory.mktemp("whole") / "run"
    return folder, train_model(drawn_data(), folder, TINY, write_report=write_training_page)


def test_a_seed_gives_one_result(whole: tuple[Path, Trained], tmp_path: Path) -> None:
    assert weights(train_model(drawn_data(), tmp_path / "again", TINY)) == weights(whole[1])


def test_a_run_that_was_interrupted_in_every_stage_gives_the_weights_of_an_uninterrupted_one(
    whole: tuple[Path, Trained], tmp_path: Path
) -> None:
    # Steps: the first advance counts those done before. Then the student's whole epochs, of two steps each.
    places = [
        ("teacher", 2, 0),
        ("teacher", 4, 0),
        ("pseudo-labels of the teacher", 1, 0),
        ("student", 2, 0),
        ("pseudo-labels of the student", 1, 2),
        ("student", 2, 2),
        ("student", 4, 3),
    ]
    for number, (stage, steps, epochs) in enumerate(places):
        with pytest.raises(KeyboardInterrupt):
            train_model(
                drawn_data(),
                tmp_path / "run",
                TINY,
                resume=number > 0,
                reporter=Interrupting(stage, steps),
            )
        history = read_json(tmp_path / "run" / "report" / "student_history.json") or []
        assert len(history) == epochs, stage
    resumed = train_model(drawn_data(), tmp_path / "run", TINY, resume=True)
    assert weights(resumed) == weights(whole[1])


def test_rounds_begin_after_the_warm_up_and_then_at_even_intervals() -> None:
    def starts(epochs: int, **of: float) -> list[int]:
        settings = {"student": {"epochs": epochs}, "loss": {"warm_up": of["warm_up"]}}
        return rounds(config_from(settings | {"pseudo": {"rounds": of["rounds"]}}, "test"))

    assert starts(10, warm_up=0.3, rounds=1) == [3]
    assert starts(10, warm_up=0.25, rounds=2) == [3, 6]
    assert starts(3, warm_up=0, rounds=5) == [0, 1, 2]
    assert starts(4, warm_up=1, rounds=1) == []


def test_predictions_of_every_round_are_kept(whole: tuple[Path, Trained]) -> None:
    folders = sorted(path.parent.name for path in whole[0].glob("pseudo/*/00000.npz"))
    assert folders == ["student-1", "student-2", "teacher", "tiles"]


@pytest.mark.parametrize(("share", "predicting"), [(0.0, {"teacher"}), (1.0, {"student-1"})])
def test_a_network_without_a_share_predicts_nothing(
    tmp_path: Path, share: float, predicting: set[str]
) -> None:
    config = TINY.model_copy(update={"pseudo": PseudoConfig(student_share=share, rounds=1)})
    train_model(drawn_data(), tmp_path / "run", config)
    assert {path.parent.name for path in tmp_path.glob("run/pseudo/*/00000.npz")} == predicting | {"tiles"}


def test_other_settings_are_not_resumed(tmp_path: Path) -> None:
    with pytest.raises(KeyboardInterrupt):
        train_model(drawn_data(), tmp_path / "run", TINY, reporter=Interrupting("teacher", 1))
    other = TINY.model_copy(update={"seed": 1})
    with pytest.raises(TrainingError, match="settings changed"):
        train_model(drawn_data(), tmp_path / "run", other, resume=True)


def test_the_report_shows_losses_scores_and_samples(whole: tuple[Path, Trained]) -> None:
    page = (whole[0] / "report" / "training.html").read_text(encoding="utf-8")
    assert "Losses of the teacher" in page and "Losses of the student" in page
    assert "drawn 1" in page and "<image href=" in page


def test_annotations_alone_need_no_teacher(tmp_path: Path) -> None:
    loss = TINY.loss.model_copy(update={"distillation": 0.0, "consistency": 0.0})
    trained = train_model(drawn_data(), tmp_path / "run", TINY.model_copy(update={"loss": loss}))
    assert set(trained.files) == {"student.safetensors"}
    assert set(trained.scores) == {"student"}


def test_a_teacher_on_an_encoder_is_fine_tuned_with_its_encoder(tmp_path: Path) -> None:
    """Trained from ImageNet weights, then from the folder of the first: 0 steps away at a rate of 1e-9."""

    def teacher(name: str, **settings: object) -> Path:
        raw = TINY.teacher.model_dump() | {"backbone": "efficientnet-lite0", "epochs": 1} | settings
        config = TINY.model_copy(update={"teacher": TeacherConfig.model_validate(raw)})
        return train_model(drawn_data(), tmp_path / name, config, "teacher").files["teacher"]

    first = teacher("first")
    again = teacher("again", init=first, backbone="unet", filters=8, learning_rate=1e-9)
    config = json.loads((again / "config.json").read_text(encoding="utf-8"))
    assert (config["backbone"], config["unet_n_filter_base"]) == ("efficientnet-lite0", 4)
    arrays = []
    for folder in (first, again):
        with StarDistProcess(folder, threads=1) as process:
            arrays.append(process.network_arrays())
    for one, other in zip(*arrays, strict=True):
        if one.ndim == 4:
            np.testing.assert_allclose(one, other, atol=1e-5)


def test_without_a_run_to_resume_training_starts_from_the_beginning(tmp_path: Path) -> None:
    warnings: list[str] = []

    class Listener(Interrupting):
        def warn(self, line: str) -> None:
            warnings.append(line)

    with pytest.raises(KeyboardInterrupt):
        train_model(drawn_data(), tmp_path / "run", TINY, "teacher", True, Listener("teacher", 2))
    assert warnings and "Nothing to resume" in warnings[0]
