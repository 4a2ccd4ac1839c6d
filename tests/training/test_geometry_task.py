"""The auxiliary task of nuclear geometry: its targets, its loss, and that nothing of it stays."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from cellgennet_qupath.annotations.labels import UNKNOWN
from cellgennet_qupath.core.config import LossConfig, PseudoConfig, StudentConfig
from cellgennet_qupath.core.errors import TrainingError
from cellgennet_qupath.networks.weights import read_shapes
from cellgennet_qupath.training.batches import LabelledBatch
from cellgennet_qupath.training.geometry_task import GeometryTask
from cellgennet_qupath.training.student import StudentTrainer
from cellgennet_qupath.training.targets import GEOMETRY, GEOMETRY_STRIDE, UNIT, geometry, objectness, touching
from cellgennet_qupath.training.torch_state import load_state

SMALL = StudentConfig(architecture="unet", width=8, levels=3, patch=64, dropout=0, learning_rate=0.02)


def disc(y: float, x: float, radius: float, size: int = 64) -> NDArray[np.bool_]:
    rows, columns = np.mgrid[:size, :size]
    return np.asarray((rows - y) ** 2 + (columns - x) ** 2 <= radius**2)


def two_nuclei() -> NDArray[np.int32]:
    """Two discs that touch."""
    return np.where(disc(32, 20, 11), 1, np.where(disc(32, 42, 11), 2, 0)).astype(np.int32)


@given(st.integers(20, 44), st.integers(20, 44), st.integers(4, 16))
def test_every_vector_of_a_nucleus_leads_to_its_centroid(y: int, x: int, radius: int) -> None:
    objects = disc(y, x, radius).astype(np.int32)
    maps = geometry(objects)
    rows, columns = np.nonzero(maps[..., 2:].max(axis=-1))
    # A disc around a pixel has its centroid there, to the last digit of a float32.
    ends = np.stack([rows, columns], axis=-1) * GEOMETRY_STRIDE + maps[rows, columns, :2] * UNIT
    np.testing.assert_allclose(ends, np.tile([y, x], (len(rows), 1)), atol=1e-4)


@given(st.integers(10, 22), st.integers(10, 22), st.integers(4, 16))
def test_all_distances_of_a_discs_centre_are_its_radius(y: int, x: int, radius: int) -> None:
    y, x = GEOMETRY_STRIDE * y, GEOMETRY_STRIDE * x
    distances = geometry(disc(y, x, radius).astype(np.int32))[y // 2, x // 2, 2:] * UNIT
    # StarDist walks in whole steps to the first sample beyond the border.
    assert np.abs(distances - radius).max() < 1.5


def test_each_of_two_touching_nuclei_has_its_own_geometry() -> None:
    maps = geometry(two_nuclei())
    assert maps.shape == (32, 32, GEOMETRY)
    left, right = maps[16, 15], maps[16, 16]
    assert left[1] < -1 and right[1] > 1  # one sample apart, to centres on opposite sides
    assert not maps[0, 0].any()


@pytest.mark.parametrize("value", [UNKNOWN, 0])
def test_where_no_nucleus_is_known_there_is_no_geometry(value: int) -> None:
    assert not geometry(np.full((32, 32), value, np.int32)).any()


def test_geometry_does_not_depend_on_the_numbers_of_nuclei() -> None:
    objects = two_nuclei()
    np.testing.assert_array_equal(
        geometry(objects), geometry(np.where(objects > 0, 3 - objects, 0).astype(np.int32))
    )


def batch() -> LabelledBatch:
    objects = two_nuclei()
    rng = np.random.default_rng(0)
    foreground = (objects > 0).astype(np.float32)
    image = np.repeat(foreground[..., None], 3, axis=-1) + rng.normal(0, 0.1, (64, 64, 3))
    return LabelledBatch(
        image.astype(np.float32)[None],
        foreground[None],
        objectness(objects)[None],
        touching(objects, 3)[None],
        geometry(objects)[None],
    )


def trainer(weight: float) -> StudentTrainer:
    return StudentTrainer(SMALL, LossConfig(geometry=weight), PseudoConfig(), 40, seed=1)


def test_the_student_learns_the_task() -> None:
    one = trainer(1.0)
    values = [one.step(batch(), None)["geometry"] for _ in range(40)]
    assert values[-1] < 0.7 * values[0]


def test_nothing_unknown_is_learnt() -> None:
    torch.manual_seed(0)
    task = GeometryTask(8)
    features = torch.rand(1, 8, 32, 32)
    truth = torch.from_numpy(batch().geometry).permute(0, 3, 1, 2)
    unknown = torch.full((1, 64, 64), float(UNKNOWN))
    assert float(task(features, truth * 0, unknown, torch.zeros(1, 64, 64)).detach()) == 0


def test_the_weight_of_the_task_decides_whether_it_is_learnt() -> None:
    assert "geometry" in trainer(0.5).step(batch(), None)
    assert "geometry" not in trainer(0.0).step(batch(), None)
    # Without its targets, as in a training that does not make them, there is nothing to learn either.
    assert "geometry" not in trainer(0.5).step(replace(batch(), geometry=None), None)


def test_the_trained_student_has_nothing_of_the_task(tmp_path: Path) -> None:
    shapes = []
    for weight in (0.0, 1.0):
        one = trainer(weight)
        one.step(batch(), None)
        one.save_weights(tmp_path / f"{weight}.safetensors")
        shapes.append(read_shapes(tmp_path / f"{weight}.safetensors"))
    assert shapes[0] == shapes[1]


def test_a_resumed_training_with_the_task_equals_one_never_stopped(tmp_path: Path) -> None:
    whole = trainer(1.0)
    for step in range(4):
        if step == 2:
            whole.save_checkpoint(tmp_path / "half.safetensors")
        whole.step(batch(), None)
    resumed = trainer(1.0)
    resumed.load_checkpoint(tmp_path / "half.safetensors")
    for _ in range(2):
        resumed.step(batch(), None)
    states = []
    for one in (whole, resumed):
        one.save_checkpoint(tmp_path / "end.safetensors")
        states.append(load_state(tmp_path / "end.safetensors")[0])
    assert states[0].keys() == states[1].keys()
    assert all(torch.equal(value, states[1][name]) for name, value in states[0].items())


@pytest.mark.parametrize("weights", [(0.0, 1.0), (1.0, 0.0)])
def test_a_checkpoint_with_the_task_does_not_fit_a_training_without(
    tmp_path: Path, weights: tuple[float, float]
) -> None:
    first, second = map(trainer, weights)
    first.step(batch(), None)
    first.save_checkpoint(tmp_path / "c.safetensors")
    with pytest.raises(TrainingError, match="does not fit"):
        second.load_checkpoint(tmp_path / "c.safetensors")
