"""Every kind of slide file that this package reads, each with a writer of any image as such a file."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from . import others, tiffs
from .tiffs import Pixels, padded

Writer = Callable[[Path, Pixels], Path]


@dataclass(frozen=True)
class Kind:
    """A kind of file.

    name   : as the documentation's table has it.
    write  : writes an image into a folder; returns the path to open.
    steps  : of the levels that can be used.
    exact  : full resolution is stored without loss.
    mpp    : µm per pixel that the file states.
    needs  : the module that writes it, where it is not always installed.
    reader : the library that reads it.
    """

    name: str
    write: Writer
    steps: tuple[int, ...] = (1,)
    exact: bool = True
    mpp: float | None = 0.25
    needs: str = ""
    reader: str = "tifffile"


def _two_areas(folder: Path, image: Pixels) -> Path:
    middle = image.shape[1] // 2 // 8 * 8
    x, y = tiffs.SCN_CORNER
    return tiffs.write_scn(
        folder / "a.scn", [(image[:, :middle], (x, y)), (image[:, middle:], (x + middle, y))]
    )


def _sixteen_bits(folder: Path, image: Pixels) -> Path:
    return tiffs.write_plain(folder / "a.tif", image.astype(np.uint16) * 257, (2,))


def _ranged(folder: Path, image: Pixels) -> Path:
    tags = [(number, 3, 3, (value,) * 3, True) for number, value in ((340, 60), (341, 200))]
    return tiffs.write_plain(folder / "a.tif", image, (2,), extratags=tags)


def _tiff(name: str, steps: tuple[int, ...], *, exact: bool = True, **options: Any) -> Kind:
    return Kind(
        name,
        lambda d, i: tiffs.write_plain(d / "a.tif", i, steps[1:], **options),
        steps,
        exact,
    )


KINDS = (
    Kind("OME-TIFF, levels in SubIFDs", lambda d, i: tiffs.write_ome(d / "a.ome.tif", i), (1, 2, 4, 8)),
    Kind(
        "OME-TIFF, levels padded to tiles",
        lambda d, i: tiffs.write_ome(d / "a.ome.tif", i, (2, 4), padded),
        (1, 2, 4),
    ),
    Kind("OME-TIFF, channels apart", lambda d, i: tiffs.write_channels(d / "a.ome.tif", i), (1, 2)),
    Kind(
        "OME-TIFF, JPEG",
        lambda d, i: tiffs.write_ome(d / "a.ome.tif", i, (4,), **tiffs.JPEG),
        (1, 4),
        exact=False,
    ),
    Kind("SVS, JPEG", lambda d, i: tiffs.write_svs(d / "a.svs", i), (1, 4, 8), exact=False),
    Kind(
        "SVS, JPEG 2000 in RGB",
        lambda d, i: tiffs.write_svs_jpeg2000(d / "a.svs", i, 33005),
        (1, 4),
    ),
    Kind(
        "SVS, JPEG 2000 in YCbCr",
        lambda d, i: tiffs.write_svs_jpeg2000(d / "a.svs", i, 33003),
        (1, 4),
        exact=False,
    ),
    Kind(
        "SVS, levels padded to tiles",
        lambda d, i: tiffs.write_svs(d / "a.svs", i, (2, 4, 8), level=padded, compression="zlib"),
        (1, 2, 4, 8),
    ),
    Kind(
        "SVS without a thumbnail",
        lambda d, i: tiffs.write_svs(d / "a.svs", i, thumbnail=False, compression="zlib"),
        (1, 4, 8),
    ),
    Kind(
        "SVS, levels flagged as reduced",
        lambda d, i: tiffs.write_svs(d / "a.svs", i, reduced=True, compression="zlib"),
        (1, 4, 8),
    ),
    Kind(
        "SVS with a decimal comma",
        lambda d, i: tiffs.write_svs(d / "a.svs", i, mpp="0,2500", compression="zlib"),
        (1, 4, 8),
    ),
    Kind(
        "SVS with three focal planes",
        lambda d, i: tiffs.write_svs(d / "a.svs", i, planes=3, compression="zlib"),
        (1, 4, 8),
    ),
    _tiff("TIFF, levels by 2", (1, 2, 4, 8)),
    _tiff("TIFF, levels by 4", (1, 4, 16)),
    _tiff("TIFF, levels by 8", (1, 8)),
    _tiff("TIFF, levels by 2 then 4", (1, 2, 8), reduced=False),
    _tiff("TIFF, levels padded to tiles", (1, 2, 4, 8), level=padded),
    _tiff("TIFF, planar", (1, 2), planarconfig="separate"),
    _tiff("TIFF, JPEG XL", (1, 2), compression="jpegxl", compressionargs={"lossless": True}),
    _tiff("TIFF, WebP", (1, 2), compression="webp", compressionargs={"lossless": True}),
    _tiff("TIFF, ZSTD", (1, 2), compression="zstd"),
    _tiff("TIFF, LZW", (1, 2), compression="lzw"),
    Kind("TIFF, 16 bits", _sixteen_bits, (1, 2)),
    Kind("TIFF, 8 bits with a stated range", _ranged, (1, 2)),
    Kind(
        "TIFF by libvips",
        lambda d, i: others.write_vips(d / "a.tif", i, "mean"),
        (1, 2, 4, 8),
        needs="pyvips",
    ),
    Kind(
        "TIFF by libvips, SubIFDs",
        lambda d, i: others.write_vips(d / "a.tif", i, "mean", subifd=True),
        (1, 2, 4, 8),
        needs="pyvips",
    ),
    Kind(
        'TIFF by libvips, levels "nearest"',
        lambda d, i: others.write_vips(d / "a.tif", i, "nearest"),
        (1, 2, 4, 8),
        needs="pyvips",
    ),
    Kind("Leica SCN, two areas", _two_areas, (1, 4), exact=False),
    Kind(
        "DICOM",
        lambda d, i: others.write_dicom(d / "slide", i),
        (1, 2, 4, 8),
        needs="wsidicom",
        reader="wsidicom",
    ),
    Kind(
        "OME-Zarr 0.4",
        lambda d, i: others.write_zarr(d / "a.ome.zarr", i, "0.4"),
        (1, 2, 4, 8),
        reader="zarr",
    ),
    Kind(
        "OME-Zarr 0.5",
        lambda d, i: others.write_zarr(d / "a.ome.zarr", i, "0.5"),
        (1, 2, 4, 8),
        reader="zarr",
    ),
    Kind(
        'OME-Zarr 0.5, levels "nearest"',
        lambda d, i: others.write_zarr(d / "a.ome.zarr", i, "0.5", nearest=True),
        (1, 2, 4, 8),
        reader="zarr",
    ),
    Kind("PNG", lambda d, i: others.write_picture(d / "a.png", i), mpp=None, reader="OpenCV"),
    Kind("JPEG", lambda d, i: others.write_picture(d / "a.jpg", i), exact=False, mpp=None, reader="OpenCV"),
)
