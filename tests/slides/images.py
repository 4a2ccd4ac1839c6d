"""Images and pyramids that tests of several readers write."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import tifffile
from numpy.typing import NDArray
from scipy import ndimage

from cellgennet_qupath.slides.reader import open_slide

Pixels = NDArray[np.uint8]


def shrink(image: Pixels, step: int) -> Pixels:
    """The mean of blocks, the remainder dropped, as pyramids are made."""
    rows, columns = image.shape[0] // step, image.shape[1] // step
    blocks = image[: rows * step, : columns * step].reshape(rows, step, columns, step, -1)
    return np.asarray(np.rint(blocks.mean(axis=(1, 3))), np.uint8)


def write_pyramid(path: Path, image: Pixels, steps: tuple[int, ...] = (2, 4), **first: object) -> Path:
    with tifffile.TiffWriter(path) as tiff:
        tiff.write(image, photometric="rgb", tile=(64, 64), subifds=len(steps), **first)
        for step in steps:
            tiff.write(shrink(image, step), photometric="rgb", tile=(64, 64), subfiletype=1)
    return path


def noise(rows: int, columns: int, seed: int = 0) -> Pixels:
    smooth = ndimage.gaussian_filter(np.random.default_rng(seed).normal(size=(rows, columns, 3)), (2, 2, 0))
    return np.clip(128 + 300 * smooth, 0, 255).astype(np.uint8)


RGB = noise(70, 90, seed=3)


def read(path: Path, series: int = 0) -> Pixels:
    with open_slide(path, series) as reader:
        return reader.read_grid(0, 0, reader.width, reader.height, 1.0)
