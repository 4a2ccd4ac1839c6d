"""Reading samples: any cut gives the same ones, things stay where they are, whatever file they come from."""

from __future__ import annotations

import functools
import pickle
import tempfile
from pathlib import Path

import cv2
import imagecodecs
import numpy as np
import pytest
import tifffile
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from scipy import ndimage

from cellgennet_qupath.core.errors import SlideError
from cellgennet_qupath.geometry.coordinates import grid_size
from cellgennet_qupath.slides.reader import SlideReader, open_slide
from cellgennet_qupath.slides.samples import bits_used

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


@functools.cache
def pyramid() -> Path:
    """One pyramid of odd size for all examples (a temporary folder that lives as long as the tests)."""
    folder = Path(_FOLDER.name)
    return write_pyramid(folder / "odd.ome.tif", noise(301, 423), (2, 4))


_FOLDER = tempfile.TemporaryDirectory()


@functools.cache
def opened() -> SlideReader:
    return open_slide(pyramid())


@functools.cache
def whole(downsample: float) -> Pixels:
    reader = opened()
    columns, rows = grid_size(reader.width, reader.height, downsample)
    return reader.read_grid(-20, -20, columns + 40, rows + 40, downsample, fill=7)


DOWNSAMPLES = st.sampled_from([0.5, 0.7, 1.0, 1.3, 1.7, 2.0, 2.02, 3.0, 4.0, 5.5, 9.0])


@settings(max_examples=80)
@given(
    downsample=DOWNSAMPLES,
    left=st.integers(0, 500),
    top=st.integers(0, 500),
    columns=st.integers(1, 90),
    rows=st.integers(1, 90),
)
def test_any_cut_of_the_grid_gives_the_same_samples(
    downsample: float, left: int, top: int, columns: int, rows: int
) -> None:
    plane = whole(downsample)
    left, top = min(left, plane.shape[1] - columns), min(top, plane.shape[0] - rows)
    if left < 0 or top < 0:
        columns, rows = columns + min(left, 0), rows + min(top, 0)
        left, top = max(left, 0), max(top, 0)
    tile = opened().read_grid(left - 20, top - 20, columns, rows, downsample, fill=7)
    assert np.array_equal(tile, plane[top : top + rows, left : left + columns])


def test_requests_too_large_for_one_reading_are_the_same_in_halves(monkeypatch: pytest.MonkeyPatch) -> None:
    for downsample in (1.0, 1.7, 6.0):
        expected = whole(downsample)
        monkeypatch.setattr("cellgennet_qupath.slides.reader._LARGEST_WINDOW", 900)
        halved = opened().read_grid(-20, -20, expected.shape[1], expected.shape[0], downsample, fill=7)
        monkeypatch.undo()
        assert np.array_equal(halved, expected)


@pytest.mark.parametrize("downsample", [0.5, 1.0, 1.7, 2.0, 2.6, 4.0, 5.0])
def test_outside_the_image_is_fill_and_nothing_inside_is(tmp_path: Path, downsample: float) -> None:
    path = write_pyramid(tmp_path / "grey.tif", np.full((101, 67, 3), 90, np.uint8))
    with open_slide(path) as reader:
        columns, rows = grid_size(67, 101, downsample)
        out = reader.read_grid(-3, -2, columns + 7, rows + 9, downsample, fill=200)
    inside = np.zeros(out.shape[:2], bool)
    inside[2 : 2 + rows, 3 : 3 + columns] = True
    assert (out[inside] == 90).all()
    assert (out[~inside] == 200).all()


def test_far_outside_is_all_fill() -> None:
    assert (opened().read_grid(10_000, -500, 8, 5, 1.7, fill=3) == 3).all()
    assert opened().read_grid(0, 0, 0, 4, 1.0).shape == (4, 0, 3)


def test_stored_levels_are_copied(tmp_path: Path) -> None:
    image = noise(256, 192)
    with open_slide(write_pyramid(tmp_path / "p.tif", image)) as reader:
        assert reader.level_downsamples == (1.0, 2.0, 4.0)
        assert np.array_equal(reader.read_grid(0, 0, 192, 256, 1.0), image)
        assert np.array_equal(reader.read_grid(0, 0, 96, 128, 2.0), shrink(image, 2))
        assert np.array_equal(reader.read_grid(5, 7, 20, 30, 4.0), shrink(image, 4)[7:37, 5:25])


