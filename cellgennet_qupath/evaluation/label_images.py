"""The one reader of label images: ground truth of a folder, and results of other tools.

In a label image every sample has the number of its nucleus, and 0 is background. Numbers may be of any size
and type; what cannot be such an image is refused with the reason and the way to a usable one.
"""

from __future__ import annotations

import math
import struct
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import tifffile
from numpy.typing import NDArray

from ..core.errors import SupervisionError
from ..slides.orientation import UPRIGHT, orientation_of

LABEL_ENDINGS = (".png", ".tif", ".tiff", ".npy")
"""Endings of label images, also in capital letters."""

UNKNOWN = -1
"""The number of samples of which nothing is known."""

_HOW = "Save one channel of whole numbers: 0 for background, 1, 2, 3 ... for the nuclei"
_MASK_PARTS = 3
"""One object in so many separate parts is a binary mask; so many for each of several are classes."""
_TWICE, _FEW = 1.2, 20
"""Objects of about the same size, as a multiple of the numbers, from which numbers were used twice; asked
only where there are many, as the largest number of 8 bits is 255."""
_MOST = 0.5
"""An object that covers more than this share of an image, with others beside it, may be the background."""
_UNLIKE = 0.25
"""Share of neighbouring samples with different numbers, at least, in a picture or a map of probabilities. In
nuclei that touch on all sides and are five samples wide it is a fifth, in real label images below 0.12."""
_ASKED = 100
"""Samples (of neighbours, or of an image) below which neither is asked."""
_SPECK = 4
"""Parts of fewer samples are not counted."""
_PNG = b"\x89PNG\r\n\x1a\n"
_PALETTE = 3
_SHADES = 16
_JPEG = (6, 7, 33007)
"""Compressions of TIFF that change values."""


def label_size(path: Path, planes: int = 1) -> tuple[int, int, int]:
    """(width, height, planes) of a label image of at most so many planes, read from its header only.

    Raises SupervisionError where the file cannot be read or is not a label image.
    """
    shape, kind = _guarded(path, _header)
    stack = _stack(shape, planes)
    if stack is None:
        raise _not_labels(path, _several(shape))
    if kind not in "biuf":
        raise _not_labels(path, "does not hold numbers")
    return stack[2], stack[1], stack[0]


def check_turned(path: Path, image: Path) -> None:
    """Raises SupervisionError where a label image states another orientation than its image, as neither is
    turned when it is read.
    """
    own = orientation_of(path)
    if own not in (UPRIGHT, orientation_of(image)):
        raise SupervisionError(
            path,
            f"has an orientation tag ({own}) that {image.name} does not have, so they may not fit",
            "Save it without the tag, with its samples in the order of the image's",
        )


def read_labels(path: Path, planes: int = 1) -> NDArray[np.int32]:
    """Read a label image (PNG, TIFF or NumPy array) as int32 (rows, columns); of several planes, the first.

    0 is background, ``UNKNOWN`` (-1) marks samples of which nothing is known. Where the numbers exceed the
    number of samples, the nuclei are renumbered 1 ... n in ascending order, so that numbers of any size and
    64 bits fit. Floats that are whole numbers and indices of a palette are accepted.

    Raises SupervisionError where the file cannot be read, or holds colours, fractions, negative numbers other
    than -1, a picture, a background that has a number, or a binary mask or a map of classes (see
    ``count_parts``).
    """
    label_size(path, planes)
    raw = _guarded(path, _pixels)
    stack = _stack(raw.shape, planes)
    labels = raw if stack is None else raw.reshape(stack)[0]
    if labels.dtype.kind == "f":
        labels = _whole(path, labels)
    if labels.dtype.kind not in "biu" or labels.ndim != 2:
        raise _not_labels(path, _several(labels.shape))
    if labels.dtype.kind == "i" and int(labels.min(initial=0)) < UNKNOWN:
        raise SupervisionError(
            path,
            f"holds the negative number {int(labels.min())}",
            "Use 0 for background and -1 for what is unknown; large numbers need an unsigned or 64-bit type",
        )
    numbered = _renumbered(labels)
    if _is_picture(numbered):
        raise _not_labels(path, "looks like a picture or a map of probabilities, as most neighbours differ")
    if _numbers_background(numbered):
        raise SupervisionError(
            path,
            "has one object in more than half of the image and at all four edges: the background?",
            "Give the background the number 0 (OpenCV's and MATLAB's watershed give it 1)",
        )
    objects, parts = count_parts(numbered)
    if objects == 1 and parts >= _MASK_PARTS:
        raise SupervisionError(
            path,
            f"looks like a binary mask: it holds one object in {parts} separate parts",
            "Give every nucleus a number of its own, for instance with skimage.measure.label(mask)",
        )
    if objects and parts >= _MASK_PARTS * objects:
        raise SupervisionError(
            path,
            f"looks like a map of classes: it holds {objects} numbers in {parts} separate parts",
            "Give every nucleus a number of its own (the instance map; above 255 it needs 16 bits)",
        )
    return numbered


