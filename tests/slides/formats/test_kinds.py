"""One test for all kinds of files: size, pixel size, levels, and things where they are at every scale."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy import ndimage

from cellgennet_qupath.geometry.coordinates import grid_size
from cellgennet_qupath.slides.reader import open_slide

from .kinds import KINDS, Kind

SIZE = (1003, 762)
"""Width and height: no multiple of a tile or of a step."""

PARAMETERS = pytest.mark.parametrize("kind", KINDS, ids=[kind.name for kind in KINDS])


def marked() -> tuple[NDArray[np.uint8], NDArray[np.float64]]:
    """Dark spots on glass, and the (x, y) of their centres."""
    rng = np.random.default_rng(5)
    grid = np.stack(np.meshgrid(np.linspace(110, 890, 4), np.linspace(110, 650, 3)), axis=-1).reshape(-1, 2)
    centres = grid + rng.uniform(-20, 20, grid.shape)
    y, x = np.mgrid[: SIZE[1], : SIZE[0]] + 0.5
    dark = sum(np.exp(-((x - cx) ** 2 + (y - cy) ** 2) / (2 * 12.0**2)) for cx, cy in centres)
    colour = np.array((160, 200, 90))
    return np.rint(243 - colour * np.clip(dark, 0, 1)[..., None]).astype(np.uint8), centres


@PARAMETERS
def test_size_pixel_size_and_levels(kind: Kind, tmp_path: Path) -> None:
    pytest.importorskip(kind.needs or "numpy", reason=f"{kind.needs} writes this kind of file")
    image, _ = marked()
    with open_slide(kind.write(tmp_path, image)) as reader:
        assert (reader.width, reader.height) == SIZE
        assert reader.mpp == (None if kind.mpp is None else pytest.approx((kind.mpp, kind.mpp)))
        assert reader.level_downsamples == kind.steps
        assert reader.backend == kind.reader
        read = reader.read_grid(0, 0, *SIZE, 1.0)
    difference = np.abs(read.astype(int) - image)
    if kind.exact:
        assert difference.max() == 0
    else:
        assert difference.mean() < 1 and difference.max() < 24


@PARAMETERS
def test_marks_are_where_they_were_drawn_at_every_level(kind: Kind, tmp_path: Path) -> None:
    pytest.importorskip(kind.needs or "numpy", reason=f"{kind.needs} writes this kind of file")
    image, centres = marked()
    with open_slide(kind.write(tmp_path, image)) as reader:
        for downsample in sorted({*map(float, kind.steps), 2.0, 3.3, 4.0, 8.0}):
            columns, rows = grid_size(*SIZE, downsample)
            dark = 243.0 - reader.read_grid(0, 0, columns, rows, downsample)[..., 1].astype(float)
            for x, y in centres:
                left, top = int((x - 48) / downsample), int((y - 48) / downsample)
                side = round(96 / downsample) + 1
                part = np.clip(dark[top : top + side, left : left + side] - 12, 0, None)
                down, across = ndimage.center_of_mass(part)
                found = ((across + left + 0.5) * downsample, (down + top + 0.5) * downsample)
                assert found == pytest.approx((x, y), abs=0.25 + 0.06 * downsample), downsample