@functools.cache
def blobs() -> tuple[Path, NDArray[np.float64]]:
    """Gaussian blobs on white, and their centres in full-resolution coordinates."""
    rng = np.random.default_rng(4)
    ys, xs = np.mgrid[0:5, 0:6]
    centres = np.stack([xs.ravel(), ys.ravel()], 1) * 75.0 + 45 + rng.uniform(-8, 8, (30, 2))
    y, x = np.mgrid[0:403, 0:477] + 0.5
    dark = sum(np.exp(-((x - cx) ** 2 + (y - cy) ** 2) / (2 * 6.0**2)) for cx, cy in centres)
    image = np.rint(255 - 220 * np.clip(dark, 0, 1))[..., None].repeat(3, 2).astype(np.uint8)
    return write_pyramid(Path(_FOLDER.name) / "blobs.tif", image), centres


@pytest.mark.parametrize("downsample", [0.5, 1.0, 1.7, 2.0, 3.0, 4.3])
def test_things_stay_where_they_are(downsample: float) -> None:
    path, centres = blobs()
    with open_slide(path) as reader:
        columns, rows = grid_size(reader.width, reader.height, downsample)
        image = reader.read_grid(-6, -6, columns + 12, rows + 12, downsample)
    dark = 255.0 - image[..., 0]
    for x, y in centres:
        reach = 26 / downsample
        col, row = x / downsample + 6, y / downsample + 6
        r0, c0 = int(row - reach), int(col - reach)
        part = dark[r0 : int(row + reach) + 1, c0 : int(col + reach) + 1]
        cy, cx = ndimage.center_of_mass(part)
        near = max(0.1, 0.03 * downsample)
        assert (cx + c0 - 6 + 0.5) * downsample == pytest.approx(x, abs=near)
        assert (cy + r0 - 6 + 0.5) * downsample == pytest.approx(y, abs=near)


def test_a_pickled_reader_opens_the_file_again() -> None:
    copy = pickle.loads(pickle.dumps(opened()))  # noqa: S301
    with copy:
        assert np.array_equal(copy.read_grid(3, 4, 30, 20, 1.7), opened().read_grid(3, 4, 30, 20, 1.7))


# What files hold


RGB = noise(70, 90, seed=3)
GREY = RGB[..., 1].copy()
ALPHA = np.linspace(0, 255, 70 * 90).reshape(70, 90).astype(np.uint8)
OVER_WHITE = np.rint(RGB * (ALPHA[..., None] / 255) + 255 * (1 - ALPHA[..., None] / 255)).astype(np.uint8)


def read(path: Path, series: int = 0) -> Pixels:
    with open_slide(path, series) as reader:
        return reader.read_grid(0, 0, reader.width, reader.height, 1.0)


@pytest.mark.parametrize("tile", [None, (32, 32)])
@pytest.mark.parametrize(
    ("image", "options", "expected"),
    [
        (RGB, {"photometric": "rgb"}, RGB),
        (RGB.transpose(2, 0, 1), {"photometric": "rgb", "planarconfig": "separate"}, RGB),
        (GREY, {"photometric": "minisblack"}, GREY[..., None].repeat(3, 2)),
        (GREY, {"photometric": "miniswhite"}, 255 - GREY[..., None].repeat(3, 2)),
        (RGB.astype(np.uint16) * 257, {"photometric": "rgb"}, RGB),
        (
            RGB.astype(np.uint16) * 16,
            {"photometric": "rgb", "extratags": [(340, "H", 3, [0] * 3), (341, "H", 3, [4080] * 3)]},
            RGB,
        ),
        (np.dstack([RGB, ALPHA]), {"photometric": "rgb", "extrasamples": ["unassalpha"]}, OVER_WHITE),
        (np.dstack([RGB, ALPHA]), {"photometric": "rgb", "extrasamples": ["unspecified"]}, RGB),
        (RGB, {"photometric": "rgb", "compression": "zlib", "predictor": True}, RGB),
    ],
    ids=["rgb", "planar", "grey", "inverted", "16 bit", "12 in 16 bit", "alpha", "extra", "deflate"],
)
def test_tiffs_of_every_layout(
    tmp_path: Path, image: Pixels, options: dict[str, object], expected: Pixels, tile: tuple[int, int] | None
) -> None:
    path = tmp_path / "image.tif"
    tifffile.imwrite(path, np.ascontiguousarray(image), tile=tile, **options)
    assert np.array_equal(read(path), expected)


