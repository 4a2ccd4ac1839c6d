"""Colours onto one scale."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import tifffile
from hypothesis import given
from hypothesis import strategies as st

from cellgennet_qupath.core.config import NormalisationConfig
from cellgennet_qupath.slides.normalisation import Normalisation, _percentile, estimate
from cellgennet_qupath.slides.reader import open_slide
from cellgennet_qupath.slides.tissue import TissueMask

CONFIG = NormalisationConfig(low=1.0, high=99.0)


@given(st.lists(st.integers(0, 255), min_size=1, max_size=60), st.floats(0, 100))
def test_percentiles_are_numpys(values: list[int], percent: float) -> None:
    counts = np.bincount(values, minlength=256)
    assert _percentile(counts, percent) == pytest.approx(float(np.percentile(values, percent)), abs=1e-6)


def test_percentiles_of_the_tissue_alone(tmp_path: Path) -> None:
    image = np.full((100, 200, 3), 250, np.uint8)
    image[:, :100] = np.arange(100, dtype=np.uint8)[:, None, None] + np.array([0, 20, 40], np.uint8)
    path = tmp_path / "a.tif"
    tifffile.imwrite(path, image, photometric="rgb")
    half = np.zeros((10, 20), bool)
    half[:, :10] = True
    with open_slide(path) as reader:
        masked = estimate(reader, 1.0, CONFIG, TissueMask(half, 10.0))
        whole = estimate(reader, 1.0, CONFIG)
        none = estimate(reader, 1.0, CONFIG, TissueMask(np.zeros((10, 20), bool), 10.0))
    assert masked.low == pytest.approx([1, 21, 41], abs=0.1)
    assert masked.high == pytest.approx([98, 118, 138], abs=0.1)
    assert whole.high == pytest.approx([250, 250, 250])
    assert np.array_equal(none.high, whole.high)


def test_large_images_are_sampled_always_alike(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(0)
    image = rng.integers(40, 200, (900, 1100, 3), dtype=np.uint8)
    path = tmp_path / "a.tif"
    tifffile.imwrite(path, image, photometric="rgb", tile=(256, 256))
    with open_slide(path) as reader:
        whole = estimate(reader, 1.0, CONFIG)
        monkeypatch.setattr("cellgennet_qupath.slides.normalisation._WHOLE", 10_000)
        mask = TissueMask(np.ones((9, 11), bool), 100.0)
        sampled = [estimate(reader, 1.0, CONFIG, mask) for _ in range(2)]
    assert np.array_equal(sampled[0].low, sampled[1].low)
    assert sampled[0].low == pytest.approx(whole.low, abs=1)
    assert sampled[0].high == pytest.approx(whole.high, abs=1)


def test_apply_maps_the_ends_to_0_and_1_and_cuts_far_off() -> None:
    scale = Normalisation(np.array([50.0, 60, 70]), np.array([150.0, 160, 170]))
    out = scale.apply(np.array([[[50, 160, 120], [255, 0, 70]]], np.uint8))
    assert out.dtype == np.float32
    assert out == pytest.approx(np.array([[[0, 1, 0.5], [1.5, -0.5, 0]]]))


def test_a_constant_image_is_0() -> None:
    flat = Normalisation(np.full(3, 90.0), np.full(3, 90.0))
    assert (flat.apply(np.full((2, 2, 3), 90, np.uint8)) == 0).all()
