"""What files hold: every layout, depth and colour space of samples is read as the same picture."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import cv2
import imagecodecs
import numpy as np
import pytest
import tifffile
from numpy.typing import NDArray

from cellgennet_qupath.core.errors import SlideError
from cellgennet_qupath.slides.reader import open_slide
from cellgennet_qupath.slides.samples import bits_used

from .images import RGB, Pixels, noise, read

GREY = RGB[..., 1].copy()


ALPHA = np.linspace(0, 255, 70 * 90).reshape(70, 90).astype(np.uint8)


OVER_WHITE = np.rint(RGB * (ALPHA[..., None] / 255) + 255 * (1 - ALPHA[..., None] / 255)).astype(np.uint8)


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


@pytest.mark.parametrize("sizes", [(64, 300), (300, 64), (200, 300), (64, 40, 300)])
def test_a_larger_image_behind_the_first_is_reported(tmp_path: Path, sizes: tuple[int, ...]) -> None:
    path = tmp_path / "a.tif"
    for number, size in enumerate(sizes):
        tifffile.imwrite(path, noise(size, size), photometric="rgb", metadata=None, append=number > 0)
    with open_slide(path) as reader:
        assert (reader.width, reader.height) == (sizes[0], sizes[0])
        assert bool(reader.notes) == (sizes[0] == 64)
        if sizes[0] == 64:
            assert f"first image (64 x 64 px), though image {len(sizes)} of the file is" in reader.notes[0]
    with open_slide(path, series=len(sizes) - 1) as reader:
        assert reader.width == sizes[-1]
        assert not reader.notes


def test_a_dark_picture_is_not_taken_for_few_bits() -> None:
    assert [bits_used(n) for n in (0, 255, 256, 1023, 1024, 4095, 4096, 16383, 16384, 65535)] == [
        16, 16, 10, 10, 12, 12, 14, 14, 16, 16,
    ]  # fmt: skip


@pytest.mark.parametrize(("kind", "dtype"), [("png", np.uint16), ("tif", np.uint16), ("tif", np.uint32)])
def test_8_bit_samples_in_larger_numbers_are_reported(tmp_path: Path, kind: str, dtype: type) -> None:
    path = tmp_path / f"a.{kind}"
    image = noise(64, 64)
    for factor in (1, 257):
        stored: NDArray[Any] = image.astype(dtype) * factor
        if kind == "png":
            path.write_bytes(cv2.imencode(".png", stored[..., ::-1])[1].tobytes())
        else:
            tifffile.imwrite(path, stored, photometric="rgb", metadata=None)
        with open_slide(path) as reader:
            if factor == 1:
                bits = np.dtype(dtype).itemsize * 8
                assert f"none of its {bits}-bit samples is above 255" in reader.notes[0]
            else:
                assert not reader.notes
                assert np.array_equal(reader.read_grid(0, 0, 64, 64, 1.0), image)


def test_a_dark_picture_in_32_bits_is_reported(tmp_path: Path) -> None:
    path = tmp_path / "a.tif"
    tifffile.imwrite(path, noise(64, 64).astype(np.uint32) * 4000, photometric="rgb", metadata=None)
    with open_slide(path) as reader:
        assert "none of its 32-bit samples is above 1020000" in reader.notes[0]


@pytest.mark.parametrize("alpha", [4095, 65535])
def test_alpha_does_not_decide_how_many_bits_colours_use(tmp_path: Path, alpha: int) -> None:
    path = tmp_path / "a.tif"
    image = noise(64, 64)
    stored = np.dstack([image.astype(np.uint16) * 16 + 15, np.full((64, 64), alpha, np.uint16)])
    tifffile.imwrite(path, stored, photometric="rgb", metadata=None, extrasamples=["unassalpha"])
    with open_slide(path) as reader:
        assert np.abs(reader.read_grid(0, 0, 64, 64, 1.0).astype(int) - image).max() <= 1


@pytest.mark.parametrize("name", ["a.png", "a.tif"])
@pytest.mark.parametrize("seen", [False, True])
def test_an_image_that_is_wholly_transparent_has_its_colours(tmp_path: Path, name: str, seen: bool) -> None:
    image, path = noise(64, 64), tmp_path / name
    alpha = np.zeros((64, 64), np.uint8)
    alpha[:8] = 255 * seen
    if name == "a.png":
        path.write_bytes(cv2.imencode(".png", np.dstack([image[..., ::-1], alpha]))[1].tobytes())
    else:
        stored = np.dstack([image, alpha])
        tifffile.imwrite(path, stored, photometric="rgb", metadata=None, extrasamples=["unassalpha"])
    with open_slide(path) as reader:
        assert any("wholly transparent" in note for note in reader.notes) != seen
        pixels = reader.read_grid(0, 0, 64, 64, 1.0)
        assert np.array_equal(pixels[:8], image[:8])
        assert np.array_equal(pixels[8:], np.full_like(image[8:], 255) if seen else image[8:])


def test_8_bit_samples_are_taken_as_they_are(tmp_path: Path) -> None:
    image = noise(64, 64)
    path = tmp_path / "a.tif"
    for kind, low, high in ((1, 60, 200), (3, 60, 200), (3, 0, 4095)):
        tags = [(340, kind, 3, (low,) * 3, True), (341, kind, 3, (high,) * 3, True)]
        tifffile.imwrite(path, image, photometric="rgb", metadata=None, extratags=tags)
        with open_slide(path) as reader:
            assert np.array_equal(reader.read_grid(0, 0, 64, 64, 1.0), image)


@pytest.mark.parametrize(
    ("dtype", "code", "low", "high"),
    [
        (np.uint16, 3, (9000, 2000, 8000), (46000, 65535, 37000)),
        (np.uint16, 3, (2000, 2000, 2000), (65535, 65535, 65535)),
        (np.float32, 11, (0.1, 0.0, 0.2), (0.7, 1.0, 0.6)),
    ],
)
def test_one_stated_range_for_all_channels(
    tmp_path: Path, dtype: type, code: int, low: tuple[float, ...], high: tuple[float, ...]
) -> None:
    """Some programs state the least and largest sample of each channel: no channel is cut at another's."""
    least, largest = min(low), max(high)
    levels = np.linspace(0, 255, 60 * 40 * 3).reshape(60, 40, 3).round().astype(np.uint8)
    stored: NDArray[Any] = (least + levels / 255 * (largest - least)).astype(dtype)
    tags = [(340, code, 3, low, True), (341, code, 3, high, True)]
    tifffile.imwrite(tmp_path / "a.tif", stored, photometric="rgb", metadata=None, extratags=tags)
    with open_slide(tmp_path / "a.tif") as reader:
        assert np.abs(reader.read_grid(0, 0, 40, 60, 1.0).astype(int) - levels).max() <= 1


