"""Orientation tags are reported, and do not move pixels."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import tifffile
from PIL import Image

from cellgennet_qupath.slides.orientation import orientation_of
from cellgennet_qupath.slides.reader import open_slide

PIXELS = np.random.default_rng(0).integers(0, 256, (20, 30, 3), np.uint8)


def write(path: Path, orientation: int) -> None:
    if path.suffix == ".tif":
        tifffile.imwrite(path, PIXELS, photometric="rgb", extratags=[(274, 3, 1, orientation, True)])
        return
    exif = Image.Exif()
    exif[274] = orientation
    Image.fromarray(PIXELS).save(path, exif=exif, lossless=True)


@pytest.mark.parametrize("ending", ["tif", "png", "jpg", "webp"])
@pytest.mark.parametrize(("orientation", "words"), [(3, "turned by 180°"), (6, "turned by 90°"), (1, "")])
def test_an_image_is_read_as_stored(tmp_path: Path, ending: str, orientation: int, words: str) -> None:
    path = tmp_path / f"a.{ending}"
    write(path, orientation)
    assert orientation_of(path) == orientation
    with open_slide(path) as reader:
        assert (reader.width, reader.height) == (30, 20)
        if ending != "jpg":
            assert np.array_equal(reader.read_grid(0, 0, 30, 20, 1.0), PIXELS)
        assert bool(reader.notes) == bool(words)
        assert not words or reader.notes[0].endswith(f"show it {words}")


def test_what_states_none_is_upright(tmp_path: Path) -> None:
    np.save(tmp_path / "a.npy", PIXELS)
    (tmp_path / "a.png").write_bytes(b"\x89PNG eXIfMM")
    (tmp_path / "a.tif").write_bytes(b"MM\0*\0\0")
    for name in ("a.npy", "a.png", "a.tif", "missing.tif", "."):
        assert orientation_of(tmp_path / name) == 1
