"""The teacher on drawn discs: it learns and resumes."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from cellgennet_qupath.annotations.labels import LabelRasters, Split
from cellgennet_qupath.annotations.windows import LabelledWindow
from cellgennet_qupath.core.config import TeacherConfig
from cellgennet_qupath.core.errors import TrainingError
from cellgennet_qupath.core.progress import SILENT
from cellgennet_qupath.geometry.rectangle import Rectangle
from cellgennet_qupath.networks.stardist_process import StarDistProcess
from cellgennet_qupath.training.teacher import train_teacher

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("one_stardist")]

TINY = TeacherConfig(filters=4, depth=2, rays=8, patch=64, batch=2, epochs=2, steps_per_epoch=2)


def discs(seed: int) -> LabelledWindow:
    rng = np.random.default_rng(seed)
    objects = np.zeros((160, 160), np.int32)
    y, x = np.mgrid[:160, :160]
    for label, (cy, cx) in enumerate([(40, 40), (110, 50), (60, 110), (120, 120)], start=1):
        objects[(y - cy) ** 2 + (x - cx) ** 2 < 14**2] = label
    image = np.where(objects[..., None] > 0, 0.2, 0.8) + rng.normal(0, 0.05, (160, 160, 3))
    labels = LabelRasters(objects, (objects > 0).astype(np.int8), np.zeros(objects.shape, bool))
    return LabelledWindow(
        image.astype(np.float32), labels, Rectangle(0, 0, 160, 160), Split.TRAINING, "discs"
    )


def train(
    teacher: StarDistProcess, config: TeacherConfig, folder: Path, resume: bool = False
) -> list[dict[str, float]]:
    return train_teacher(teacher, [discs(0)], [discs(1)], config, 0, folder / "state", resume, SILENT)


def weights(teacher: StarDistProcess, resume: bool = False) -> list[np.ndarray]:
    history = train(teacher, TINY, teacher.folder.parent, resume)
    assert len(history) == TINY.epochs
    return teacher.weights()


def test_a_resumed_run_equals_one_never_stopped(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    step = StarDistProcess.train_step
    calls = []

    def stop_in_the_second_epoch(self: StarDistProcess, *arguments: object) -> float:
        calls.append(1)
        if len(calls) == 4:
            raise KeyboardInterrupt
        return step(self, *arguments)  # type: ignore[arg-type]

    monkeypatch.setattr(StarDistProcess, "train_step", stop_in_the_second_epoch)
    broken = tmp_path / "broken" / "teacher"
    with StarDistProcess(broken, TINY, threads=1) as teacher, pytest.raises(KeyboardInterrupt):
        weights(teacher)
    monkeypatch.setattr(StarDistProcess, "train_step", step)
    # Both at once, so that they have a process each.
    with (
        StarDistProcess(tmp_path / "whole" / "teacher", TINY, threads=1) as teacher,
        StarDistProcess(broken, TINY, threads=1) as other,
    ):
        assert teacher._process.pid != other._process.pid
        whole, resumed = weights(teacher), weights(other, resume=True)
    assert all((a == b).all() for a, b in zip(whole, resumed, strict=True))


def test_a_loss_that_is_not_finite_ends_the_training(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(StarDistProcess, "train_step", lambda *_: float("nan"))
    with (
        StarDistProcess(tmp_path / "teacher", TINY, threads=1) as teacher,
        pytest.raises(TrainingError, match="not finite at step 0"),
    ):
        weights(teacher)


def test_it_learns_discs_and_opens_again(tmp_path: Path) -> None:
    config = TeacherConfig(
        filters=8, depth=2, rays=16, patch=64, batch=4, epochs=4, steps_per_epoch=50, learning_rate=2e-3
    )
    folder, image = tmp_path / "teacher", discs(2).image
    with StarDistProcess(folder, config, threads=1) as teacher:
        history = train(teacher, config, tmp_path)
        teacher.save({"prob": 0.5, "nms": 0.4})
        before = teacher.predict(image)
    assert history[-1]["validation"] < history[0]["validation"]
    with StarDistProcess(folder, threads=1) as again:
        maps = again.predict(image)
        np.testing.assert_allclose(maps.prob, before.prob, atol=1e-5)
        labels, probability = again.instances(maps, (160, 160), 0.5, 0.4)
    assert len(probability) == labels.max() == 4
