"""Chunks of an OME-Zarr that are not there are white, like missing tiles of a TIFF, and are reported."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import numcodecs  # type: ignore[import-untyped]
import numpy as np
import pytest
import zarr
from zarr.codecs import BloscCodec

from cellgennet_qupath.core.errors import SlideError
from cellgennet_qupath.slides.chunks import check_blosc
from cellgennet_qupath.slides.encoded import DamagedTileError
from cellgennet_qupath.slides.reader import open_slide
from cellgennet_qupath.slides.view import View

from .formats.others import write_zarr
from .images import Pixels, noise, read

IMAGE = np.clip(noise(512, 640), 1, 254)
META = (".zarray", ".zattrs", "zarr.json")
FULL = (
    r"lacks {} of the {} chunks of its full resolution, which are read as {}: if it was not copied whole, "
    "copy it again"
)


def files(level: Path) -> list[Path]:
    return sorted(file for file in level.rglob("*") if file.is_file() and file.name not in META)


def write(path: Path, stored: np.ndarray[Any, Any], axes: str, form: Any = 3, **options: Any) -> Path:
    """An OME-Zarr of one level."""
    group = zarr.open_group(path, mode="w", zarr_format=form)
    group.create_array("0", data=stored, **options)
    scales = {"axes": [{"name": axis} for axis in axes], "datasets": [{"path": "0"}]}
    if form == 2:
        group.attrs["multiscales"] = [scales | {"version": "0.4"}]
    else:
        group.attrs["ome"] = {"version": "0.5", "multiscales": [scales]}
    return path


def without_corner(tile: int = 256) -> Pixels:
    expected = IMAGE.copy()
    expected[:tile, :tile] = 255
    return expected


@pytest.mark.parametrize("version", ["0.4", "0.5"])
def test_absent_chunks_are_white_and_counted(tmp_path: Path, version: str) -> None:
    path = write_zarr(tmp_path / "a.ome.zarr", IMAGE, version)
    with open_slide(path) as whole:
        assert (whole.notes, whole.absent) == ((), "")
    for level in ("0", "1", "2", "3"):
        files(path / level)[0].unlink()
    with open_slide(path) as reader:
        assert reader.notes[0] == FULL.format(1, 6, "white")
        assert np.array_equal(reader.read_grid(0, 0, 640, 512, 1.0), without_corner())
        assert np.array_equal(reader.read_grid(200, 200, 99, 88, 1.0), without_corner()[200:288, 200:299])
    with open_slide(path, view=View(mirrored=(True, False))) as turned:
        assert turned.absent == reader.absent != ""


@pytest.mark.parametrize(
    ("stored", "axes", "options", "absent", "count"),
    [
        (IMAGE.transpose(2, 0, 1), "cyx", {"chunks": (1, 256, 256)}, [0], 18),  # red alone
        (IMAGE.transpose(2, 0, 1), "cyx", {"chunks": (3, 64, 64), "shards": (3, 256, 256)}, [0], 6),
        (IMAGE, "yxc", {"chunks": (256, 256, 3)}, [0], 6),
        (IMAGE.transpose(2, 1, 0), "cxy", {"chunks": (3, 256, 256)}, [0], 6),
        (np.stack([IMAGE, IMAGE]), "zyxc", {"chunks": (1, 256, 256, 3)}, [0, 7], 6),  # 7: z = 1
        (IMAGE.astype(np.uint16) * 257, "yxc", {"chunks": (256, 256, 3)}, [0], 6),
    ],
    ids=["channels apart", "shards", "interleaved", "x first", "stack", "16 bit"],
)
def test_every_layout_of_chunks(
    tmp_path: Path, stored: Any, axes: str, options: Any, absent: list[int], count: int
) -> None:
    path = write(tmp_path / "a.zarr", stored, axes, **options)
    found = files(path / "0")
    for number in absent:
        found[number].unlink()
    assert np.array_equal(read(path), without_corner())
    with open_slide(path) as reader:
        assert FULL.format(1, count, "white") in reader.notes


def test_plain_chunks_of_a_shard_are_white_without_a_word(tmp_path: Path) -> None:
    image = IMAGE.copy()
    image[:64, :64] = 0
    options: Any = {"chunks": (64, 64, 3), "shards": (256, 256, 3)}
    path = write(tmp_path / "a.zarr", image, "yxc", **options)
    with open_slide(path) as reader:
        assert (reader.notes, reader.absent) == ((), "")
    assert np.array_equal(read(path), without_corner(64))


@pytest.mark.parametrize("form", [2, 3])
def test_a_value_that_the_file_states_for_absent_chunks_is_used(tmp_path: Path, form: int) -> None:
    path = write(tmp_path / "a.zarr", IMAGE, "yxc", form, chunks=(256, 256, 3), fill_value=240)
    files(path / "0")[0].unlink()
    expected = IMAGE.copy()
    expected[:256, :256] = 240
    assert np.array_equal(read(path), expected)
    with open_slide(path) as reader:
        assert reader.notes == (FULL.format(1, 6, "the value that it states for them"),)


@pytest.mark.parametrize("lost", ["chunks", "one chunk", "level"])
def test_a_level_that_lacks_what_the_full_resolution_has_is_not_used(tmp_path: Path, lost: str) -> None:
    path = write_zarr(tmp_path / "a.ome.zarr", IMAGE, "0.5")
    if lost == "level":
        shutil.rmtree(path / "1")
    else:
        for file in files(path / "1")[: 1 if lost == "one chunk" else None]:
            file.unlink()
    with open_slide(path) as reader:
        assert reader.level_downsamples == (1.0, 4.0, 8.0)
        assert reader.notes == (
            "lacks chunks of 1 of its 3 coarser levels, which are not used: it was probably not copied "
            "whole; copy it again",
        )
        half = reader.read_grid(0, 0, 320, 256, 2.0)
    assert np.abs(half.astype(int) - IMAGE.reshape(256, 2, 320, 2, 3).mean(axis=(1, 3))).max() <= 1


@pytest.mark.parametrize("version", ["0.4", "0.5"])
@pytest.mark.parametrize("lost", ["chunks", "array"])
def test_without_its_full_resolution_it_is_refused(tmp_path: Path, version: str, lost: str) -> None:
    path = write_zarr(tmp_path / "a.ome.zarr", IMAGE, version)
    if lost == "array":
        shutil.rmtree(path / "0")
    else:
        for file in files(path / "0"):
            file.unlink()
    with pytest.raises(
        SlideError, match=r"a\.ome\.zarr: (lacks its full|is an OME-Zarr without pixels: .* 6 chunks)"
    ):
        open_slide(path)


def test_a_chunk_that_is_shorter_than_it_says() -> None:
    header = bytes(12) + (100).to_bytes(4, "little")
    check_blosc(header, 100)
    for start, size in ((header, 99), (header[:10], 10), (b"", 0)):
        with pytest.raises(DamagedTileError, match="is cut"):
            check_blosc(start, size)


@pytest.mark.parametrize("form", [2, 3])
def test_the_file_of_a_chunk_is_measured_before_it_is_decoded(tmp_path: Path, form: int) -> None:
    codec = numcodecs.Blosc() if form == 2 else BloscCodec()
    path = write(tmp_path / "a.zarr", IMAGE, "yxc", form, chunks=(256, 256, 3), compressors=codec)
    first = files(path / "0")[0]
    first.write_bytes(b"")
    with open_slide(path) as reader:
        assert np.array_equal(reader.read_grid(256, 0, 384, 512, 1.0), IMAGE[:, 256:])
        with pytest.raises(SlideError, match=r"near x=250, y=0 .* the file of the chunk is cut"):
            reader.read_grid(250, 0, 99, 99, 1.0)