@pytest.mark.parametrize(
    ("name", "image", "expected"),
    [
        ("a.png", RGB[..., ::-1], RGB),
        ("grey.png", GREY, GREY[..., None].repeat(3, 2)),
        ("deep.png", RGB[..., ::-1].astype(np.uint16) * 257, RGB),
        ("alpha.png", np.dstack([RGB[..., ::-1], ALPHA]), OVER_WHITE),
        ("ünïcode name.bmp", RGB[..., ::-1], RGB),
    ],
)
def test_pictures(tmp_path: Path, name: str, image: Pixels, expected: Pixels) -> None:
    path = tmp_path / name
    path.write_bytes(cv2.imencode(path.suffix, image)[1].tobytes())
    assert np.array_equal(read(path), expected)


def test_a_jpeg_is_close(tmp_path: Path) -> None:
    path = tmp_path / "a.jpg"
    path.write_bytes(cv2.imencode(".jpg", RGB[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, 95])[1].tobytes())
    assert np.abs(read(path).astype(int) - RGB).mean() < 6


def test_the_second_image_of_a_file(tmp_path: Path) -> None:
    path = tmp_path / "two.ome.tif"
    with tifffile.TiffWriter(path) as tiff:
        tiff.write(RGB, photometric="rgb", metadata={"PhysicalSizeX": 1.0, "PhysicalSizeY": 1.0})
        second = {"PhysicalSizeX": 500.0, "PhysicalSizeXUnit": "nm"}
        second |= {"PhysicalSizeY": 0.5, "PhysicalSizeYUnit": "µm"}
        tiff.write(RGB[:50, ::-1], photometric="rgb", tile=(32, 32), metadata=second)
    assert np.array_equal(read(path, 1), RGB[:50, ::-1])
    with open_slide(path, 1) as reader:
        assert reader.mpp == pytest.approx((0.5, 0.5))
    with pytest.raises(SlideError, match="no image number 3, only 2"):
        open_slide(path, 2)


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


def test_a_real_svs(shared: Path) -> None:
    with open_slide(shared / "data" / "slides" / "CMU-1-Small-Region.svs") as reader:
        assert (reader.width, reader.height) == (2220, 2967)
        assert reader.mpp == pytest.approx((0.499, 0.499))
        right = reader.read_grid(2200, 2950, 40, 40, 1.0)
        assert (right[17:] == 255).all() and (right[:, 20:] == 255).all()
        assert right[:17, :20].min() < 250


# What can go wrong


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


def test_of_a_stack_the_first_plane_is_read_and_this_is_reported(tmp_path: Path) -> None:
    for axes, shape in (("ZYXS", (3,)), ("TYXS", (3,)), ("TZYXS", (2, 3))):
        path = tmp_path / f"{axes}.ome.tif"
        planes = np.zeros((*shape, *RGB.shape), np.uint8)
        planes[(0,) * len(shape)] = RGB
        tifffile.imwrite(path, planes, photometric="rgb", metadata={"axes": axes})
        assert np.array_equal(read(path), RGB)
        with open_slide(path) as reader:
            assert reader.notes == (
                f"is a stack of {np.prod(shape)} planes, of which the first is read (z = 0, t = 0)",
            )


def test_odd_channels_are_refused(tmp_path: Path) -> None:
    channels = tmp_path / "five.ome.tif"
    five = np.zeros((5, 20, 30), np.uint8)
    tifffile.imwrite(channels, five, photometric="minisblack", metadata={"axes": "CYX"})
    with pytest.raises(SlideError, match=r"5 channel\(s\)"):
        open_slide(channels)
    floats = tmp_path / "float.tif"
    tifffile.imwrite(floats, RGB.astype(np.float32), photometric="rgb")
    with pytest.raises(SlideError, match="float32 pixels without a stated range"):
        open_slide(floats)


