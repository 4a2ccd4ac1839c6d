"""Outlines that are nonsense end with the start recommended, on real tissue and with the shipped model."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from cellgennet_qupath.annotations.labels import Split
from cellgennet_qupath.annotations.windows import LabelledWindow
from cellgennet_qupath.bundle import load_bundle, named_bundle
from cellgennet_qupath.core.config_file import config_from
from cellgennet_qupath.training.adaptation import init_config, start_of
from cellgennet_qupath.training.data import TrainingData
from cellgennet_qupath.training.run import Trained, train_model
from cellgennet_qupath.training.stain_check import share_darker

from .drawn import window

TISSUE = Path(__file__).parents[3] / "shared" / "data" / "nuclei" / "tnbc"
SETTINGS = config_from(
    {"threads": 1, "loss": {"distillation": 0}, "student": {"epochs": 2, "steps_per_epoch": 12}}, "test"
)

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not TISSUE.is_dir(), reason="needs the images of ../shared/data"),
]


def windows(count: int, first: int, split: Split) -> list[LabelledWindow]:
    found = []
    for file in sorted((TISSUE / "images").glob("*.png"))[first : first + count]:
        pixels = np.asarray(cv2.imread(str(file)), np.float32)[160:352, 160:352, ::-1]
        labels = cv2.imread(str(TISSUE / "labels" / file.name), cv2.IMREAD_UNCHANGED)
        assert labels is not None
        part = labels[160:352, 160:352].astype(np.int32)
        dense = np.searchsorted(np.unique(part), part).astype(np.int32)
        low, high = np.percentile(pixels, (1, 99.8))
        normalised = ((pixels - low) / (high - low)).astype(np.float32)
        found.append(window(normalised, dense, file.stem, split))
    return found


def shifted(one: LabelledWindow, by: int = 20) -> LabelledWindow:
    return _with(one, np.roll(one.labels.objects, (by, by), (0, 1)))


def rectangles(one: LabelledWindow) -> LabelledWindow:
    """As many random rectangles in place of the nuclei."""
    rng = np.random.default_rng(len(one.source))
    labels = np.zeros_like(one.labels.objects)
    for number in range(1, one.n_nuclei + 1):
        y, x = rng.integers(0, 170, 2)
        labels[y : y + 20, x : x + 20] = number
    return _with(one, np.searchsorted(np.unique(labels), labels).astype(np.int32))


def _with(one: LabelledWindow, objects: NDArray[np.int32]) -> LabelledWindow:
    rasters = replace(one.labels, objects=objects, foreground=(objects > 0).astype(np.int8))
    return replace(one, labels=rasters)


def trained(training: list[LabelledWindow], validation: list[LabelledWindow], folder: Path) -> Trained:
    bundle = load_bundle(named_bundle(Path("pretrained")))
    data = TrainingData(0.25, 8, training, validation, [])
    return train_model(data, folder, init_config(bundle, SETTINGS), start=start_of(bundle))


@pytest.mark.parametrize("nonsense", [shifted, rectangles])
def test_nonsense_to_train_on_ends_with_the_start(nonsense: object, tmp_path: Path) -> None:
    assert callable(nonsense)
    training = [nonsense(one) for one in windows(6, 0, Split.TRAINING)]
    advice = trained(training, windows(4, 20, Split.VALIDATION), tmp_path / "run").recommendation
    assert advice is not None and advice.use == "start"
    assert "darker than their surroundings" in " ".join(advice.reasons)


def test_where_validation_is_shifted_too_the_stain_says_so(tmp_path: Path) -> None:
    training = [shifted(one) for one in windows(6, 0, Split.TRAINING)]
    validation = [shifted(one) for one in windows(4, 20, Split.VALIDATION)]
    advice = trained(training, validation, tmp_path / "run").recommendation
    assert advice is not None and advice.use == "start"
    assert any("Validation outlines" in sentence for sentence in advice.reasons)


def test_real_outlines_are_darker_than_their_surroundings() -> None:
    share, count = share_darker(windows(25, 0, Split.TRAINING))
    assert count > 200
    assert share > 0.85
    assert share_darker([shifted(one) for one in windows(25, 0, Split.TRAINING)])[0] < 0.7
