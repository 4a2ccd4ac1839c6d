"""Stored samples become 8-bit RGB in one way, whatever file they come from.

- grey becomes three equal channels; "white is zero" is inverted;
- alpha is composited over white, unless it is 0 everywhere; other extra samples are ignored;
- YCbCr that a decoder leaves as it is (JPEG 2000 of Aperio, 33003) becomes RGB;
- 8-bit samples are taken as they are, whatever range the file states;
- other integers are scaled to 0..255 from a fixed range: the one that the file states, else the bits that its
  samples use: 10, 12 or 14 bits in 16 are recognised from the largest sample. Floating-point samples need
  a stated range.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

_BIT_DEPTHS = (10, 12, 14, 16)
TRANSPARENT = "is wholly transparent: its colours are read as if it were not"
"""What to report of an image whose alpha is 0 everywhere, as programs write that do not use alpha."""


@dataclass(frozen=True)
class SampleFormat:
    """How stored samples become 8-bit RGB (see the module)."""

    low: float = 0.0
    high: float = 255.0
    inverted: bool = False
    alpha: bool = False
    premultiplied: bool = False
    ycbcr: bool = False

    def to_rgb(self, raw: NDArray[Any]) -> NDArray[np.uint8]:
        """8-bit RGB (rows, columns, 3) from stored samples (rows, columns) or (rows, columns, channels)."""
        pixels = raw[..., None] if raw.ndim == 2 else raw
        if pixels.dtype != np.uint8 or (self.low, self.high) != (0.0, 255.0):
            # Single precision holds 24 bits.
            exact: NDArray[Any] = pixels.astype(np.float64 if pixels.dtype.itemsize > 2 else np.float32)
            scaled = (exact - self.low) * (255.0 / (self.high - self.low))
            pixels = np.clip(np.rint(scaled), 0, 255).astype(np.uint8)
        colours = 3 if pixels.shape[2] >= 3 else 1
        rgb = pixels[..., :colours]
        if self.ycbcr and colours == 3:
            rgb = _rgb_of_ycbcr(rgb)
        if self.inverted:
            rgb = 255 - rgb
        if self.alpha:
            opacity = pixels[..., colours : colours + 1].astype(np.float32) / 255
            own = rgb if self.premultiplied else rgb * opacity
            rgb = np.clip(np.rint(own + 255 * (1 - opacity)), 0, 255).astype(np.uint8)
        return np.repeat(rgb, 3, axis=2) if colours == 1 else np.ascontiguousarray(rgb)


def _rgb_of_ycbcr(ycbcr: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """RGB of 8-bit YCbCr (..., 3) in the full range of JFIF (ITU-R BT.601), rounded."""
    y, cb, cr = (ycbcr[..., channel].astype(np.float32) for channel in range(3))
    cb, cr = cb - 128, cr - 128
    rgb = np.stack([y + 1.402 * cr, y - 0.344136 * cb - 0.714136 * cr, y + 1.772 * cb], axis=-1)
    rounded: NDArray[np.uint8] = np.clip(np.rint(rgb), 0, 255).astype(np.uint8)
    return rounded


def bits_used(largest: int) -> int:
    """Bits per sample of a camera's picture in 16-bit integers, from its largest sample: 10, 12, 14 or 16.

    Less than 10 count as 16, so that a dark picture is not taken for a bright one.
    """
    if largest < 2**8:
        return 16
    return next(bits for bits in _BIT_DEPTHS if largest < 2**bits)


def notes_on(largest: int, bits: int) -> tuple[str, ...]:
    """What to report of a picture whose largest sample of so many bits is this one (see ``bits_used``)."""
    if 0 < largest < 2**8:
        return (
            f"is nearly black, as none of its {bits}-bit samples is above 255: if these are 8 bits, "
            "export it as 8-bit RGB",
        )
    if 2**16 <= largest < 2 ** (bits - 4):
        return (
            f"is dark, as none of its {bits}-bit samples is above {largest}: if that is white, export it as "
            "8-bit RGB",
        )
    return ()


def range_of_inverted(smallest: int, largest: int, bits: int) -> tuple[float, float, tuple[str, ...]]:
    """Which samples are white and black where "white is zero", and what to report of that.

    Cameras use fewer bits than the file has. Writers invert the samples within all bits of the file, so that
    all are near the end for black, or within those that are used, so that white is 0. Of the latter the
    largest sample gives the bits, and that is the darkest: take it from full resolution, as coarser levels
    have no dark nuclei.
    """
    top = 2**bits - 1
    from_top = top - smallest
    if from_top < (2**14 if bits == 16 else 2**16):
        note = (
            f"is nearly black, as all of its {bits}-bit samples, of which 0 is white, are above {top - 2**8}"
        )
        nearly = f"{note}: if these are 8 bits, export it as 8-bit RGB"
        return float(top - (2 ** bits_used(from_top) - 1)), float(top), (nearly,) if from_top < 2**8 else ()
    if largest < 2**8:
        note = f"is nearly white, as none of its {bits}-bit samples, of which 0 is white, is above {largest}"
        return 0.0, float(top), (f"{note}: if these are 8 bits, export it as 8-bit RGB",) if largest else ()
    used = bits_used(largest) if largest < 2**16 else bits
    if used == bits:
        return 0.0, float(top), notes_on(largest, bits) if largest >= 2**16 else ()
    note = (
        f"is read as {used} bits in {bits}, as none of its samples, of which 0 is white, is above {largest}"
    )
    return 0.0, float(2**used - 1), (f"{note}: if it is too dark so, export it as 8-bit RGB",)
