"""Views of images: what is read is what a picture has that was changed for real."""

from __future__ import annotations

import itertools
import pickle
from pathlib import Path

import numpy as np
import pytest
import tifffile
from numpy.typing import NDArray

from cellgennet_qupath.slides.reader import open_slide
from cellgennet_qupath.slides.view import AS_STORED, FLIPS, QUARTER_TURNS, View, reordered

Pixels = NDArray[np.uint8]
EVERY = [
    View(transposed, (across, down))
    for transposed, across, down in itertools.product((False, True), repeat=3)
]


def changed(image: Pixels, view: View) -> Pixels:
    image = image.transpose(1, 0, 2) if view.transposed else image
    image = image[:, ::-1] if view.mirrored[0] else image
    image = image[::-1] if view.mirrored[1] else image
    return np.ascontiguousarray(image[..., list(view.channels)])


def picture(width: int = 90, height: int = 60) -> Pixels:
    return np.random.default_rng(0).integers(0, 255, (height, width, 3)).astype(np.uint8)


def pyramid(path: Path, image: Pixels) -> Path:
    with tifffile.TiffWriter(path) as tiff:
        tiff.write(image, photometric="rgb", tile=(32, 32), subifds=1, metadata={"axes": "YXS"})
        tiff.write(np.ascontiguousarray(image[::2, ::2]), photometric="rgb", tile=(32, 32), subfiletype=1)
    return path


def test_quarter_turns_and_flips_are_those_of_qupath() -> None:
    """``RotatedImageServer`` and ``FlippedImageServer``; turns are clockwise."""
    image = picture()
    for name, quarters in (("ROTATE_NONE", 0), ("ROTATE_90", 1), ("ROTATE_180", 2), ("ROTATE_270", 3)):
        np.testing.assert_array_equal(changed(image, QUARTER_TURNS[name]), np.rot90(image, -quarters))
    np.testing.assert_array_equal(changed(image, FLIPS["HORIZONTAL"]), np.fliplr(image))
    np.testing.assert_array_equal(changed(image, FLIPS["VERTICAL"]), np.flipud(image))
    np.testing.assert_array_equal(changed(image, FLIPS["BOTH"]), np.flipud(np.fliplr(image)))


@pytest.mark.parametrize("order", ["RGB", "RBG", "GRB", "GBR", "BRG", "BGR"])
def test_the_letters_of_an_order_are_the_channels_of_the_file(order: str) -> None:
    view = reordered(order)
    assert view is not None
    stored = dict(zip("RGB", picture().transpose(2, 0, 1), strict=True))
    expected = np.stack([stored[letter] for letter in order], axis=-1)
    np.testing.assert_array_equal(changed(picture(), view), expected)
    assert reordered("CMY") is reordered("RG") is reordered("") is None


def test_a_view_of_a_view_is_a_view() -> None:
    image = picture()
    for first, second in itertools.product(EVERY, repeat=2):
        np.testing.assert_array_equal(
            changed(changed(image, first), second), changed(image, first.then(second))
        )
    both = View(channels=(1, 2, 0)).then(View(channels=(1, 2, 0)))
    assert both.channels == (2, 0, 1)


@pytest.mark.parametrize("view", EVERY, ids=str)
def test_every_window_is_that_of_the_changed_picture(tmp_path: Path, view: View) -> None:
    image = picture()
    view = view.then(View(channels=(2, 1, 0)))
    expected = changed(image, view)
    with open_slide(pyramid(tmp_path / "a.tif", image), view=view) as reader:
        assert (reader.height, reader.width) == expected.shape[:2]
        np.testing.assert_array_equal(reader.read_grid(0, 0, reader.width, reader.height, 1.0), expected)
        np.testing.assert_array_equal(reader.read_grid(7, 11, 13, 17, 1.0), expected[11:28, 7:20])
        with pickle.loads(pickle.dumps(reader)) as again:  # noqa: S301
            np.testing.assert_array_equal(again.read_grid(3, 3, 9, 9, 1.0), expected[3:12, 3:12])
        real = pyramid(tmp_path / "real.tif", expected)
        with open_slide(real) as other:
            coarse = [one.read_grid(2, 1, 20, 20, 3.0) for one in (reader, other)]
        if view.mirrored == (False, False):  # else subsampling began at another pixel
            np.testing.assert_array_equal(coarse[0], coarse[1])


def test_levels_that_would_begin_inside_a_pixel_are_left_out(tmp_path: Path) -> None:
    odd = pyramid(tmp_path / "odd.tif", picture(91, 60))
    for view, levels in ((AS_STORED, 2), (View(transposed=True), 2), (FLIPS["HORIZONTAL"], 1)):
        with open_slide(odd, view=view) as reader:
            assert len(reader.level_downsamples) == levels
