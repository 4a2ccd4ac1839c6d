"""Slides of any size for measuring: real images side by side in a JPEG pyramid."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

import cv2
import numpy as np
import tifffile
from numpy.typing import NDArray

_TILE = 512
_STEPS = (1, 4, 16)
_QUALITY = 90


def pictures(folder: Path) -> list[NDArray[np.uint8]]:
    """The squares of 512 pixels that the images of a folder hold, one after the other."""
    found = []
    for file in sorted(folder.rglob("*")):
        if file.suffix.lower() not in {".png", ".jpg", ".tif", ".tiff"} or "labels" in file.parts:
            continue
        image = cv2.imread(str(file), cv2.IMREAD_COLOR)
        if image is None:
            continue
        for y in range(0, image.shape[0] - _TILE + 1, _TILE):
            for x in range(0, image.shape[1] - _TILE + 1, _TILE):
                found.append(np.ascontiguousarray(image[y : y + _TILE, x : x + _TILE, ::-1], np.uint8))
    return found


def write_mosaic(path: Path, side: int, tiles: Sequence[NDArray[np.uint8]], mpp: float, seed: int) -> None:
    """A square slide of about ``side`` pixels, tissue everywhere; levels 1, 4 and 16, the same for a seed."""
    across = max(1, round(side / _TILE))
    generator = np.random.default_rng(seed)
    chosen = generator.integers(len(tiles), size=(across, across))
    turned = generator.integers(4, size=(across, across))

    def picture(row: int, column: int) -> NDArray[np.uint8]:
        return np.ascontiguousarray(np.rot90(tiles[chosen[row, column]], turned[row, column]))

    def level(step: int) -> Iterator[NDArray[np.uint8]]:
        for row in range(0, across, step):
            for column in range(0, across, step):
                out = np.full((_TILE, _TILE, 3), 255, np.uint8)
                part = _TILE // step
                for y in range(row, min(row + step, across)):
                    for x in range(column, min(column + step, across)):
                        small = picture(y, x)
                        if step > 1:
                            small = np.asarray(
                                cv2.resize(small, (part, part), interpolation=cv2.INTER_AREA), np.uint8
                            )
                        top, left = (y - row) * part, (x - column) * part
                        out[top : top + part, left : left + part] = small
                yield out

    part = path.with_name(path.name + ".part")
    with tifffile.TiffWriter(part, ome=True, bigtiff=True) as tiff:
        for step in _STEPS:
            length = across * _TILE // step
            first = {
                "subifds": len(_STEPS) - 1,
                "metadata": {
                    "PhysicalSizeX": mpp,
                    "PhysicalSizeXUnit": "µm",
                    "PhysicalSizeY": mpp,
                    "PhysicalSizeYUnit": "µm",
                },
            }
            tiff.write(
                level(step),
                shape=(length, length, 3),
                dtype=np.uint8,
                tile=(_TILE, _TILE),
                photometric="rgb",
                compression="jpeg",
                compressionargs={"level": _QUALITY},
                **(first if step == 1 else {"subfiletype": 1}),
            )
    part.replace(path)
