"""What is odd about a slide's pixels: areas that are not specimen, and colours or an image type unlike H&E.

Every command prints the same sentences about it.
"""

from __future__ import annotations

from dataclasses import dataclass

from .appearance import unlike_h_and_e
from .normalisation import tissue_colours
from .reader import SlideReader
from .tissue import tissue_mask

_MPP = 0.25
"""µm per sample at which colours are looked at, whatever the resolution of a model."""


@dataclass(frozen=True)
class Judgement:
    """What is odd about a slide.

    notes  : of the file, such as that it is a stack.
    areas  : one sentence for each kind of area that is left out, without the image's name.
    unlike : in words, why a model of the stain in question does not fit; "" if it may.
    """

    areas: tuple[str, ...]
    unlike: str
    notes: tuple[str, ...] = ()

    @property
    def sentences(self) -> list[str]:
        """One line for each finding, without the image's name."""
        unlike = [f"{self.unlike}: a model of H&E may miss nuclei here. Check the results."]
        return [f"{part}." for part in (*self.notes, *self.areas)] + (unlike if self.unlike else [])


def judge_slide(
    reader: SlideReader, mpp: float | None, image_type: str = "", channels: int = 3, stain: str = "H&E"
) -> Judgement:
    """Look at a slide's tissue and colours.

    mpp        : µm per full-resolution pixel; None for unknown.
    image_type : as set in QuPath; "" if not known. channels : as recorded in QuPath.
    stain      : of the model that is to be used; colours are only judged for "H&E".

    Raises SlideError where pixels cannot be read.
    """
    tissue = tissue_mask(reader, mpp)
    if stain != "H&E":
        return Judgement(tuple(tissue.findings), "", reader.notes)
    colours = tissue_colours(reader, 1.0 if mpp is None else max(1.0, _MPP / mpp), tissue)
    return Judgement(tuple(tissue.findings), unlike_h_and_e(image_type, channels, colours), reader.notes)
