"""Tissue against glass."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest
import tifffile
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from cellgennet_qupath.slides.reader import open_slide
from cellgennet_qupath.slides.tissue import TissueMask, _percent, tissue_mask


def mask_of(tmp_path: Path, image: NDArray[np.uint8], mpp: float = 1.0) -> TissueMask:
    path = tmp_path / "a.png"
    path.write_bytes(cv2.imencode(".png", image[..., ::-1])[1].tobytes())
    with open_slide(path) as reader:
        return tissue_mask(reader, mpp)


def field(
    colour: tuple[int, int, int], noise: float, shape: tuple[int, int] = (800, 1000)
) -> NDArray[np.uint8]:
    rng = np.random.default_rng(1)
    return np.clip(np.array(colour) + rng.normal(0, noise, (*shape, 3)), 0, 255).astype(np.uint8)


GLASS = (243, 241, 244)


@pytest.mark.parametrize("colour", [(200, 120, 170), (238, 222, 233), (150, 150, 160)])
def test_tissue_on_glass(tmp_path: Path, colour: tuple[int, int, int]) -> None:
    image = field(GLASS, 2)
    image[200:600, 300:700] = field(colour, 4, (400, 400))
    mask = mask_of(tmp_path, image)
    assert mask.covers(300, 200, 400, 400) == 1.0
    assert mask.covers(0, 0, 240, 800) == 0.0
    assert 0.2 < mask.share < 0.4


@pytest.mark.parametrize(
    "colour", [(200, 120, 170), (180, 150, 175), (235, 205, 222)], ids=["eosin", "dim", "pale"]
)
def test_a_field_without_glass_is_all_tissue(tmp_path: Path, colour: tuple[int, int, int]) -> None:
    assert mask_of(tmp_path, field(colour, 8)).share == 1.0


@pytest.mark.parametrize("colour", [GLASS, (255, 255, 255), (228, 226, 224)])
def test_an_empty_slide_has_no_tissue(tmp_path: Path, colour: tuple[int, int, int]) -> None:
    assert mask_of(tmp_path, field(colour, 2)).share == 0.0


def test_a_mask_is_kept_until_the_file_or_the_pixel_size_changes(tmp_path: Path) -> None:
    image = field(GLASS, 2)
    image[200:600, 300:700] = field((200, 120, 170), 4, (400, 400))
    path = tmp_path / "a.tif"
    tifffile.imwrite(path, image)
    with open_slide(path) as reader:
        first = tissue_mask(reader, 1.0)
        assert tissue_mask(reader, 1.0) is first
        assert tissue_mask(reader, 0.5) is not first
    tifffile.imwrite(path, image[:500])
    with open_slide(path) as reader:
        assert tissue_mask(reader, 1.0).tissue.shape != first.tissue.shape


def test_a_real_slide(shared: Path) -> None:
    with open_slide(shared / "data" / "slides" / "CMU-1-Small-Region.svs") as reader:
        mask = tissue_mask(reader)
    assert 0.5 < mask.share <= 1.0


@given(x=st.floats(-50, 150), y=st.floats(-50, 150), w=st.floats(0.1, 120), h=st.floats(0.1, 120))
def test_covers_is_the_share_of_the_area(x: float, y: float, w: float, h: float) -> None:
    tissue = np.random.default_rng(0).random((9, 11)) > 0.5
    mask = TissueMask(tissue, 10.0)
    area = 0.0
    for row, column in zip(*np.nonzero(tissue), strict=True):
        across = min(x + w, column * 10 + 10) - max(x, column * 10)
        down = min(y + h, row * 10 + 10) - max(y, row * 10)
        area += max(across, 0) * max(down, 0)
    assert mask.covers(x, y, w, h) == pytest.approx(area / (w * h), abs=1e-6)


def test_the_mask_on_another_grid() -> None:
    mask = TissueMask(np.array([[True, False], [False, True]]), 4.0)
    expected = np.array([[1, 1, 0, 0], [1, 1, 0, 0], [0, 0, 1, 1], [0, 0, 1, 1]], bool)
    assert np.array_equal(mask.window(0, 0, 4, 4, 2.0), expected)
    assert np.array_equal(mask.window(-1, -2, 6, 7, 2.0)[2:6, 1:5], expected)
    assert mask.window(-1, -2, 6, 7, 2.0).sum() == expected.sum()


def test_shares_are_percentages_that_people_write() -> None:
    shares = {0.00001: "0.1", 0.0123: "1.2", 0.0996: "10", 0.345: "34", 0.996: "100", 1.0: "100"}
    assert {share: _percent(share) for share in shares} == shares
