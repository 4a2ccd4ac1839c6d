"""The teacher on an ImageNet encoder: StarDist's own loss, repeatable, resumable, and it learns discs."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from cellgennet_qupath.core.config import TeacherConfig
from cellgennet_qupath.core.errors import DamagedStateError, TrainingError
from cellgennet_qupath.core.progress import SILENT
from cellgennet_qupath.networks.stardist_process import StarDistBatch, StarDistProcess
from cellgennet_qupath.training.teacher import train_teacher
from cellgennet_qupath.training.teacher_trainer import TeacherTrainer, stardist_loss

from .test_teacher import discs

pytestmark = pytest.mark.usefixtures("one_stardist")

TINY = TeacherConfig(
    backbone="efficientnet-lite0", filters=4, rays=8, patch=64, batch=2, epochs=2, steps_per_epoch=3
)


def train(config: TeacherConfig, folder: Path, resume: bool = False) -> TeacherTrainer:
    trainer = TeacherTrainer(config, threads=1, seed=0)
    train_teacher(trainer, [discs(0)], [discs(1)], config, 0, folder / "state", resume, SILENT)
    return trainer


def equal(one: TeacherTrainer, other: TeacherTrainer) -> bool:
    return all(np.array_equal(a, b) for a, b in zip(one.arrays(), other.arrays(), strict=True))


@pytest.mark.slow
def test_the_loss_is_that_of_stardist(tmp_path: Path) -> None:
    """Validation batches through both, with the same weights and unknown pixels among them."""
    rng = np.random.default_rng(0)
    prob = rng.random((2, 32, 32, 1), np.float32)
    prob[:, :8] = -1
    prob[:, 8:20] = 0
    dist = rng.uniform(1, 20, (2, 32, 32, 8)).astype(np.float32)
    batch = StarDistBatch(
        rng.random((2, 64, 64, 3), np.float32), prob, np.concatenate([dist, np.maximum(prob, 0)], axis=-1)
    )
    trainer = TeacherTrainer(TINY, threads=1, seed=0)
    with StarDistProcess(tmp_path / "teacher", TINY, threads=1) as teacher:
        teacher.load_network(trainer.arrays())
        teacher.prepare_training(1e-3)
        expected = teacher.validation_loss(batch)
    assert trainer.validation_loss(batch) == pytest.approx(expected, rel=0.01)


def test_the_loss_of_one_pixel_by_hand() -> None:
    """Half known, half unknown: -log(1/2), and 0.2 times the mean error over two rays."""
    logits, prob = torch.zeros(1, 1, 1, 2), torch.tensor([[[[1.0, -1.0]]]])
    distances = torch.zeros(1, 2, 1, 2)
    dist = torch.tensor([[[[3.0, 9.0]], [[5.0, 9.0]], [[1.0, 0.0]]]])
    found = float(stardist_loss(logits, distances, prob, dist))
    assert found == pytest.approx(np.log(2) + 0.2 * (3 + 5) / 2)


@pytest.mark.slow
def test_a_resumed_training_equals_one_never_stopped(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = train(TINY, tmp_path / "whole")
    assert equal(whole, train(TINY, tmp_path / "again"))
    step, calls = TeacherTrainer.train_step, []

    def stop_in_the_second_epoch(self: TeacherTrainer, batch: StarDistBatch, learning_rate: float) -> float:
        calls.append(1)
        if len(calls) == 5:
            raise KeyboardInterrupt
        return step(self, batch, learning_rate)

    monkeypatch.setattr(TeacherTrainer, "train_step", stop_in_the_second_epoch)
    with pytest.raises(KeyboardInterrupt):
        train(TINY, tmp_path / "broken")
    monkeypatch.undo()
    assert equal(whole, train(TINY, tmp_path / "broken", resume=True))


@pytest.mark.slow
def test_states_that_do_not_fit_are_refused(tmp_path: Path) -> None:
    trainer = TeacherTrainer(TINY, threads=1, seed=0)
    file = tmp_path / "state.safetensors"
    trainer.save_state(file, {"epoch": 1.0})
    assert trainer.load_state(file) == {"epoch": 1.0}
    wider = TeacherTrainer(TINY.model_copy(update={"filters": 8}), threads=1, seed=0)
    with pytest.raises(TrainingError, match="does not fit the teacher's settings"):
        wider.load_state(file)
    whole = file.read_bytes()
    file.write_bytes(whole[:-100] + bytes(100))
    with pytest.raises(DamagedStateError, match="damaged"):
        trainer.load_state(file)
    file.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(DamagedStateError, match="damaged"):
        trainer.load_state(file)


@pytest.mark.slow
def test_it_learns_discs_and_becomes_a_stardist_model(tmp_path: Path) -> None:
    config = TINY.model_copy(
        update={
            "filters": 8,
            "rays": 16,
            "batch": 4,
            "epochs": 2,
            "steps_per_epoch": 25,
            "learning_rate": 3e-3,
        }
    )
    trainer = train(config, tmp_path)
    with StarDistProcess(tmp_path / "teacher", config, threads=1) as teacher:
        teacher.load_network(trainer.arrays())
        teacher.save({"prob": 0.5, "nms": 0.4})
    with StarDistProcess(tmp_path / "teacher", threads=1) as teacher:
        maps = teacher.predict(discs(2).image)
        labels, probability = teacher.instances(maps, (160, 160), 0.5, 0.4)
    assert len(probability) == labels.max() == 4
