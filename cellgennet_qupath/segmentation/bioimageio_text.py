"""The README of a BioImage.IO model: what its metadata have no place for."""

from __future__ import annotations

from ..bundle import Card
from ..core.config import NormalisationConfig
from .decode import LEVELS, DecodingConfig


def readme(card: Card, limits: NormalisationConfig, rule: DecodingConfig, stride: int) -> str:
    """Normalisation and decoding in words, with the model's numbers, as Markdown.

    stride : pixels of the input per sample of the maps, along each side.
    """
    grid = "the resolution" if stride == 1 else "half the resolution"
    covered = "pixel (i, j)" if stride == 1 else "pixels from (2 i, 2 j) to (2 i + 2, 2 j + 2)"
    scale = "any; sizes below are for 0.25 µm per pixel" if card.mpp is None else f"{card.mpp:g} µm per pixel"
    return f"""# {card.name}

A U-Net for nuclei in histology, exported from CellGenNet for QuPath. It learnt from {card.learnt_from}.

**{card.intended_use}**

Licence: {card.licence}. {card.attribution}

## Input

RGB, resolution: {scale}. Resample slides to it first.

In CellGenNet the grey values of each channel are scaled so that the {limits.low:g}th percentile becomes 0
and the {limits.high:g}th becomes 1, taken over **all tissue of the slide** (not background, pen or empty
areas) at this resolution; then they are clipped to [-0.5, 1.5]. Both ends of the scale are at least 32 grey
values apart. The metadata of this model describe the same percentiles **of the given image alone**, because
the format knows no slides. On a tile that is mostly background, the result is worse: give large images, or
scale by the slide's percentiles yourself and leave the preprocessing out.

A map sample needs to see its surroundings: overlap tiles, and use their middle only.

## Output

Two maps at {grid} of the input, with values from 0 to 1: the probability that a sample is
inside a nucleus (foreground), and the object probability, which falls from 1 at a nucleus' middle to 0 at
its border. Sample (i, j) covers the input {covered}.

## From maps to nuclei

1. Round both maps to multiples of 1/{LEVELS}.
2. Foreground: where the first map exceeds {rule.foreground:g}. Fill holes of up to {rule.max_hole_um2:g} µm².
3. Smooth the object map with a Gaussian of {rule.blur_um:g} µm. Its peaks of at least {rule.peak:g} are
   objects; of two peaks closer than {rule.peak_distance_um:g} µm, only the higher one counts.
4. Grow the peaks over the foreground by a watershed of the smoothed object map.
5. Merge two neighbours if a path between their peaks stays above {rule.valley:g} times the lower peak.
6. Drop objects smaller than {rule.min_area_um2:g} µm², wider or higher than {rule.max_extent_um:g} µm, or
   with a mean foreground probability below {rule.mean_foreground:g}.
"""
