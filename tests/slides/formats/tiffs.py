"""Writers of one image as TIFF, in the layouts that slide scanners and programs use."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import cv2
import imagecodecs
import numpy as np
import tifffile
from numpy.typing import NDArray

Pixels = NDArray[Any]
"""Usually uint8."""
TILE = (128, 128)
JPEG: dict[str, Any] = {"compression": "jpeg", "compressionargs": {"level": 95}}


def halved(image: Pixels, step: int) -> Pixels:
    """The mean of blocks, the remainder dropped, as pyramids are made."""
    rows, columns = image.shape[0] // step, image.shape[1] // step
    blocks = image[: rows * step, : columns * step].reshape(rows, step, columns, step, -1)
    return np.asarray(np.rint(blocks.mean(axis=(1, 3))), image.dtype)


def padded(image: Pixels) -> Pixels:
    """An image filled up with glass to whole tiles."""
    rows, columns = (-(-n // TILE[0]) * TILE[0] for n in image.shape[:2])
    out = np.full((rows, columns, 3), 243, np.uint8)
    out[: image.shape[0], : image.shape[1]] = image
    return out


def aperio(image: Pixels, mpp: str = "0.2500") -> str:
    """The description of an SVS."""
    size = f"{image.shape[1]}x{image.shape[0]}"
    return f"Aperio Image Library v12.0.15 \r\n{size} [0,0 {size}] (128x128)|AppMag = 40|MPP = {mpp}"


def write_svs(
    path: Path,
    image: Pixels,
    steps: Sequence[int] = (4, 8),
    *,
    level: Callable[[Pixels], Pixels] = lambda image: image,
    thumbnail: bool = True,
    reduced: bool = False,
    mpp: str = "0.2500",
    planes: int = 1,
    **options: Any,
) -> Path:
    """An SVS: full resolution, a thumbnail in strips, then the levels.

    level   : what is done to each level before it is written.
    reduced : flag levels as reduced images.
    planes  : focal planes, of which the first is the image and others are black.
    """
    common: dict[str, Any] = {"photometric": "rgb", "metadata": None, "software": False}
    tiled = common | {"tile": TILE} | (options or JPEG)
    with tifffile.TiffWriter(path) as tiff:
        tiff.write(image, description=aperio(image, mpp), **tiled)
        if thumbnail:
            small = cv2.resize(image, (201, 151), interpolation=cv2.INTER_AREA)
            tiff.write(small, rowsperstrip=16, description=aperio(image, mpp), **common)
        for _ in range(planes - 1):
            tiff.write(np.zeros_like(image), description=aperio(image, mpp), **tiled)
        for step in steps:
            flag = {"subfiletype": 1} if reduced else {}
            tiff.write(level(halved(image, step)), description=aperio(image, mpp), **tiled, **flag)
            for _ in range(planes - 1):
                black = np.zeros_like(level(halved(image, step)))
                tiff.write(black, description=aperio(image, mpp), **tiled, **flag)
    return path


def write_svs_jpeg2000(path: Path, image: Pixels, compression: int) -> Path:
    """An SVS whose tiles are lossless JPEG 2000 in YCbCr (33003) or RGB (33005)."""
    kinds = {33003: cv2.COLOR_RGB2YCrCb, 33005: None}
    code = kinds[compression]
    stored: Pixels = image if code is None else cv2.cvtColor(image, code)[..., [0, 2, 1]]
    with tifffile.TiffWriter(path) as tiff:
        for level in (stored, halved(stored, 4)):
            tiff.write(
                _jpeg2000(level),
                shape=level.shape,
                dtype="uint8",
                tile=TILE,
                photometric="rgb",
                compression=compression,
                metadata=None,
                description=aperio(image),
            )
    return path


def _jpeg2000(image: Pixels) -> Iterator[bytes]:
    whole = padded(image)
    for y in range(0, whole.shape[0], TILE[0]):
        for x in range(0, whole.shape[1], TILE[1]):
            tile = np.ascontiguousarray(whole[y : y + TILE[0], x : x + TILE[1]])
            yield bytes(imagecodecs.jpeg2k_encode(tile, codecformat="j2k", mct=False, reversible=True))


def write_ome(
    path: Path,
    image: Pixels,
    steps: Sequence[int] = (2, 4, 8),
    level: Callable[[Pixels], Pixels] = lambda image: image,
    **options: Any,
) -> Path:
    """An OME-TIFF whose levels are SubIFDs."""
    stated = {"axes": "YXS", "PhysicalSizeX": 0.25, "PhysicalSizeY": 0.25}
    with tifffile.TiffWriter(path, ome=True) as tiff:
        tiff.write(image, photometric="rgb", tile=TILE, subifds=len(steps), metadata=stated, **options)
        for step in steps:
            tiff.write(level(halved(image, step)), photometric="rgb", tile=TILE, subfiletype=1, **options)
    return path


def write_channels(path: Path, image: Pixels) -> Path:
    """An OME-TIFF of three separate channels, with SubIFDs, in planes of their own."""
    stated = {"axes": "CYX", "PhysicalSizeX": 0.25, "PhysicalSizeY": 0.25}
    with tifffile.TiffWriter(path, ome=True) as tiff:
        common: dict[str, Any] = {"photometric": "rgb", "planarconfig": "separate", "tile": TILE}
        tiff.write(image.transpose(2, 0, 1), subifds=1, metadata=stated, **common)
        tiff.write(halved(image, 2).transpose(2, 0, 1), subfiletype=1, **common)
    return path


def write_plain(
    path: Path,
    image: Pixels,
    steps: Sequence[int],
    level: Callable[[Pixels], Pixels] = lambda image: image,
    *,
    reduced: bool = True,
    **options: Any,
) -> Path:
    """A TIFF with a page per level."""
    levels = [(image, 0), *((level(halved(image, step)), int(reduced)) for step in steps)]
    with tifffile.TiffWriter(path) as tiff:
        for pixels, flag in levels:
            tiff.write(
                pixels.transpose(2, 0, 1) if options.get("planarconfig") == "separate" else pixels,
                photometric="rgb",
                tile=TILE,
                subfiletype=flag,
                metadata=None,
                resolution=(40000, 40000),
                resolutionunit="CENTIMETER",
                **options,
            )
    return path


NM = 250
"""Nanometres per pixel of an SCN."""
SCN_CORNER = (1024, 640)
"""(x, y) of the first scanned area on the canvas, in pixels."""
SCN_CANVAS = (6400, 4800)


def write_scn(
    path: Path, areas: Sequence[tuple[Pixels, tuple[int, int]]], steps: Sequence[int] = (4,)
) -> Path:
    """A Leica SCN: a picture of the whole glass, then each scanned area with its levels.

    areas : pixels and (x, y) of the corner on the canvas, in pixels.
    """
    width, height = SCN_CANVAS
    ifd = 0
    images = []

    def image(pages: list[Pixels], x: int, y: int, w: int, h: int, power: int) -> None:
        nonlocal ifd
        dimensions = "".join(
            f'<dimension sizeX="{p.shape[1]}" sizeY="{p.shape[0]}" r="{r}" ifd="{ifd + r}"/>'
            for r, p in enumerate(pages)
        )
        ifd += len(pages)
        images.append(
            f'<image name="image" uuid="1"><creationDate>2026-01-01T00:00:00Z</creationDate>'
            f'<device model="Leica SCN400" version="1"/><pixels sizeX="{pages[0].shape[1]}" '
            f'sizeY="{pages[0].shape[0]}">{dimensions}</pixels><view sizeX="{w * NM}" sizeY="{h * NM}" '
            f'offsetX="{x * NM}" offsetY="{y * NM}" spacingZ="0"/><scanSettings><objectiveSettings>'
            f"<objective>{power}</objective></objectiveSettings><illuminationSettings><numericalAperture>0.65"
            "</numericalAperture><illuminationSource>brightfield</illuminationSource></illuminationSettings>"
            "</scanSettings></image>"
        )

    glass = np.full((height // 32, width // 32, 3), 240, np.uint8)
    image([glass], 0, 0, width, height, 1)
    pages = [glass]
    for pixels, (x, y) in areas:
        levels = [pixels, *(halved(pixels, step) for step in steps)]
        pages += levels
        image(levels, x, y, pixels.shape[1], pixels.shape[0], 40)
    xml = (
        '<?xml version="1.0"?><scn xmlns="http://www.leica-microsystems.com/scn/2010/10/01"><collection '
        f'name="slide" uuid="1" sizeX="{width * NM}" sizeY="{height * NM}"><barcode>x</barcode>'
        f"{''.join(images)}</collection></scn>"
    )
    with tifffile.TiffWriter(path, bigtiff=True) as tiff:
        for number, page in enumerate(pages):
            tiff.write(
                page,
                tile=TILE,
                photometric="rgb",
                metadata=None,
                software=False,
                description=xml if number == 0 else None,
                **JPEG,
            )
    return path
