"""Label images of every kind that tools write: read as meant, or refused in one line with the way out."""

from __future__ import annotations

import struct
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import tifffile
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from numpy.typing import NDArray

from cellgennet_qupath.core.errors import SupervisionError
from cellgennet_qupath.evaluation.label_images import (
    check_turned,
    label_size,
    parts_of_one_object,
    read_labels,
    used_twice,
)

DISCS = np.zeros((60, 80), np.int64)
for _number, (_y, _x) in enumerate([(15, 15), (15, 50), (45, 15), (45, 60)], start=1):
    DISCS[np.hypot(*np.ogrid[-_y : 60 - _y, -_x : 80 - _x]) < 9] = _number
MANY = np.kron(np.arange(1, 37).reshape(6, 6), np.pad(np.ones((8, 8), np.int64), 2))
INNER = np.kron(np.ones((6, 6), bool), np.pad(np.ones((4, 4), bool), 4))


def numbered(*ids: float, dtype: type = np.uint32) -> NDArray[Any]:
    return np.array([0, *ids], dtype)[DISCS]


@pytest.mark.parametrize(
    ("labels", "ending"),
    [
        (numbered(1, 2, 3_000_000_000, 4_294_967_295), ".tif"),
        (numbered(5, 2**32 + 5, 2**32 + 9, 2**33 + 5, dtype=np.uint64), ".tif"),
        (numbered(5, 2**32 + 5, 2**32 + 9, 2**63 + 1, dtype=np.uint64), ".npy"),
        (numbered(5, 2**32 + 5, 2**32 + 9, 2**62, dtype=np.int64), ".npy"),
        (numbered(1, 2, 3, 400_000_000), ".tif"),
        (numbered(1, 2, 3, 2**31 - 1, dtype=np.int32), ".tiff"),
        (numbered(1, 2, 3, 4, dtype=np.float32), ".tif"),
        (numbered(1, 2, 3, 2**24, dtype=np.float32), ".tif"),
        (numbered(1, 2, 3, 2**40, dtype=np.float64), ".npy"),
        (numbered(1, 2, 300, 65_535, dtype=np.uint16), ".png"),
        (numbered(1, 2, 3, 255, dtype=np.uint8), ".PNG"),
        (numbered(1, 2, 3, 4, dtype=np.uint16)[None, :, :, None], ".TIF"),
        (numbered(1, 2, 3, 4, dtype=np.int8), ".npy"),
    ],
    ids=lambda value: value if isinstance(value, str) else str(value.dtype),
)
def test_numbers_of_any_size_and_type(tmp_path: Path, labels: NDArray[Any], ending: str) -> None:
    file = tmp_path / f"l{ending}"
    if ending == ".npy":
        np.save(file, labels)
    elif ending.lower() == ".png":
        cv2.imwrite(str(file), labels)
    else:
        tifffile.imwrite(file, labels, photometric="minisblack")
    assert label_size(file) == (80, 60, 1)
    read = read_labels(file)
    assert read.dtype == np.int32
    assert read.max() <= max(read.size, 4), "no table by number can be larger than the image"
    assert len(np.unique(read)) == 5
    for number in range(5):
        assert len(np.unique(read[number == DISCS])) == 1
    assert not read[DISCS == 0].any()


def test_minus_one_is_unknown_also_beside_large_numbers(tmp_path: Path) -> None:
    for highest in (4, 2**40):
        labels = np.where(DISCS == 4, highest, DISCS)
        labels[:5] = -1
        np.save(tmp_path / "l.npy", labels)
        read = read_labels(tmp_path / "l.npy")
        assert (read[:5] == -1).all()
        assert (read[5:] == DISCS[5:]).all()


