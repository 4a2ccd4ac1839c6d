"""What a slide's colours say about its stain: brightfield or not, brown, blue-green, grey, or as H&E."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

_BITS = 5
"""Bits per channel of the histogram of colours."""
_MANY = 0.03
"""Share of the tissue's pixels from which a colour is reported. Hemosiderin in spleen reaches 0.025."""
_DARK = 40
_MOSTLY_DARK = 0.5
_TINT = 8
_GREY = 0.99


def _no_colours() -> NDArray[np.int64]:
    return np.zeros(1 << 3 * _BITS, np.int64)


@dataclass
class Colours:
    """A histogram of the colours of tissue: int64 (32768,), 5 bits each of red, green and blue."""

    counts: NDArray[np.int64] = field(default_factory=_no_colours)

    def add(self, pixels: NDArray[np.uint8]) -> None:
        """Count 8-bit pixels (n, 3)."""
        coarse = (pixels >> (8 - _BITS)).astype(np.int32)
        codes = (coarse[:, 0] << 2 * _BITS) | (coarse[:, 1] << _BITS) | coarse[:, 2]
        self.counts += np.bincount(codes, minlength=len(self.counts))

    def unlike_h_and_e(self) -> str:
        """In words, why these are not the colours of hematoxylin and eosin in brightfield; "" if they may be.

        Brown is what absorbs blue about as much as green and clearly more than red: DAB, alone or over
        hematoxylin. Hematoxylin and eosin absorb green most, red less and blue least.
        """
        codes = np.flatnonzero(self.counts)
        if not len(codes):
            return ""
        share = self.counts[codes] / self.counts.sum()
        mask = (1 << _BITS) - 1
        channels = np.stack([codes >> 2 * _BITS, codes >> _BITS & mask, codes & mask])
        rgb = (channels << (8 - _BITS)) + (1 << (7 - _BITS))
        brightest, darkest = rgb.max(axis=0), rgb.min(axis=0)
        grey = share[brightest - darkest < _TINT].sum() >= _GREY
        if share[brightest < _DARK].sum() >= _MOSTLY_DARK:
            kind = "grey on a dark background" if grey else "bright on a dark background"
            return f"is {kind}, as in fluorescence, not brightfield H&E"
        if grey:
            return "is grey, without the colours of H&E"
        order = np.argsort(brightest)
        at = min(int(np.searchsorted(np.cumsum(share[order]), 0.99)), len(order) - 1)
        density = -np.log10((rgb + 1) / (brightest[order[at]] + 1))
        red, green, blue = density
        mean = density.mean(axis=0)
        brown = (mean >= 0.3) & (blue >= 0.9 * green) & (red <= 0.75 * blue) & (red >= 0.3 * green)
        cool = (mean >= 0.25) & (red >= 1.1 * green + 0.05)
        for stained, words in (
            (brown, "brown, as of DAB (immunohistochemistry)"),
            (cool, "blue or green without eosin's pink, as of special stains"),
        ):
            found = share[stained].sum()
            if found >= _MANY:
                return f"has colours unlike H&E: {found:.0%} of its tissue is {words}"
        return ""


def unlike_h_and_e(image_type: str, channels: int, colours: Colours) -> str:
    """In words, why an image is not H&E in brightfield; "" if it may be.

    image_type : as set in QuPath ("BRIGHTFIELD_H_DAB", "FLUORESCENCE" ...); "" if not known.
    channels   : of the image, as recorded in QuPath.
    """
    if image_type in _OTHER_TYPES:
        return f"its image type in QuPath is {_OTHER_TYPES[image_type]}, not H&E"
    if channels not in (1, 3):
        return f"has {channels} channels, unlike H&E in brightfield (RGB)"
    return colours.unlike_h_and_e()


_OTHER_TYPES = {
    "BRIGHTFIELD_H_DAB": "Brightfield (H-DAB)",
    "FLUORESCENCE": "Fluorescence",
}
