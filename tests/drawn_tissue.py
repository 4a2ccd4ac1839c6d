"""Fixtures: drawn tissue with known nuclei, a predictor that misses some of them, an untrained bundle."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from cellgennet_qupath.bundle import Bundle, Card, now, write_bundle
from cellgennet_qupath.core.config import Config, StudentConfig
from cellgennet_qupath.evaluation.prediction import Prediction
from cellgennet_qupath.evaluation.regions import EvaluationRegion, folder_regions
from cellgennet_qupath.evaluation.run import Evaluation, evaluate
from cellgennet_qupath.networks.unet import StudentUNet

CONFIG = Config(student=StudentConfig(architecture="unet", width=4, levels=2))


def tissue(seed: int, side: int = 160) -> tuple[NDArray[np.uint8], NDArray[np.int32]]:
    """Purple discs on pink: uint8 RGB (side, side, 3), and their labels, int32 (side, side)."""
    rng = np.random.default_rng(seed)
    image = np.full((side, side, 3), (225, 170, 200), np.float32)
    labels = np.zeros((side, side), np.int32)
    y, x = np.mgrid[:side, :side] + 0.5
    number = 0
    for _ in range(60):
        cx, cy, radius = rng.uniform(8, side - 8), rng.uniform(8, side - 8), rng.uniform(6, 11)
        disc = np.hypot(x - cx, y - cy) < radius
        if not (labels[disc] > 0).any():
            number += 1
            labels[disc] = number
            image[disc] = (95, 60, 140)
    return np.clip(image + rng.normal(0, 6, image.shape), 0, 255).astype(np.uint8), labels


@pytest.fixture(scope="session")
def labelled_folder() -> Callable[[Path, int], Path]:
    """Writes a folder with ``images/`` and ``labels/``, of this number of images."""

    def write(folder: Path, count: int) -> Path:
        for part in ("images", "labels"):
            (folder / part).mkdir(parents=True)
        for number in range(count):
            image, labels = tissue(number)
            cv2.imwrite(str(folder / "images" / f"field {number}.png"), image[..., ::-1])
            cv2.imwrite(str(folder / "labels" / f"field {number}.png"), labels.astype(np.uint16))
        return folder

    return write


@dataclass(frozen=True)
class Shaky:
    """Predicts the true nuclei, shifted, and misses every nth of them."""

    name: str
    shift: int = 1
    misses: int = 5

    def predict(self, region: EvaluationRegion, pixels: NDArray[np.uint8]) -> Prediction:
        true, _ = region.truth()
        labels = np.roll(np.where(true % self.misses == 0, 0, true), self.shift, 1)
        return Prediction(labels, np.linspace(0.4, 0.95, int(labels.max(initial=0)), dtype=np.float32))


@pytest.fixture(scope="session")
def shaky() -> Callable[..., Shaky]:
    return Shaky


@pytest.fixture(scope="session")
def evaluation(
    labelled_folder: Callable[[Path, int], Path], tmp_path_factory: pytest.TempPathFactory
) -> Evaluation:
    """Two methods on six images."""
    folder = labelled_folder(tmp_path_factory.mktemp("data"), 6)
    return evaluate(folder_regions(folder, mpp=0.5), [Shaky("ours"), Shaky("theirs", 4, 2)])


@pytest.fixture(scope="session")
def untrained(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    """An untrained student, with thresholds so low that it predicts some nuclei."""
    from safetensors.torch import save_file

    folder = tmp_path_factory.mktemp("bundle")
    torch.manual_seed(1)
    save_file(StudentUNet(CONFIG.student).state_dict(), folder / "w")
    card = Card(
        name="untrained",
        created=now(),
        mpp=0.5,
        decoding={"foreground": 0.3, "peak": 0.1, "mean_foreground": 0.0},
        config=CONFIG.model_dump(mode="json"),
        training={"training_nuclei": 0},
    )
    return write_bundle(folder / "untrained.cgn", card, {"student.safetensors": folder / "w"})