def _palette(path: Path, colours: list[tuple[int, int, int]], indices: NDArray[np.uint8]) -> None:
    """A PNG with a palette, its first colour half transparent."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    rows, columns = indices.shape
    lines = b"".join(b"\0" + row.tobytes() for row in indices)
    path.write_bytes(
        b"\x89PNG\r\n\x1a\n"
        + chunk(b"IHDR", struct.pack(">IIBBBBB", columns, rows, 8, 3, 0, 0, 0))
        + chunk(b"PLTE", b"".join(bytes(colour) for colour in colours))
        + chunk(b"tRNS", b"\x80")
        + chunk(b"IDAT", zlib.compress(lines))
        + chunk(b"IEND", b"")
    )


def test_the_indices_of_a_palette_are_the_numbers(tmp_path: Path) -> None:
    file = tmp_path / "p.png"
    black, red, white = (0, 0, 0), (255, 0, 0), (255, 255, 255)
    # Two nuclei may have one colour: the indices differ.
    _palette(file, [black, red, red, (0, 255, 0), white], DISCS.astype(np.uint8))
    assert (read_labels(file) == DISCS).all()
    # An optimised palette may put the background anywhere.
    moved = np.array([2, 0, 1, 3, 4], np.uint8)[DISCS]
    _palette(file, [red, white, black, (0, 255, 0), (0, 0, 255)], moved)
    read = read_labels(file)
    assert not read[DISCS == 0].any()
    assert len(np.unique(read)) == 5
    _palette(file, [red, white, (9, 9, 9), (0, 255, 0), (0, 0, 255)], moved)
    with pytest.raises(SupervisionError, match="none of which is known to be the background"):
        read_labels(file)


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.uint32])
@pytest.mark.parametrize("inverted", [False, True])
def test_white_is_zero(tmp_path: Path, dtype: type, inverted: bool) -> None:
    # ImageJ only shows such numbers inverted; other programs store them so.
    file = tmp_path / "w.tif"
    labels = numbered(1, 2, 3, 4, dtype=dtype)
    tifffile.imwrite(file, ~labels if inverted else labels, photometric="miniswhite")
    assert (read_labels(file) == DISCS).all()


def test_white_is_zero_with_one_bit(tmp_path: Path) -> None:
    for inverted in (False, True):
        file = tmp_path / "w.tif"
        tifffile.imwrite(file, (DISCS == 1) ^ inverted, photometric="miniswhite")
        assert (read_labels(file) == (DISCS == 1)).all()


def test_the_background_of_a_palette_in_tiff(tmp_path: Path) -> None:
    file = tmp_path / "p.tif"
    colours = np.arange(1, 1 + 3 * 256, dtype=np.uint16).reshape(3, 256)
    colours[:, 0] = 65535  # as in ImageJ's glasbey, where black may be a nucleus
    colours[:, 2] = 0
    tifffile.imwrite(file, DISCS.astype(np.uint8), photometric="palette", colormap=colours)
    assert (read_labels(file) == DISCS).all()
    moved = np.array([2, 0, 1, 3, 4], np.uint8)[DISCS]
    tifffile.imwrite(file, moved, photometric="palette", colormap=colours)
    read = read_labels(file)
    assert not read[DISCS == 0].any()
    assert len(np.unique(read)) == 5


def test_orientation_of_image_and_labels(tmp_path: Path) -> None:
    image, labels = tmp_path / "i.tif", tmp_path / "l.tif"
    for own, other, fits in ((1, 1, True), (1, 3, True), (3, 3, True), (3, 1, False), (6, 8, False)):
        for file, orientation in ((labels, own), (image, other)):
            tags = [(274, 3, 1, orientation, True)]
            tifffile.imwrite(file, DISCS.astype(np.uint8), photometric="minisblack", extratags=tags)
        if fits:
            check_turned(labels, image)
        else:
            with pytest.raises(SupervisionError, match=r"l\.tif: has an orientation tag .* i\.tif does not"):
                check_turned(labels, image)


def _png(labels: NDArray[Any]) -> Callable[[Path], object]:
    return lambda file: cv2.imwrite(str(file), labels)


def _tif(labels: NDArray[Any]) -> Callable[[Path], object]:
    photometric = "rgb" if labels.shape[-1] == 3 else "minisblack"
    return lambda file: tifffile.imwrite(file, labels, photometric=photometric)


def _npy(labels: NDArray[Any]) -> Callable[[Path], object]:
    return lambda file: np.save(file, labels, allow_pickle=True)


COLOURED = np.stack([DISCS * 40, DISCS * 7, DISCS], 2).astype(np.uint8)
PICTURE = (120 + 20 * np.random.default_rng(0).standard_normal(DISCS.shape) - 40 * (DISCS > 0)).astype(
    np.uint8
)
BLURRED = cv2.GaussianBlur((DISCS > 0) * 60000.0, (0, 0), 3).astype(np.uint16)
FRACTIONS = (DISCS / 4).astype(np.float32)


@pytest.mark.parametrize(
    ("name", "write", "why"),
    [
        (
            "jpeg.tif",
            lambda file: tifffile.imwrite(file, DISCS.astype(np.uint8), compression="jpeg"),
            "compressed as JPEG, which changes the numbers",
        ),
        ("rgb.png", _png(COLOURED), r"planes \(60 x 80 x 3\).*one channel of whole numbers"),
        ("rgba.png", _png(np.dstack([COLOURED, np.full(DISCS.shape, 255, np.uint8)])), "several channels"),
        ("rgb.tif", _tif(COLOURED), "several channels"),
        ("stack.tif", _tif(np.stack([DISCS] * 5).astype(np.uint16)), "several channels or planes"),
        ("line.npy", _npy(np.arange(9)), "several channels or planes"),
        ("fractions.tif", _tif(FRACTIONS), "holds fractions"),
        ("nan.npy", _npy(np.where(DISCS == 1, np.nan, DISCS)), "holds fractions"),
        ("inf.npy", _npy(np.where(DISCS == 1, np.inf, DISCS)), "holds fractions"),
        ("float.tif", _tif((DISCS * 2.0**23).astype(np.float32)), "above 16777216.*32 or 64 bits"),
        ("half.npy", _npy((DISCS * 1000).astype(np.float16)), "above 2048"),
        ("wrapped.tif", _tif(np.where(DISCS == 2, -1_294_967_296, DISCS).astype(np.int32)), "the negative"),
        ("text.npy", _npy(DISCS.astype(str)), "does not hold numbers"),
        ("complex.npy", _npy(DISCS.astype(complex)), "does not hold numbers"),
        ("cell_seg.npy", _npy(np.array({"masks": DISCS}, object)), "Python objects.*its `masks`"),
        ("mask.png", _png((DISCS > 0).astype(np.uint8) * 255), "one object in 4 .*every nucleus"),
        ("mask.tif", _tif((DISCS > 0).astype(np.uint8)), "binary mask"),
        ("bool.npy", _npy(DISCS > 0), "binary mask"),
        ("classes.png", _png(((MANY > 0) * (1 + MANY % 3)).astype(np.uint8)), "map of classes: it holds 3 n"),
        ("borders.tif", _tif(np.where(INNER, 2, MANY > 0).astype(np.uint8)), "map of classes: it holds 2 n"),
        ("wrapped.png", _png((MANY % 9).astype(np.uint8)), "map of classes"),
        ("watershed.npy", _npy(np.where(DISCS == 2, -1, DISCS + 1)), "at all four edges: the background"),
        ("from one.tif", _tif((MANY + 1).astype(np.uint16)), "more than half of the image.*the number 0"),
        ("void.png", _png(np.where(DISCS, DISCS, 255).astype(np.uint8)), "the background"),
        ("grey.png", _png(PICTURE), "a picture or a map of probabilities"),
        ("inverted.tif", _tif(255 - PICTURE), "a picture"),
        ("probabilities.tif", _tif(BLURRED), "a picture or a map of prob"),
        ("empty.png", lambda file: file.touch(), "cannot be read as a label image"),
        ("text.tif", lambda file: file.write_text("II* not really"), "cannot be read as a label image"),
        ("folder.png", lambda file: file.mkdir(), "cannot be read"),
        ("absent.png", lambda file: None, "cannot be read .*No such file"),
    ],
    ids=lambda value: value if isinstance(value, str) and "." in value[-6:] else "",
)  # fmt: skip
def test_what_is_not_a_label_image_is_refused(
    tmp_path: Path, name: str, write: Callable[[Path], object], why: str
) -> None:
    write(tmp_path / name)
    with pytest.raises(SupervisionError, match=why) as caught:
        read_labels(tmp_path / name)
    assert str(tmp_path / name) in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("name", ["l.png", "l.tif", "l.npy"])
@pytest.mark.parametrize("kept", [0.3, 0.9])
def test_a_cut_file_is_refused(tmp_path: Path, name: str, kept: float) -> None:
    whole = np.random.default_rng(0).integers(1, 60_000, (90, 90)).astype(np.uint16)
    {"l.png": _png, "l.tif": _tif, "l.npy": _npy}[name](whole)(tmp_path / name)
    content = (tmp_path / name).read_bytes()
    (tmp_path / name).write_bytes(content[: int(len(content) * kept)])
    with pytest.raises(SupervisionError, match=r"l\.\w+: "):
        read_labels(tmp_path / name)


def test_numbers_that_were_used_twice_are_reported() -> None:
    assert used_twice(MANY) == used_twice(MANY * 0) == used_twice(DISCS % 3) == ""
    assert "36 separate objects have only 29 numbers" in used_twice(np.where(MANY > 29, MANY - 29, MANY))
    # Fragments and nuclei that touch are usual.
    fragments = MANY.copy()
    fragments[::12, ::12] = MANY[2::12, 2::12]
    assert used_twice(fragments) == ""
    assert used_twice(np.kron(np.arange(1, 37).reshape(6, 6), np.ones((8, 8), np.int64))) == ""


def test_large_and_touching_nuclei_are_neither_background_nor_a_picture(tmp_path: Path) -> None:
    crowded = np.kron(np.arange(1, 401).reshape(20, 20), np.ones((5, 5), np.int64))
    across = np.where(np.hypot(*np.ogrid[-30:30, -40:40]) < 39, 1, 0)
    across[:3, :3], across[:3, -3:] = 2, 3
    for labels in (crowded, across, np.ones((60, 80), np.int64)):
        np.save(tmp_path / "l.npy", labels)
        assert (read_labels(tmp_path / "l.npy") == labels).all()


def test_one_nucleus_is_not_a_mask(tmp_path: Path) -> None:
    one = np.where(DISCS == 3, 255, 0).astype(np.uint8)
    cv2.imwrite(str(tmp_path / "one.png"), one)
    assert read_labels(tmp_path / "one.png").max() == 255
    assert parts_of_one_object(one) == 1
    assert parts_of_one_object(np.where(DISCS > 2, 7, 0)) == 2
    assert parts_of_one_object(DISCS) == parts_of_one_object(DISCS * 0) == 0


@given(
    arrays.arrays(
        st.sampled_from([np.uint8, np.uint16, np.uint32, np.uint64, np.int64]),
        arrays.array_shapes(min_dims=2, max_dims=2, max_side=5),
    )
)
def test_equal_numbers_stay_equal_and_different_ones_different(
    tmp_path_factory: pytest.TempPathFactory, labels: NDArray[np.integer]
) -> None:
    file = tmp_path_factory.mktemp("l") / "l.npy"
    np.save(file, labels)
    try:
        read = read_labels(file)
    except SupervisionError as error:
        assert (labels < -1).any() or "binary mask" in str(error)
        return
    assert ((read > 0) == (labels > 0)).all()
    pairs = set(zip(labels[labels > 0].tolist(), read[labels > 0].tolist(), strict=True))
    assert len(pairs) == len({a for a, _ in pairs}) == len({b for _, b in pairs})
