"""Levels: their steps from their sizes, and whether their pixels lie where the steps put them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cellgennet_qupath.slides.levels import level_step, shift, usable_levels
from cellgennet_qupath.slides.reader import open_slide
from cellgennet_qupath.slides.source import Stored

from .formats.tiffs import Pixels, halved, write_plain
from .images import noise


@pytest.mark.parametrize(
    ("full", "level", "step"),
    [
        ((1023, 1023), (255, 256), 4),
        ((46000, 32914), (11500, 8228), 4),
        ((30000, 20000), (10000, 6667), 3),
        ((10000, 8000), (4000, 3200), 2.5),
        ((1000, 762), (7, 5), 128),
        ((1000, 800), (500, 200), None),  # two steps
        ((1000, 1000), (0, 0), None),
    ],
)
def test_steps_of_sizes(full: tuple[int, int], level: tuple[int, int], step: float | None) -> None:
    assert level_step(full, level) == step


@given(st.integers(300, 90_000), st.integers(300, 90_000), st.sampled_from([2, 4, 8, 16]), st.booleans())
def test_whole_steps_are_found_however_the_remainder_is_treated(
    width: int, height: int, step: int, up: bool
) -> None:
    level = tuple(-(-n // step) if up else n // step for n in (width, height))
    assert level_step((width, height), (level[0], level[1])) == step


def test_padding_to_tiles_is_allowed_for() -> None:
    full, tile = (6656, 2560), (512, 512)
    sizes = [full, (3584, 1536), (2048, 1024), (1024, 512), (512, 512)]
    levels = usable_levels([Stored(size, tile) for size in sizes])
    assert [(level.step, level.size) for level in levels] == [
        (1, full),
        (2, (3328, 1280)),
        (4, (1664, 640)),
        (8, (832, 320)),
        (16, (416, 160)),
    ]
    assert len(usable_levels([Stored(size) for size in sizes])) == 1
    # A single tile explains every coarse step; without levels between there is nothing to go by.
    assert len(usable_levels([Stored(full, tile), Stored((512, 512), tile)])) == 1


def test_levels_in_any_order_and_levels_that_are_none() -> None:
    stored = [Stored(size) for size in ((1000, 800), (125, 100), (500, 400), (1000, 800), (400, 400))]
    assert [(level.index, level.step) for level in usable_levels(stored)] == [(0, 1), (2, 2), (1, 8)]


@pytest.mark.parametrize("step", [2, 3, 4, 8])
@pytest.mark.parametrize("corner", ["first", "last"])
def test_every_nth_pixel_is_shifted_by_half_of_what_is_left_out(step: int, corner: str) -> None:
    image = noise(64 * step, 64 * step, seed=step)
    at = 0 if corner == "first" else step - 1
    found = shift([(image[at::step, at::step], halved(image, step))])
    assert found is not None
    expected = (1 if corner == "last" else -1) * (step - 1) / (2 * step)
    assert found == pytest.approx((expected, expected), abs=0.09)
    assert shift([(halved(image, step), halved(image, step))]) == pytest.approx((0, 0), abs=1e-6)


def test_another_picture_is_not_a_level_and_glass_is_not_shifted() -> None:
    assert shift([(noise(64, 64, seed=1), noise(64, 64, seed=2))]) is None
    glass = np.full((64, 64, 3), 240, np.uint8)
    assert shift([(glass, glass)]) == (0, 0)
    assert shift([(glass, glass // 2)]) is None
    assert shift([]) == (0, 0)
    # Channels in another order have the same grey values.
    pink = np.clip(noise(64, 64).astype(int) // 4 + (150, 90, 130), 0, 255).astype(np.uint8)
    assert shift([(pink, pink)]) is not None
    assert shift([(pink[..., ::-1], pink)]) is None


def _first(image: Pixels, step: int) -> Pixels:
    return np.ascontiguousarray(
        image[: image.shape[0] // step * step : step, : image.shape[1] // step * step : step]
    )


def test_a_shifted_level_is_used_only_for_much_coarser_grids(tmp_path: Path) -> None:
    image = noise(512, 768, seed=4)
    import tifffile

    path = tmp_path / "a.tif"
    with tifffile.TiffWriter(path) as tiff:
        tiff.write(image, tile=(64, 64), photometric="rgb", metadata=None)
        tiff.write(_first(image, 4), tile=(64, 64), photometric="rgb", subfiletype=1, metadata=None)
    with open_slide(path) as reader:
        assert reader.level_downsamples == (1.0, 4.0)
        assert np.abs(reader.read_grid(0, 0, 192, 128, 4.0).astype(int) - halved(image, 4)).max() <= 1
        coarse = reader.read_grid(0, 0, 24, 16, 32.0).astype(float)
        assert np.array_equal(coarse, halved(_first(image, 4), 8))


def test_a_level_of_another_image_is_never_used(tmp_path: Path) -> None:
    image = noise(512, 768, seed=4)
    path = write_plain(tmp_path / "a.tif", image, (2, 4), level=lambda level: level[::-1].copy())
    with open_slide(path) as reader:
        for step in (2, 4, 8):
            read = reader.read_grid(0, 0, 768 // step, 512 // step, float(step)).astype(int)
            assert np.abs(read - halved(image, step)).max() <= 1