def brightfield(dark: float = 0.35) -> NDArray[np.float64]:
    """The light that tissue lets through: glass .9, and nuclei of a few pixels that levels average out."""
    light = np.full((512, 512), 0.9)
    light[4::32, 4::32] = light[4::32, 5::32] = dark
    return light


def write_inverted(path: Path, stored: NDArray[Any], **options: Any) -> Path:
    with tifffile.TiffWriter(path) as tiff:
        for step in (1, 4, 16):
            level = stored.reshape(512 // step, step, 512 // step, step).mean(axis=(1, 3))
            tiff.write(
                np.rint(level).astype(stored.dtype),
                photometric="miniswhite",
                tile=(64, 64),
                metadata=None,
                **({"subifds": 2} if step == 1 else {"subfiletype": 1}),
                **options,
            )
    return path


@pytest.mark.parametrize("bits", [10, 12, 14, 16])
@pytest.mark.parametrize("file_bits", [16, 32])
@pytest.mark.parametrize("within", ["the file's bits", "the camera's bits"])
def test_white_is_zero_in_more_than_8_bits(tmp_path: Path, bits: int, file_bits: int, within: str) -> None:
    light = brightfield()
    top = 2 ** (file_bits if within == "the file's bits" else bits) - 1
    stored = (top - np.rint(light * (2**bits - 1))).astype(f"u{file_bits // 8}")
    path = write_inverted(tmp_path / "a.tif", stored)
    assert np.abs(read(path)[..., 0] / 255 - light).max() < 0.005
    with open_slide(path) as reader:
        assert len(reader.notes) == (within == "the camera's bits" and bits < file_bits)
        assert all(f"is read as {bits} bits in {file_bits}" in note for note in reader.notes)


@pytest.mark.parametrize(
    ("stored", "shade"), [(0, "white"), (2**16 - 2**8, "black")], ids=["within 8 bits", "within 16 bits"]
)
def test_8_bits_in_16_where_white_is_zero_are_reported(tmp_path: Path, stored: int, shade: str) -> None:
    samples = (stored + np.rint(255 * (1 - brightfield()))).astype(np.uint16)
    with open_slide(write_inverted(tmp_path / "a.tif", samples)) as reader:
        assert len(reader.notes) == 1
        assert reader.notes[0].startswith(f"is nearly {shade}, as")


def test_a_stated_range_holds_where_white_is_zero_too(tmp_path: Path) -> None:
    light = brightfield(0.8)
    stored = np.rint((1 - light) * 4095).astype(np.uint16)
    options = {"extratags": [(340, "H", 1, 0), (341, "H", 1, 4095)]}
    path = write_inverted(tmp_path / "a.tif", stored, **options)
    assert np.abs(read(path)[..., 0] / 255 - light).max() < 0.005
    with open_slide(path) as reader:
        assert reader.notes == ()
