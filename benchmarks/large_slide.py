"""A slide of ten gigapixels: nuclei, memory and time, and how alike copies of one tissue are counted.

    python benchmarks/large_slide.py IMAGES -m BUNDLE -o OUT [--across 13]

The slide is a pyramid of ``across`` x ``across`` fields of 8192 pixels: glass, and in every second row and
column a copy of one field of tissue, so that each has glass all around. The file stores the tiles of each
field once and names them many times, as BigTIFF allows: readers see ten gigapixels in some ten megabytes.
"""

from __future__ import annotations

import json
import struct
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

import click
import numpy as np
import shapely
import tifffile
from mosaic import pictures, write_mosaic
from numpy.typing import NDArray
from throughput import MPP, _task, _tiles

FIELD = 8192
_TILE = 512


@dataclass(frozen=True)
class Level:
    """A level of a field of tissue: its JPEG tiles, row by row, and how its samples are coded."""

    across: int
    tiles: Sequence[bytes]
    photometric: int
    subsampling: tuple[int, int] | None


def levels_of(file: Path) -> list[Level]:
    """The levels of a mosaic, tiles as they are stored."""
    found = []
    with tifffile.TiffFile(file) as tiff:
        for level in tiff.series[0].levels:
            page = level.keyframe
            stored = zip(page.dataoffsets, page.databytecounts, strict=True)
            tiles = [_bytes_at(tiff.filehandle, offset, length) for offset, length in stored]
            subsampling = page.tags.valueof("YCbCrSubSampling")
            across = -(-page.imagewidth // _TILE)
            found.append(Level(across, tiles, int(page.photometric), subsampling))
    return found


def _bytes_at(file: tifffile.FileHandle, offset: int, length: int) -> bytes:
    file.seek(offset)
    return bytes(file.read(length))


def tissue_fields(across: int) -> NDArray[np.bool_]:
    """Which fields of the slide are copies of the tissue, (row, column)."""
    odd = np.arange(across) % 2 == 1
    copies: NDArray[np.bool_] = odd[:, None] & odd[None, :]
    return copies


def write_large_slide(file: Path, tissue: Sequence[Level], glass: Sequence[Level], across: int) -> None:
    """Write the slide; both fields have the same levels."""
    with file.open("wb") as out:
        out.write(struct.pack("<2sHHHQ", b"II", 43, 8, 0, 0))
        pointer = 8
        for number, (full, empty) in enumerate(zip(tissue, glass, strict=True)):
            places = [_stored(out, level.tiles) for level in (empty, full)]
            inside = full.across
            index = np.arange(across * inside)
            field, within = index // inside, index % inside
            kinds = tissue_fields(across)[np.ix_(field, field)]
            nth = within[:, None] * inside + within[None, :]
            offsets, lengths = (
                np.where(kinds, places[1][part][nth], places[0][part][nth]).ravel() for part in (0, 1)
            )
            pointer = _write_page(out, pointer, across * inside * _TILE, full, offsets, lengths, number)


def _stored(out: BinaryIO, tiles: Sequence[bytes]) -> tuple[NDArray[np.uint64], NDArray[np.uint64]]:
    offsets = []
    for tile in tiles:
        offsets.append(out.tell())
        out.write(tile)
    return np.array(offsets, np.uint64), np.array([len(tile) for tile in tiles], np.uint64)


def _write_page(
    out: BinaryIO,
    pointer: int,
    side: int,
    level: Level,
    offsets: NDArray[np.uint64],
    lengths: NDArray[np.uint64],
    number: int,
) -> int:
    """Append a page, name it at ``pointer``, and return where the next one's place is to be named."""
    places = []
    for values in (offsets, lengths):
        places.append(out.tell())
        out.write(values.astype("<u8").tobytes())
    short, long, rational, far = 3, 4, 5, 16
    resolution = struct.pack("<II", round(1e4 / MPP * 1000 / 4**number), 1000)
    entries = [
        (254, long, 1, struct.pack("<I", int(number > 0))),
        (256, long, 1, struct.pack("<I", side)),
        (257, long, 1, struct.pack("<I", side)),
        (258, short, 3, struct.pack("<3H", 8, 8, 8)),
        (259, short, 1, struct.pack("<H", 7)),
        (262, short, 1, struct.pack("<H", level.photometric)),
        (277, short, 1, struct.pack("<H", 3)),
        (282, rational, 1, resolution),
        (283, rational, 1, resolution),
        (284, short, 1, struct.pack("<H", 1)),
        (296, short, 1, struct.pack("<H", 3)),
        (322, long, 1, struct.pack("<I", _TILE)),
        (323, long, 1, struct.pack("<I", _TILE)),
        (324, far, len(offsets), struct.pack("<Q", places[0])),
        (325, far, len(lengths), struct.pack("<Q", places[1])),
    ]
    if level.subsampling is not None:
        entries.append((530, short, 2, struct.pack("<2H", *level.subsampling)))
    out.write(b"\0" * (out.tell() % 2))
    here = out.tell()
    out.write(struct.pack("<Q", len(entries)))
    for tag, kind, count, value in entries:
        out.write(struct.pack("<HHQ", tag, kind, count) + value.ljust(8, b"\0"))
    following = out.tell()
    out.write(struct.pack("<Q", 0))
    out.seek(pointer)
    out.write(struct.pack("<Q", here))
    out.seek(0, 2)
    return following


def counts(centroids: NDArray[np.float64], across: int) -> NDArray[np.int64]:
    """Nuclei of each field, by their centroids in full-resolution pixels."""
    edges = np.arange(across + 1) * FIELD
    found, _, _ = np.histogram2d(centroids[:, 1], centroids[:, 0], bins=(edges, edges))
    return found.astype(np.int64)


def segment(slide: Path, model: Path, across: int) -> dict[str, object]:
    """Segment the slide as ``cellgennet segment`` does, and count."""
    from cellgennet_qupath.segmentation.checkpoint import Checkpoint
    from cellgennet_qupath.segmentation.slide import segment_slide
    from cellgennet_qupath.slides.reader import open_slide

    found = np.zeros((across, across), np.int64)
    with open_slide(slide) as reader, tempfile.TemporaryDirectory() as folder:
        clock, task = _task(reader, model, 0)
        nuclei = segment_slide(task, _tiles(task, 2048), Checkpoint(Path(folder) / "run", {}))
        for chunk in nuclei.chunks():
            found += counts(shapely.get_coordinates(shapely.centroid(chunk.polygons)), across)
        told = clock.told(reader.width * reader.height, int(found.sum()))
    copies = found[tissue_fields(across)]
    return {
        **told,
        "tissue_megapixels": len(copies) * FIELD**2 / 1e6,
        "nuclei_per_copy": [int(copies.min()), int(copies.max())],
        "copies": len(copies),
        "nuclei_on_glass": int(found.sum() - copies.sum()),
    }


@click.command()
@click.argument("images", type=click.Path(path_type=Path, exists=True, file_okay=False))
@click.option("-m", "--model", type=click.Path(path_type=Path, exists=True), required=True)
@click.option("-o", "--out", type=click.Path(path_type=Path), required=True)
@click.option("--across", type=click.IntRange(3), default=13, show_default=True, help="Fields in a row.")
def main(images: Path, model: Path, out: Path, across: int) -> None:
    """Make the slide and segment it; print JSON."""
    out.mkdir(parents=True, exist_ok=True)
    slide = out / f"large-{across}.tif"
    if not slide.exists():
        tissue, glass = out / "tissue.ome.tif", out / "glass.ome.tif"
        write_mosaic(tissue, FIELD, pictures(images), MPP, seed=0)
        write_mosaic(glass, FIELD, [np.full((_TILE, _TILE, 3), 243, np.uint8)], MPP, seed=0)
        part = slide.with_name(slide.name + ".part")
        write_large_slide(part, levels_of(tissue), levels_of(glass), across)
        part.replace(slide)
    told = segment(slide, model, across)
    (out / "large_slide.json").write_text(json.dumps(told, indent=1), encoding="utf-8")
    click.echo(json.dumps(told))


if __name__ == "__main__":
    main()
