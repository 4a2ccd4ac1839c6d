"""Slides that are missing, cut or damaged are refused in one line, also where decoders say nothing.

Missing tiles are white.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import cv2
import imagecodecs
import numpy as np
import pytest
import tifffile

from cellgennet_qupath.core.errors import SlideError
from cellgennet_qupath.slides.encoded import check_jpeg
from cellgennet_qupath.slides.reader import open_slide

from .images import RGB, Pixels, noise, read


def test_missing_tiles_are_white(tmp_path: Path) -> None:
    path = tmp_path / "sparse.tif"
    tifffile.imwrite(path, RGB, photometric="rgb", tile=(32, 32), compression="zlib")
    with tifffile.TiffFile(path, mode="r+") as tiff:
        counts = tiff.pages[0].tags["TileByteCounts"]
        counts.overwrite([0 if i == 4 else n for i, n in enumerate(counts.value)])
        offsets = tiff.pages[0].tags["TileOffsets"]
        offsets.overwrite([0 if i == 4 else n for i, n in enumerate(offsets.value)])
    expected = RGB.copy()
    expected[32:64, 32:64] = 255
    assert np.array_equal(read(path), expected)
    with open_slide(path) as reader:
        assert np.array_equal(reader.read_grid(40, 40, 40, 20, 1.0), expected[40:60, 40:80])


@pytest.mark.parametrize("layout", ["strips", "planes", "strips of planes"])
def test_missing_strips_and_planes_of_tiles_are_white(tmp_path: Path, layout: str) -> None:
    path, image = tmp_path / "a.tif", np.full((128, 192, 3), 90, np.uint8)
    stored = image if layout == "strips" else np.moveaxis(image, 2, 0)
    parts: dict[str, Any] = {"tile": (64, 64)} if layout == "planes" else {"rowsperstrip": 16}
    parts |= {"compression": "zlib"}
    plane = "contig" if layout == "strips" else "separate"
    tifffile.imwrite(path, stored, photometric="rgb", planarconfig=plane, metadata=None, **parts)
    name = "TileByteCounts" if layout == "planes" else "StripByteCounts"
    with tifffile.TiffFile(path, mode="r+b") as tiff:
        tag = tiff.pages[0].tags[name]
        counts = list(tag.value)
        missing = 4 if layout == "strips" else len(counts) // 3 + 4  # of green alone
        counts[missing] = 0
        tag.overwrite(counts)
    with open_slide(path) as reader:
        read = reader.read_grid(0, 0, 192, 128, 1.0)
        part = reader.read_grid(70, 65, 20, 14, 1.0)
    expected = image.copy()
    expected[(slice(64, 128), slice(64, 128)) if layout == "planes" else slice(64, 80)] = 255
    assert np.array_equal(read, expected)
    assert (part == 255).all()


@pytest.mark.parametrize("odd", ["no offset", "short tables", "one channel's page"])
def test_tiles_without_a_place_in_the_file_are_white_too(tmp_path: Path, odd: str) -> None:
    path, image = tmp_path / "a.tif", np.full((128, 128, 3), 90, np.uint8)
    options: dict[str, Any] = {"photometric": "rgb"}
    if odd == "one channel's page":
        path, options = tmp_path / "a.ome.tif", {"photometric": "minisblack", "metadata": {"axes": "CYX"}}
    stored = np.moveaxis(image, 2, 0) if path.name.endswith("ome.tif") else image
    tifffile.imwrite(path, stored, tile=(64, 64), compression="zlib", **options)
    page = 1 if odd == "one channel's page" else 0
    with tifffile.TiffFile(path, mode="r+b") as tiff:
        tags = tiff.pages[page].aspage().tags
        if odd == "short tables":
            for name in ("TileOffsets", "TileByteCounts"):
                tags[name].overwrite(list(tags[name].value)[:3])
        else:
            tags["TileOffsets"].overwrite([*tags["TileOffsets"].value[:3], 0])
    expected = image.copy()
    expected[64:, 64:] = 255
    assert np.array_equal(read(path), expected)


@pytest.mark.parametrize("missing", [(), ("c1",), ("c2",), ("c1", "c2")])
def test_channels_in_files_of_their_own(tmp_path: Path, missing: tuple[str, ...]) -> None:
    image = np.random.default_rng(0).integers(0, 256, (20, 30, 3), np.uint8)
    data = "".join(
        f'<TiffData FirstC="{c}" IFD="0" PlaneCount="1"><UUID FileName="c{c}.ome.tif">urn:uuid:{c}</UUID>'
        "</TiffData>"
        for c in range(3)
    )
    channels = "".join(f'<Channel ID="Channel:0:{c}" SamplesPerPixel="1"/>' for c in range(3))
    for c in range(3):
        xml = (
            '<?xml version="1.0"?><OME xmlns="http://www.openmicroscopy.org/Schemas/OME/2016-06" '
            f'UUID="urn:uuid:{c}"><Image ID="Image:0"><Pixels ID="Pixels:0" DimensionOrder="XYCZT" '
            f'Type="uint8" SizeX="30" SizeY="20" SizeC="3" SizeZ="1" SizeT="1">{channels}{data}</Pixels>'
            "</Image></OME>"
        )
        path = tmp_path / f"c{c}.ome.tif"
        if f"c{c}" not in missing:
            tifffile.imwrite(path, image[..., c], photometric="minisblack", description=xml, metadata=None)
    if missing:
        with pytest.raises(SlideError, match=r"c0\.ome\.tif: lacks pixels.* other files, that are not there"):
            open_slide(tmp_path / "c0.ome.tif")
        return
    with open_slide(tmp_path / "c0.ome.tif") as reader:
        assert np.array_equal(reader.read_grid(0, 0, 30, 20, 1.0), image)


def test_a_missing_file(tmp_path: Path) -> None:
    with pytest.raises(SlideError, match=r"gone\.svs: does not exist"):
        open_slide(tmp_path / "gone.svs")


@pytest.mark.parametrize(
    ("name", "content", "reason"),
    [
        ("empty.tif", b"", "is empty"),
        ("text.png", b"hello, I am no picture", "not an image"),
        ("head.tif", b"II*\0", "damaged"),
        ("cut.jpg", cv2.imencode(".jpg", RGB)[1].tobytes()[:900], "truncated"),
        ("cut.png", cv2.imencode(".png", RGB)[1].tobytes()[:900], "damaged"),
    ],
)
def test_damaged_files(tmp_path: Path, name: str, content: bytes, reason: str) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(SlideError, match=reason) as caught:
        open_slide(tmp_path / name)
    assert name in str(caught.value) and "\n" not in str(caught.value)


def test_a_folder_is_not_a_slide(tmp_path: Path) -> None:
    with pytest.raises(SlideError, match="cannot be opened"):
        open_slide(tmp_path)


def test_a_truncated_pyramid_is_refused_on_opening(tmp_path: Path) -> None:
    path = tmp_path / "cut.tif"
    tifffile.imwrite(path, RGB, photometric="rgb", tile=(32, 32), compression="jpeg")
    path.write_bytes(path.read_bytes()[:-500])
    with pytest.raises(SlideError, match=r"cut\.tif: is (truncated|damaged)"):
        open_slide(path)


def test_a_tile_that_cannot_be_decoded(tmp_path: Path) -> None:
    path = tmp_path / "bad.tif"
    tifffile.imwrite(path, RGB, photometric="rgb", tile=(32, 32), compression="jpeg")
    with tifffile.TiffFile(path) as tiff:
        offset, count = tiff.pages[0].dataoffsets[4], tiff.pages[0].databytecounts[4]
    data = bytearray(path.read_bytes())
    data[offset : offset + count] = bytes(count)
    path.write_bytes(data)
    with open_slide(path) as reader:
        assert reader.read_grid(0, 0, 32, 32, 1.0).shape == (32, 32, 3)
        with pytest.raises(
            SlideError, match=r"bad\.tif: a tile near x=40, y=40 of level 0 cannot be decoded"
        ):
            reader.read_grid(40, 40, 10, 10, 1.0)


def cut(data: bytes) -> bytes:
    return data[: len(data) * 2 // 3]


def zeros_at_the_end(data: bytes) -> bytes:
    return cut(data).ljust(len(data), b"\0")


def a_hole(data: bytes) -> bytes:
    begin = len(data) // 3
    return data[:begin] + bytes(600) + data[begin + 600 :]


def in_a_tile(path: Path, compression: str, damage: Any, **options: Any) -> Path:
    """A file whose tile at (64, 64) is damaged. What is cut off is not counted."""
    tifffile.imwrite(
        path, noise(128, 128), photometric="rgb", tile=(64, 64), compression=compression, **options
    )
    content = bytearray(path.read_bytes())
    with tifffile.TiffFile(path, mode="r+b") as tiff:
        page = tiff.pages.first
        offset, count = page.dataoffsets[3], page.databytecounts[3]
        damaged = damage(bytes(content[offset : offset + count]))
        tag = page.tags["TileByteCounts"]
        counts = [*tag.value[:3], len(damaged)]
        tag.overwrite(counts)
    content = bytearray(path.read_bytes())
    content[offset : offset + len(damaged)] = damaged
    path.write_bytes(content)
    return path


@pytest.mark.parametrize(
    ("compression", "options", "damage"),
    [
        *(
            ("jpeg", options, damage)
            for options in ({}, {"optimize": True}, {"level": 95, "subsampling": "444"})
            for damage in (cut, zeros_at_the_end, a_hole)
        ),
        ("jpeg2000", {}, cut),
        ("jpeg2000", {}, zeros_at_the_end),
        ("webp", {}, cut),
        ("webp", {}, zeros_at_the_end),
        ("webp", {}, a_hole),
    ],
)
def test_damage_that_decoders_fill_up(
    tmp_path: Path, compression: str, options: dict[str, Any], damage: Any
) -> None:
    path = in_a_tile(tmp_path / "a.tif", compression, damage, compressionargs=options)
    with open_slide(path) as reader:
        assert reader.read_grid(0, 0, 64, 64, 1.0).shape == (64, 64, 3)
        with pytest.raises(SlideError, match=r"a\.tif: a tile near x=70, y=70 .* cannot be decoded"):
            reader.read_grid(70, 70, 10, 10, 1.0)


def flat(size: int) -> Pixels:
    image = np.full((size, size, 3), 242, np.uint8)
    image[8:24, 8:24] = (150, 60, 160)
    return image


@pytest.mark.parametrize(
    "change",
    [
        lambda data: data,
        lambda data: data[:-2],  # some writers leave out the mark of the end
        lambda data: data + bytes(300),  # and others fill up
    ],
    ids=["as written", "without end", "padded"],
)
@pytest.mark.parametrize("image", [noise(64, 64), flat(64), flat(512), np.full((512, 512, 3), 255, np.uint8)])
@pytest.mark.parametrize("optimize", [False, True])
def test_whole_jpegs_are_whole(image: Pixels, change: Any, optimize: bool) -> None:
    data = imagecodecs.jpeg8_encode(image, level=80, optimize=optimize)
    check_jpeg(change(data), imagecodecs.jpeg8_decode)


@pytest.mark.parametrize("ending", [".jpg", ".webp"])
def test_a_picture_with_a_hole(tmp_path: Path, ending: str) -> None:
    path = tmp_path / f"a{ending}"
    path.write_bytes(
        a_hole(cv2.imencode(ending, noise(300, 300), [cv2.IMWRITE_JPEG_QUALITY, 90])[1].tobytes())
    )
    with pytest.raises(SlideError, match=rf"a\{ending}: is damaged: the \w+ data have a hole"):
        open_slide(path)


def test_a_jpeg_with_a_thumbnail_is_whole(tmp_path: Path) -> None:
    path, picture = tmp_path / "a.jpg", cv2.imencode(".jpg", noise(300, 300))[1].tobytes()
    small = b"Exif\0\0" + cv2.imencode(".jpg", noise(16, 16))[1].tobytes()
    segment = b"\xff\xe1" + (len(small) + 2).to_bytes(2, "big") + small
    path.write_bytes(picture[:2] + segment + picture[2:])
    assert read(path).shape == (300, 300, 3)


@pytest.mark.parametrize("layout", ["tiles", "strips", "a page for each channel"])
def test_bytes_beyond_the_end_of_the_file_are_refused_on_opening(tmp_path: Path, layout: str) -> None:
    path, image = tmp_path / "a.ome.tif", noise(128, 128)
    options: dict[str, Any] = {"photometric": "rgb", "compression": "zlib"}
    options |= {"rowsperstrip": 32} if layout == "strips" else {"tile": (64, 64)}
    if layout == "a page for each channel":
        image = np.ascontiguousarray(np.moveaxis(image, 2, 0))
        options |= {"photometric": "minisblack", "metadata": {"axes": "CYX"}}
    tifffile.imwrite(path, image, **options)
    with tifffile.TiffFile(path, mode="r+b") as tiff:
        tags = tiff.pages[len(tiff.pages) - 1].aspage().tags
        tag = tags["StripByteCounts" if layout == "strips" else "TileByteCounts"]
        tag.overwrite([*tag.value[:3], path.stat().st_size])
    with pytest.raises(SlideError, match=r"a\.ome\.tif: is truncated"):
        open_slide(path)