def _is_picture(labels: NDArray[np.int32]) -> bool:
    """Whether the numbers change so often from sample to sample that they are no numbers of objects."""
    left, right = labels[:, :-1], labels[:, 1:]
    both = (left > 0) & (right > 0)
    asked = int(both.sum())
    return asked >= _ASKED and int((both & (left != right)).sum()) > _UNLIKE * asked


def _numbers_background(labels: NDArray[np.int32]) -> bool:
    """Whether one of several objects is probably what is between the others."""
    sizes = np.bincount(labels[labels > 0], minlength=1)
    largest = int(sizes.argmax())
    if labels.size < _ASKED or sizes[largest] <= _MOST * labels.size or np.count_nonzero(sizes) < 2:
        return False
    return all((edge == largest).any() for edge in (labels[0], labels[-1], labels[:, 0], labels[:, -1]))


def used_twice(labels: NDArray[np.integer]) -> str:
    """A sentence about numbers that probably stand for several nuclei each; "" where there are none."""
    sizes = np.bincount(labels[labels > 0])
    numbers = int((sizes > 0).sum())
    parts = _part_sizes(labels)
    whole = int((parts >= np.median(parts) / 4).sum()) if len(parts) else 0
    if numbers < _FEW or whole < _TWICE * numbers:
        return ""
    return (
        f"{whole} separate objects have only {numbers} numbers, so nuclei count as one (numbers above "
        "255 in 8 bits?): give every nucleus a number of its own."
    )


def count_parts(labels: NDArray[np.integer]) -> tuple[int, int]:
    """How many objects a label image holds, and of how many separate parts they consist at least.

    Parts that touch count as one, also those of different objects, and specks do not count.
    """
    objects = int(np.count_nonzero(np.bincount(labels[labels > 0])))
    parts = int((_part_sizes(labels) >= _SPECK).sum())
    return objects, max(parts, min(objects, 1))


def parts_of_one_object(labels: NDArray[np.integer]) -> int:
    """The number of separate parts of a label image's only object; 0 where it holds none or several."""
    objects, parts = count_parts(labels)
    return parts if objects == 1 else 0


def _part_sizes(labels: NDArray[np.integer]) -> NDArray[np.int32]:
    """Samples in each connected part of what is not background."""
    _, _, stats, _ = cv2.connectedComponentsWithStats((labels > 0).view(np.uint8), connectivity=8)
    return np.asarray(stats[1:, cv2.CC_STAT_AREA])


def _guarded(path: Path, read: Callable[[Path], Any]) -> Any:
    """What ``read`` returns. Libraries raise errors of many kinds for a damaged file: all mean the same."""
    try:
        return read(path)
    except SupervisionError:
        raise
    except OSError as error:
        raise SupervisionError(path, f"cannot be read ({error.strerror or error})") from error
    except MemoryError as error:
        raise SupervisionError(path, "is too large for this computer's memory") from error
    except Exception as error:
        raise SupervisionError(path, "cannot be read as a label image", "Write it again") from error


def _header(path: Path) -> tuple[tuple[int, ...], str]:
    """Shape and kind of the numbers ("u", "i", "f", ...) of an image file, without its pixels."""
    ending = path.suffix.lower()
    if ending == ".npy":
        array = _numpy(path)
        return array.shape, array.dtype.kind
    if ending == ".png":
        with path.open("rb") as file:
            head = file.read(33)
        if not head.startswith(_PNG) or head[12:16] != b"IHDR":
            raise ValueError("not a PNG")
        width, height, _, colour = struct.unpack(">IIBB", head[16:26])
        channels = {0: 1, 2: 3, _PALETTE: 1, 4: 2, 6: 4}[colour]
        return ((height, width) if channels == 1 else (height, width, channels)), "u"
    with tifffile.TiffFile(path) as tiff:
        series = tiff.series[0]
        if series.keyframe.compression in _JPEG:
            raise SupervisionError(
                path,
                "is compressed as JPEG, which changes the numbers of nuclei",
                "Save it without compression, or with LZW or Deflate",
            )
        return series.shape, np.dtype(series.dtype).kind


def _pixels(path: Path) -> NDArray[Any]:
    ending = path.suffix.lower()
    if ending == ".npy":
        return np.array(_numpy(path))
    if ending != ".png":
        return _tiff(path)
    # Python reads the file, because OpenCV cannot open every path on Windows.
    content = path.read_bytes()
    if content[25] == _PALETTE:
        return _indices(path, content)
    pixels = cv2.imdecode(np.frombuffer(content, np.uint8), cv2.IMREAD_UNCHANGED)
    if pixels is None:
        raise ValueError("cannot be decoded")
    return np.asarray(pixels)


