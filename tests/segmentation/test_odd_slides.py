"""Slides that are damaged, odd or nearly empty, and disks that are full: a clear line each, the rest done."""

from __future__ import annotations

import errno
import hashlib
import io
from pathlib import Path

import cv2
import numpy as np
import pyarrow.parquet as pq
import pytest
import tifffile
from numpy.typing import NDArray

from cellgennet_qupath.core.errors import EntryDataError

from .fakes import draw, model
from .projects import DISCS, MemoryProject, outlines, picture, segment


@pytest.fixture
def project(tmp_path: Path) -> MemoryProject:
    return MemoryProject(tmp_path)


def pyramid(file: Path, image: NDArray[np.generic], **options: object) -> tifffile.TiffFile:
    """A tiled file with a second level, 64 pixels to a tile."""
    level = {"tile": (64, 64), "photometric": "rgb" if image.ndim == 3 else "minisblack", **options}
    with tifffile.TiffWriter(file, ome=True) as tiff:
        tiff.write(image, subifds=1, **level)
        tiff.write(image[::4, ::4], subfiletype=1, **level)
    return tifffile.TiffFile(file)


def add(project: MemoryProject, name: str, image: NDArray[np.generic], **options: object) -> tuple[str, Path]:
    """A pyramid in a project; its id and its file."""
    file = project.path / f"{name}.ome.tif"
    pyramid(file, image, **options).close()
    entry = project.add(name, None)
    project.change(entry, slide=file, size=(image.shape[1], image.shape[0]))
    return entry.id, file


def corrupt(file: Path, level: int, tile: int) -> None:
    with tifffile.TiffFile(file) as tiff:
        page = tiff.series[0].levels[level].keyframe
        offset, length = page.dataoffsets[tile], page.databytecounts[tile]
    with file.open("rb+") as content:
        content.seek(offset)
        content.write(b"\x55" * length)


@pytest.mark.parametrize(("level", "tile"), [(0, 17), (1, 0)], ids=["tile in the middle", "pyramid level"])
def test_an_unreadable_part_fails_its_image_alone(project: MemoryProject, level: int, tile: int) -> None:
    # Large enough that tissue is looked for on the second level.
    _, file = add(project, "torn", draw(1400, 900, DISCS), compression="zlib")
    corrupt(file, level, tile)
    project.add("good", picture())
    torn, good = segment(project)
    assert (torn.status, good.status) == ("failed", "done")
    assert "torn.ome.tif" in torn.reason
    assert f"level {level} cannot be decoded" in torn.reason
    assert "\n" not in torn.sentence()
    assert project.writes == [good.id]


@pytest.mark.parametrize("kind", ["16-bit", "grey", "RGBA"])
def test_other_kinds_of_pixels(project: MemoryProject, kind: str) -> None:
    image = picture()
    options: dict[str, object] = {}
    if kind == "16-bit":
        odd: NDArray[np.generic] = image.astype(np.uint16) * 257
    elif kind == "grey":
        odd = image[..., 0]
    else:
        odd = np.dstack([image, np.full(image.shape[:2], 255, np.uint8)])
        options = {"extrasamples": ["unassalpha"]}
    number, _ = add(project, kind, odd, **options)
    plain = project.add("plain", picture())
    results = segment(project, model(mean_foreground=0.3))
    assert [result.status for result in results] == ["done", "done"]
    if kind == "grey":
        assert results[0].count == len(DISCS)
    else:
        assert outlines(project.found[number]) == outlines(project.found[plain.id])


@pytest.mark.parametrize("size", [(1, 700), (700, 1)])
def test_an_image_of_one_row_or_column(project: MemoryProject, size: tuple[int, int]) -> None:
    project.add("thin", draw(*size, []))
    (result,) = segment(project)
    assert (result.status, result.count) == ("done", 0)
    assert result.reason


def test_one_nucleus(project: MemoryProject) -> None:
    project.add("one", draw(900, 700, [(451.3, 350.6, 11.0)]))
    (result,) = segment(project)
    assert (result.count, result.reason) == (1, "")
    middle = project.found["1"].polygons[0].centroid
    assert (middle.x, middle.y) == pytest.approx((451.3, 350.6), abs=0.3)


def test_a_full_disk_is_reported_and_leaves_no_half_written_file(
    project: MemoryProject, monkeypatch: pytest.MonkeyPatch
) -> None:
    project.add("one", picture())
    project.add("two", picture())
    write = Path.write_bytes
    written = 0

    def until_full(file: Path, content: bytes) -> int:
        nonlocal written
        if ".parquet" not in file.name:
            return write(file, content)
        written += 1
        if written == 3:
            write(file, content[:40])
            raise OSError(errno.ENOSPC, "No space left on device")
        return write(file, content)

    monkeypatch.setattr(Path, "write_bytes", until_full)
    full, fine = segment(project)
    assert (full.status, fine.status) == ("failed", "done")
    assert "cannot be written (No space left on device)" in full.reason
    files = list((project.work_folder / "runs").rglob("*.parquet*"))
    assert len(files) == 2, "the finished ones"
    for content in (file.read_bytes() for file in files):  # a table, then its checksum
        assert hashlib.sha256(content[:-32]).digest() == content[-32:]
        assert pq.read_metadata(io.BytesIO(content[:-32])).num_columns

    again, _ = segment(project)
    assert (again.status, again.count) == ("done", len(DISCS))


def test_a_disk_full_from_the_start(project: MemoryProject, monkeypatch: pytest.MonkeyPatch) -> None:
    project.add("one", picture())

    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("cellgennet_qupath.segmentation.checkpoint._write", full)
    (result,) = segment(project)
    assert result.status == "failed"
    assert "No space left" in result.reason
    assert str(EntryDataError("x", "y")) == "x: y."


def test_glass_with_a_speck_of_dirt(project: MemoryProject) -> None:
    image = np.full((600, 800, 3), 244, np.uint8)
    cv2.circle(image, (300, 300), 3, (30, 30, 30), -1)
    project.add("glass", image)
    (result,) = segment(project)
    assert result.status == "done"
    assert result.count == 0
    assert result.reason
