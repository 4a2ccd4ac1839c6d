"""Reading samples: any cut gives the same ones, and things stay where they are."""

from __future__ import annotations

import functools
import pickle
import tempfile
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from scipy import ndimage

from cellgennet_qupath.geometry.coordinates import grid_size
from cellgennet_qupath.slides.reader import SlideReader, open_slide

from .images import Pixels, noise, shrink, write_pyramid


@functools.cache
def pyramid() -> Path:
    """One pyramid of odd size for all examples (a temporary folder that lives as long as the tests)."""
    folder = Path(_FOLDER.name)
    return write_pyramid(folder / "odd.ome.tif", noise(301, 423), (2, 4))


_FOLDER = tempfile.TemporaryDirectory()


@functools.cache
def opened() -> SlideReader:
    return open_slide(pyramid())


@functools.cache
def whole(downsample: float) -> Pixels:
    reader = opened()
    columns, rows = grid_size(reader.width, reader.height, downsample)
    return reader.read_grid(-20, -20, columns + 40, rows + 40, downsample, fill=7)


DOWNSAMPLES = st.sampled_from([0.5, 0.7, 1.0, 1.3, 1.7, 2.0, 2.02, 3.0, 4.0, 5.5, 9.0])


@settings(max_examples=80)
@given(
    downsample=DOWNSAMPLES,
    left=st.integers(0, 500),
    top=st.integers(0, 500),
    columns=st.integers(1, 90),
    rows=st.integers(1, 90),
)
def test_any_cut_of_the_grid_gives_the_same_samples(
    downsample: float, left: int, top: int, columns: int, rows: int
) -> None:
    plane = whole(downsample)
    left, top = min(left, plane.shape[1] - columns), min(top, plane.shape[0] - rows)
    if left < 0 or top < 0:
        columns, rows = columns + min(left, 0), rows + min(top, 0)
        left, top = max(left, 0), max(top, 0)
    tile = opened().read_grid(left - 20, top - 20, columns, rows, downsample, fill=7)
    assert np.array_equal(tile, plane[top : top + rows, left : left + columns])


def test_requests_too_large_for_one_reading_are_the_same_in_halves(monkeypatch: pytest.MonkeyPatch) -> None:
    for downsample in (1.0, 1.7, 6.0):
        expected = whole(downsample)
        monkeypatch.setattr("cellgennet_qupath.slides.reader._LARGEST_WINDOW", 900)
        halved = opened().read_grid(-20, -20, expected.shape[1], expected.shape[0], downsample, fill=7)
        monkeypatch.undo()
        assert np.array_equal(halved, expected)


@pytest.mark.parametrize("downsample", [0.5, 1.0, 1.7, 2.0, 2.6, 4.0, 5.0])
def test_outside_the_image_is_fill_and_nothing_inside_is(tmp_path: Path, downsample: float) -> None:
    path = write_pyramid(tmp_path / "grey.tif", np.full((101, 67, 3), 90, np.uint8))
    with open_slide(path) as reader:
        columns, rows = grid_size(67, 101, downsample)
        out = reader.read_grid(-3, -2, columns + 7, rows + 9, downsample, fill=200)
    inside = np.zeros(out.shape[:2], bool)
    inside[2 : 2 + rows, 3 : 3 + columns] = True
    assert (out[inside] == 90).all()
    assert (out[~inside] == 200).all()


def test_far_outside_is_all_fill() -> None:
    assert (opened().read_grid(10_000, -500, 8, 5, 1.7, fill=3) == 3).all()
    assert opened().read_grid(0, 0, 0, 4, 1.0).shape == (4, 0, 3)


def test_stored_levels_are_copied(tmp_path: Path) -> None:
    image = noise(256, 192)
    with open_slide(write_pyramid(tmp_path / "p.tif", image)) as reader:
        assert reader.level_downsamples == (1.0, 2.0, 4.0)
        assert np.array_equal(reader.read_grid(0, 0, 192, 256, 1.0), image)
        assert np.array_equal(reader.read_grid(0, 0, 96, 128, 2.0), shrink(image, 2))
        assert np.array_equal(reader.read_grid(5, 7, 20, 30, 4.0), shrink(image, 4)[7:37, 5:25])


@functools.cache
def blobs() -> tuple[Path, NDArray[np.float64]]:
    """Gaussian blobs on white, and their centres in full-resolution coordinates."""
    rng = np.random.default_rng(4)
    ys, xs = np.mgrid[0:5, 0:6]
    centres = np.stack([xs.ravel(), ys.ravel()], 1) * 75.0 + 45 + rng.uniform(-8, 8, (30, 2))
    y, x = np.mgrid[0:403, 0:477] + 0.5
    dark = sum(np.exp(-((x - cx) ** 2 + (y - cy) ** 2) / (2 * 6.0**2)) for cx, cy in centres)
    image = np.rint(255 - 220 * np.clip(dark, 0, 1))[..., None].repeat(3, 2).astype(np.uint8)
    return write_pyramid(Path(_FOLDER.name) / "blobs.tif", image), centres


@pytest.mark.parametrize("downsample", [0.5, 1.0, 1.7, 2.0, 3.0, 4.3])
def test_things_stay_where_they_are(downsample: float) -> None:
    path, centres = blobs()
    with open_slide(path) as reader:
        columns, rows = grid_size(reader.width, reader.height, downsample)
        image = reader.read_grid(-6, -6, columns + 12, rows + 12, downsample)
    dark = 255.0 - image[..., 0]
    for x, y in centres:
        reach = 26 / downsample
        col, row = x / downsample + 6, y / downsample + 6
        r0, c0 = int(row - reach), int(col - reach)
        part = dark[r0 : int(row + reach) + 1, c0 : int(col + reach) + 1]
        cy, cx = ndimage.center_of_mass(part)
        near = max(0.1, 0.03 * downsample)
        assert (cx + c0 - 6 + 0.5) * downsample == pytest.approx(x, abs=near)
        assert (cy + r0 - 6 + 0.5) * downsample == pytest.approx(y, abs=near)


def test_a_pickled_reader_opens_the_file_again() -> None:
    copy = pickle.loads(pickle.dumps(opened()))  # noqa: S301
    with copy:
        assert np.array_equal(copy.read_grid(3, 4, 30, 20, 1.7), opened().read_grid(3, 4, 30, 20, 1.7))


def test_a_real_svs(shared: Path) -> None:
    with open_slide(shared / "data" / "slides" / "CMU-1-Small-Region.svs") as reader:
        assert (reader.width, reader.height) == (2220, 2967)
        assert reader.mpp == pytest.approx((0.499, 0.499))
        right = reader.read_grid(2200, 2950, 40, 40, 1.0)
        assert (right[17:] == 255).all() and (right[:, 20:] == 255).all()
        assert right[:17, :20].min() < 250