def _tiff(path: Path) -> NDArray[Any]:
    """Numbers of a TIFF. Writers invert them where "white is zero", and ImageJ only shows them inverted; a
    palette's colours may begin with another one than the background. What there is most of decides.
    """
    with tifffile.TiffFile(path) as tiff:
        series = tiff.series[0]
        page, pixels = series.keyframe, np.asarray(series.asarray())
        colours = page.colormap if page.photometric == tifffile.PHOTOMETRIC.PALETTE else None
    if pixels.dtype.kind not in ("b", "u"):
        return pixels
    zeros = np.count_nonzero(pixels == 0)
    if page.photometric == tifffile.PHOTOMETRIC.MINISWHITE:
        highest = pixels.dtype.type(2**page.bitspersample - 1)
        return pixels ^ highest if np.count_nonzero(pixels == highest) > zeros else pixels
    if colours is not None:
        black = np.flatnonzero(~colours.any(axis=0))
        counts = [(np.count_nonzero(pixels == index), index) for index in black[:_SHADES]]
        most, index = max(counts, default=(0, 0))
        return _exchanged(pixels, int(index)) if most > zeros else pixels
    return pixels


def _exchanged(labels: NDArray[Any], background: int) -> NDArray[np.int32]:
    """Labels whose background has another number: that becomes 0, and the others move up by one."""
    return np.where(labels == background, 0, labels.astype(np.int32) + 1).astype(np.int32)


def _numpy(path: Path) -> NDArray[Any]:
    try:
        return np.asanyarray(np.load(path, mmap_mode="r", allow_pickle=False))
    except ValueError as error:
        if "Python objects" not in str(error) and "allow_pickle" not in str(error):
            raise
        raise SupervisionError(
            path,
            "holds Python objects, which are not opened",
            "Save the label array itself with numpy.save; of a Cellpose file, its `masks`",
        ) from error


def _indices(path: Path, content: bytes) -> NDArray[np.int32]:
    """Indices of a palette image; decoders return colours, so the palette is replaced by index = colour."""
    changed, palette, position = bytearray(_PNG), b"", len(_PNG)
    while position < len(content):
        length, kind = struct.unpack(">I4s", content[position : position + 8])
        chunk = content[position : position + 12 + length]
        position += 12 + length
        if kind == b"PLTE":
            palette = chunk[8:-4]
            ramp = kind + bytes(index for index in range(length // 3) for _ in range(3))
            chunk = struct.pack(">I", length) + ramp + struct.pack(">I", zlib.crc32(ramp))
        if kind != b"tRNS":
            changed += chunk
    pixels = cv2.imdecode(np.frombuffer(bytes(changed), np.uint8), cv2.IMREAD_COLOR)
    if pixels is None:
        raise ValueError("cannot be decoded")
    labels = np.asarray(pixels[..., 0], np.int32)
    black = [i for i in range(len(palette) // 3) if palette[3 * i : 3 * i + 3] == b"\0\0\0"]
    if 0 in black:
        return labels
    used = [i for i in black if (labels == i).any()]
    if len(used) != 1:
        raise _not_labels(path, "is an image of colours, none of which is known to be the background")
    return _exchanged(labels, used[0])


def _whole(path: Path, values: NDArray[np.floating]) -> NDArray[np.int64]:
    """Floats as whole numbers."""
    if not np.isfinite(values).all() or (values != np.rint(values)).any():
        raise _not_labels(path, "holds fractions (a map of probabilities?)")
    exact = 1 << (np.finfo(values.dtype).nmant + 1)
    if np.abs(values).max(initial=0) > exact:
        raise SupervisionError(
            path,
            f"holds numbers above {exact}, where {values.dtype} cannot tell neighbours apart",
            "Save whole numbers of 32 or 64 bits",
        )
    return values.astype(np.int64)


def _renumbered(labels: NDArray[Any]) -> NDArray[np.int32]:
    """As int32; numbers above the number of samples become 1 ... n, so that tables by number stay small."""
    if int(labels.max(initial=0)) <= labels.size:
        return labels.astype(np.int32)
    numbers, rank = np.unique(labels, return_inverse=True)
    background = int(np.searchsorted(numbers, 1))
    new = np.zeros(len(numbers), np.int32)
    new[background:] = np.arange(1, len(numbers) - background + 1)
    if labels.dtype.kind == "i" and numbers[0] == UNKNOWN:
        new[0] = UNKNOWN
    return new[rank].reshape(labels.shape)


def _stack(shape: tuple[int, ...], most: int) -> tuple[int, int, int] | None:
    """Planes, rows and columns of an array whose other axes are of length 1; None for any other."""
    if len(shape) < 2:
        return None
    if len(shape) > 2 and shape[-1] == 1:
        return _stack(shape[:-1], most)
    planes = math.prod(shape[:-2])
    return (planes, shape[-2], shape[-1]) if 1 <= planes <= most else None


def _several(shape: tuple[int, ...]) -> str:
    return f"has several channels or planes ({' x '.join(map(str, shape))})"


def _not_labels(path: Path, why: str) -> SupervisionError:
    return SupervisionError(path, f"is not a label image: it {why}", _HOW)
