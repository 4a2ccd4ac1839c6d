"""A margin of one colour around a picture is no glass: the picture is judged as without it."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest

from cellgennet_qupath.core.config import NormalisationConfig
from cellgennet_qupath.geometry.rectangle import Rectangle
from cellgennet_qupath.slides.margin import first_sample, samples_within
from cellgennet_qupath.slides.normalisation import Normalisation, estimate
from cellgennet_qupath.slides.reader import open_slide
from cellgennet_qupath.slides.tissue import TissueMask, tissue_mask

from .test_areas import MARGINS, Image, on_glass, padded, tissue

MPP = 0.25


def judged(path: Path, image: Image) -> tuple[TissueMask, Normalisation]:
    quality = [cv2.IMWRITE_JPEG_QUALITY, 90] if path.suffix == ".jpg" else []
    path.write_bytes(cv2.imencode(path.suffix, image[..., ::-1], quality)[1].tobytes())
    with open_slide(path) as reader:
        mask = tissue_mask(reader, MPP)
        return mask, estimate(reader, 1.0, NormalisationConfig(), mask)


@pytest.mark.parametrize("name", ["a.png", "a.jpg"])
@pytest.mark.parametrize("margins", MARGINS.values(), ids=MARGINS)
@pytest.mark.parametrize("value", [255, (240, 238, 241), (128, 128, 128), 0], ids=str)
def test_a_picture_in_a_margin_is_judged_as_without(
    tmp_path: Path, name: str, margins: tuple[int, int, int, int], value: int | tuple[int, ...]
) -> None:
    """Also where compression has smeared the edge."""
    image = tissue()
    _, plain = judged(tmp_path / name, image)
    whole = padded(image, *margins, value)
    mask, scale = judged(tmp_path / f"b{name}", whole)
    (top, right, bottom, left), (rows, columns) = margins, whole.shape[:2]
    inner = Rectangle(left, top, columns - right, rows - bottom)
    assert samples_within(mask.part, (columns, rows), 1.0) == inner
    assert np.abs(scale.low - plain.low).max() <= 2 and np.abs(scale.high - plain.high).max() <= 2
    inside = mask.window(0, 0, columns, rows, 1.0)
    assert inside[top : rows - bottom, left : columns - right].all() and inside.sum() == 256 * 256
    assert "uniform areas without data" in mask.findings[0]


def test_a_network_sees_the_mirror_image_in_the_margin(tmp_path: Path) -> None:
    image = tissue()
    mask, scale = judged(tmp_path / "a.png", padded(image, 0, 64, 64, 32, 255))
    assert mask.part is not None
    seen, part = scale.seen(padded(image, 0, 64, 64, 32, 255), (0, 0), (352, 320), 1.0)
    assert part == (slice(0, 256), slice(32, 288))
    wanted = np.pad(scale.apply(image), ((0, 64), (32, 64), (0, 0)), mode="symmetric")
    assert np.array_equal(seen, wanted)
    beside, nothing = scale.seen(np.full((20, 30, 3), 255, np.uint8), (300, 10), (352, 320), 1.0)
    assert beside.shape == (20, 30, 3) and nothing == (slice(0, 0), slice(0, 0))


def test_only_whole_samples_are_within() -> None:
    assert samples_within(Rectangle(5, 8, 21, 1 << 40), (10, 10), 4.0) == (2, 2, 5, 10)
    assert samples_within(None, (10, 12), 4.0) == (0, 0, 10, 12)


@pytest.mark.parametrize(
    ("margin", "step", "first"), [(16, 1.3332, 12), (512, 1.3332, 384), (16, 1.3334, 12)]
)
def test_a_margin_of_nearly_whole_samples_costs_no_sample(margin: int, step: float, first: int) -> None:
    part = Rectangle(margin, margin, margin + 1024, margin + 1024)
    size = round((1024 + 2 * margin) / step)
    assert samples_within(part, (size, size), step)[:2] == (first, first) == first_sample(part, step)


def test_a_picture_begins_at_the_nearest_sample() -> None:
    assert first_sample(Rectangle(5, 7, 21, 21), 4.0) == (1, 2)
    assert first_sample(Rectangle(-(1 << 40), 8, 21, 21), 4.0) == (0, 2)
    assert first_sample(None, 4.0) == (0, 0)


@pytest.mark.parametrize("colour", [(30, 60, 160), (20, 20, 25), (150, 30, 40)], ids=str)
def test_a_margin_with_a_pen_mark_is_one(tmp_path: Path, colour: tuple[int, int, int]) -> None:
    whole = padded(tissue(), 400, 400, 400, 400, 243)
    line = np.array([[60, 60], [980, 90], [990, 980], [200, 990], [60, 60]])
    cv2.polylines(whole, [line], False, colour, 25, cv2.LINE_AA)
    mask, _ = judged(tmp_path / "a.png", whole)
    assert samples_within(mask.part, (1056, 1056), 1.0) == Rectangle(400, 400, 656, 656)


@pytest.mark.parametrize("glass", [255, 244])
def test_glass_without_noise_is_no_margin(tmp_path: Path, glass: int) -> None:
    """Saturated or smoothed glass: tissue does not end on it in a straight line."""
    image = np.full((400, 500, 3), glass, np.uint8)
    disc = cv2.circle(np.zeros((256, 256), np.uint8), (128, 128), 120, 1, -1) > 0
    image[70:326, 100:356][disc] = tissue()[disc]
    mask, _ = judged(tmp_path / "a.png", image)
    assert mask.part is None and not mask.shares


@pytest.mark.parametrize("noise", [False, True])
def test_images_of_nothing_and_glass_with_noise_have_no_margin(tmp_path: Path, noise: bool) -> None:
    image = on_glass(tissue(), 60) if noise else np.full((90, 70, 3), 255, np.uint8)
    assert judged(tmp_path / "a.png", image)[0].part is None
    assert judged(tmp_path / "b.png", image[:1, :1])[0].part is None