def ycbcr(image: Pixels) -> Pixels:
    return np.ascontiguousarray(cv2.cvtColor(image, cv2.COLOR_RGB2YCrCb)[..., [0, 2, 1]])


@pytest.mark.parametrize("compression", [33003, 33005])
def test_jpeg_2000_of_aperio_in_either_colour_space(tmp_path: Path, compression: int) -> None:
    image = noise(256, 512)
    stored = ycbcr(image) if compression == 33003 else image
    tiles = [
        imagecodecs.jpeg2k_encode(
            stored[:, x : x + 256].copy(), codecformat="j2k", mct=False, reversible=True
        )
        for x in (0, 256)
    ]
    path = tmp_path / "a.svs"
    tifffile.imwrite(
        path, iter(tiles), shape=image.shape, dtype="uint8", tile=(256, 256), photometric="rgb",
        compression=compression, metadata=None,
        description="Aperio Image Library v11\r\n512x256 (256x256) J2K/YUV16 Q=70|AppMag = 40|MPP = 0.25",
    )  # fmt: skip
    with open_slide(path) as reader:
        read = reader.read_grid(0, 0, 512, 256, 1.0).astype(int)
    assert np.abs(read - image).max() <= (3 if compression == 33003 else 0)


@pytest.mark.parametrize("kind", ["plain", "zlib", "jpeg"])
def test_ycbcr_without_and_with_a_decoder_that_converts(tmp_path: Path, kind: str) -> None:
    image = noise(64, 64)
    path = tmp_path / "a.tif"
    if kind == "jpeg":
        tifffile.imwrite(path, image, photometric="rgb", compression="jpeg", tile=(64, 64), metadata=None)
    else:
        compression = None if kind == "plain" else kind
        tifffile.imwrite(
            path,
            ycbcr(image),
            photometric="ycbcr",
            compression=compression,
            subsampling=(1, 1),
            metadata=None,
        )
    with open_slide(path) as reader:
        read = reader.read_grid(0, 0, 64, 64, 1.0).astype(int)
    assert np.abs(read - image).mean() <= (8 if kind == "jpeg" else 1)


@pytest.mark.parametrize("bits", [10, 12, 14, 16])
@pytest.mark.parametrize("kind", ["tif", "tiled", "png"])
def test_fewer_bits_in_16(tmp_path: Path, bits: int, kind: str) -> None:
    image = noise(200, 300)
    wide = np.rint(image * ((2**bits - 1) / 255)).astype(np.uint16)
    wide[0, 0] = 2**bits - 1
    path = tmp_path / f"a.{kind.replace('tiled', 'tif')}"
    if kind == "png":
        path.write_bytes(cv2.imencode(".png", wide[..., ::-1])[1].tobytes())
    else:
        tile = (64, 64) if kind == "tiled" else None
        tifffile.imwrite(path, wide, photometric="rgb", tile=tile, metadata=None)
    with open_slide(path) as reader:
        read = reader.read_grid(0, 0, 300, 200, 1.0).astype(int)
    assert np.abs(read[1:] - image[1:]).max() <= 1


def test_a_dark_picture_is_not_taken_for_few_bits() -> None:
    assert [bits_used(n) for n in (0, 255, 256, 1023, 1024, 4095, 4096, 16383, 16384, 65535)] == [
        16, 16, 10, 10, 12, 12, 14, 14, 16, 16,
    ]  # fmt: skip


def test_8_bit_samples_are_taken_as_they_are(tmp_path: Path) -> None:
    image = noise(64, 64)
    path = tmp_path / "a.tif"
    for kind, low, high in ((1, 60, 200), (3, 60, 200), (3, 0, 4095)):
        tags = [(340, kind, 3, (low,) * 3, True), (341, kind, 3, (high,) * 3, True)]
        tifffile.imwrite(path, image, photometric="rgb", metadata=None, extratags=tags)
        with open_slide(path) as reader:
            assert np.array_equal(reader.read_grid(0, 0, 64, 64, 1.0), image)
