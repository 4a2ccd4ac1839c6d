"""Pseudo-labels: views averaged in register, agreement by its equation, streamed from disk."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cellgennet_qupath.core.config import PseudoConfig
from cellgennet_qupath.training.data import UnlabelledTile
from cellgennet_qupath.training.patches import generator
from cellgennet_qupath.training.pseudo_labels import (
    AveragedPrediction,
    PseudoLabels,
    agreement,
    mix,
    predict_views,
    read_image,
    rectangle,
    write_prediction,
    write_tile,
)


def red_and_green(image: np.ndarray) -> np.ndarray:
    """A predictor that is equivariant under rotation and mirroring."""
    h, w = image.shape[:2]
    maps: np.ndarray = image[..., :2].reshape(h // 2, 2, w // 2, 2, 2).mean(axis=(1, 3))
    return maps


def tile(size: int = 64) -> UnlabelledTile:
    image = np.random.default_rng(0).random((size, size, 3)).astype(np.float32)
    usable = np.ones((size, size), bool)
    usable[:, : size // 2] = False
    return UnlabelledTile(image, usable, "t")


@pytest.mark.parametrize("views", [4, 8])
def test_views_come_back_in_register(views: int) -> None:
    image = np.random.default_rng(1).random((32, 48, 3)).astype(np.float32)
    prediction = predict_views(red_and_green, image, views)
    np.testing.assert_allclose(prediction.mean, red_and_green(image), atol=1e-6)
    np.testing.assert_allclose(prediction.std, 0, atol=1e-6)


def test_agreement_by_hand() -> None:
    std = np.array([[[0.0, 0.1], [0.2, 0.0]]], np.float32)
    np.testing.assert_allclose(agreement(std, 3), [[[1, np.exp(-0.3)], [np.exp(-0.6), 1]]], rtol=1e-6)


@given(st.lists(st.floats(0, 1, width=32), min_size=8, max_size=8), st.sampled_from([0.0, 0.25, 0.5, 1.0]))
def test_a_mixture_is_one_set_of_views(values: list[float], share: float) -> None:
    views = np.array(values).reshape(2, 4)
    first, second = (
        AveragedPrediction(np.full((1, 1, 2), v.mean(), np.float32), np.full((1, 1, 2), v.std(), np.float32))
        for v in views
    )
    both = mix(first, second, share)
    weights = np.repeat([(1 - share) / 4, share / 4], 4)
    mean = np.average(views.ravel(), weights=weights)
    std = np.sqrt(np.average((views.ravel() - mean) ** 2, weights=weights))
    np.testing.assert_allclose(both.mean, mean, atol=1e-5)
    np.testing.assert_allclose(both.std, std, atol=1e-3)


def kept(folder: Path, *predictions: AveragedPrediction, share: float = 0.5) -> PseudoLabels:
    """Soft labels of one tile, kept on disk."""
    write_tile(folder / "tile.npz", tile(), 2)
    files = [folder / f"{number}.npz" for number in range(len(predictions))]
    for file, prediction in zip(files, predictions, strict=True):
        write_prediction(file, prediction)
    return PseudoLabels([folder / "tile.npz"], [files], 32, 2, PseudoConfig(student_share=share, cutmix=0))


def predicted(folder: Path) -> AveragedPrediction:
    write_tile(folder / "tile.npz", tile(), 2)
    return predict_views(red_and_green, read_image(folder / "tile.npz"), 4)


def test_only_unlabelled_tissue_is_learnt_from(tmp_path: Path) -> None:
    write_tile(tmp_path / "tile.npz", tile(), 2)
    with np.load(tmp_path / "tile.npz") as stored:
        assert not stored["usable"][:, :16].any()
        assert stored["usable"][:, 16:].all()
    agreed = kept(tmp_path, predicted(tmp_path)).draw(generator(0, "t", 0), 20).agreement
    assert (agreed == 0).any() and (agreed > 0).any()


def test_drawn_crops_keep_image_and_targets_together(tmp_path: Path) -> None:
    drawn = kept(tmp_path, predicted(tmp_path)).draw(generator(0, "t", 0), 6)
    weak, strong, targets, agreed = drawn.weak, drawn.strong, drawn.targets, drawn.agreement
    assert not drawn.pasted.any()
    assert weak.shape == strong.shape == (6, 32, 32, 3)
    assert targets.shape == agreed.shape == (6, 16, 16, 2)
    for image, target in zip(weak, targets, strict=True):
        expected = red_and_green(image)
        assert np.corrcoef(expected[..., 0].ravel(), target[..., 0].ravel())[0, 1] > 0.8


def test_networks_that_contradict_each_other_get_less_weight(tmp_path: Path) -> None:
    yes, no = (
        AveragedPrediction(np.full((32, 32, 2), v, np.float32), np.zeros((32, 32, 2), np.float32))
        for v in (1, 0)
    )
    drawn = kept(tmp_path, yes, no, share=0.25).draw(generator(0, "t", 0), 4)
    np.testing.assert_allclose(drawn.targets, 0.75, atol=0.01)
    usable = drawn.agreement > 0
    np.testing.assert_allclose(drawn.agreement[usable], np.exp(-3 * np.sqrt(0.25 * 0.75)), atol=0.01)


@given(st.integers(0, 1000), st.integers(16, 200), st.floats(0.05, 0.95))
def test_a_pasted_rectangle_covers_its_share(seed: int, size: int, share: float) -> None:
    inside = rectangle(np.random.default_rng(seed), size, share)
    rows, columns = np.flatnonzero(inside.any(1)), np.flatnonzero(inside.any(0))
    assert inside[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1].all()
    # Sides are whole numbers: each can be off by half a sample.
    assert inside.mean() == pytest.approx(share, abs=1 / size)


def test_with_a_share_of_0_nothing_is_pasted() -> None:
    assert not rectangle(np.random.default_rng(0), 32, 0).any()
