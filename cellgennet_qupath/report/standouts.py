"""Which slides of a run differ from the others: a robust rule on three numbers of each slide.

A slide stands out if one of its numbers is more than ``DEVIATIONS`` robust standard deviations (1.4826 times
the median absolute deviation) from the median of all slides, the limit of Iglewicz and Hoaglin (1993), and if
the difference is large enough to matter. Median and deviation hardly move with the slides that stand out.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from .density import rounded

FEWEST = 5
"""Of fewer slides none stands out."""
DEVIATIONS = 3.5
DENSER, LARGER, SURER = 1.5, 1.25, 0.05
"""Least differences that matter: factors of density and of nuclear area, difference of probability."""

RULE = (
    "A slide stands out if its density over tissue, its median nuclear area or its mean detection "
    f"probability is more than {DEVIATIONS:g} robust standard deviations (1.4826 × the median absolute "
    "deviation; Iglewicz and Hoaglin 1993) from the median of the slides, and differs by a factor of at "
    f"least {DENSER:g} (density) or {LARGER:g} (area), or by at least {SURER:g} (probability). Densities and "
    f"areas are compared as logarithms. It takes {FEWEST} slides: with fewer, none stands out."
)


@dataclass(frozen=True)
class SlideNumbers:
    """What slides are compared by; None where unknown.

    per_mm2     : nuclei per mm² of tissue.
    area        : median nuclear area in µm².
    probability : mean detection probability.
    """

    per_mm2: float | None = None
    area: float | None = None
    probability: float | None = None


UNKNOWN = SlideNumbers()


@dataclass(frozen=True)
class _Quantity:
    """One of the numbers: ``least`` is the factor (of a logarithm) or difference that matters."""

    of: Callable[[SlideNumbers], float | None]
    logarithmic: bool
    least: float
    words: Callable[[float, float], str]


def _times(value: float, median: float) -> str:
    factor = value / median
    return f"{factor:.1f} times" if factor > 1 else f"only {factor:.2f} times"


_QUANTITIES = (
    _Quantity(
        lambda one: one.per_mm2,
        True,
        DENSER,
        lambda value, median: (
            f"Its density of {rounded(value)} nuclei per mm² of tissue is {_times(value, median)} the "
            f"slides' median ({rounded(median)})"
        ),
    ),
    _Quantity(
        lambda one: one.area,
        True,
        LARGER,
        lambda value, median: (
            f"Its median nuclear area of {value:.1f} µm² is {_times(value, median)} the slides' median "
            f"({median:.1f}): check its pixel size"
        ),
    ),
    _Quantity(
        lambda one: one.probability,
        False,
        SURER,
        lambda value, median: (
            f"Its mean detection probability of {value:.2f} is {'above' if value > median else 'below'} the "
            f"slides' median ({median:.2f}): "
            f"{'check what was detected' if value > median else 'check its stain and focus'}"
        ),
    ),
)


def standouts(slides: Sequence[SlideNumbers]) -> list[list[str]]:
    """For each slide, why it stands out, one sentence each without a full stop; empty where it does not."""
    reasons: list[list[str]] = [[] for _ in slides]
    for quantity in _QUANTITIES:
        values = {i: value for i, one in enumerate(slides) if (value := quantity.of(one)) is not None}
        if quantity.logarithmic:
            values = {i: value for i, value in values.items() if value > 0}
        if len(values) < FEWEST:
            continue
        scaled = np.array(list(values.values()))
        least = quantity.least
        if quantity.logarithmic:
            scaled, least = np.log(scaled), float(np.log(least))
        away = np.abs(scaled - np.median(scaled))
        limit = max(DEVIATIONS * 1.4826 * float(np.median(away)), least)
        middle = float(np.median(scaled))
        median = float(np.exp(middle)) if quantity.logarithmic else middle
        for (i, value), distance in zip(values.items(), away, strict=True):
            if distance > limit:
                reasons[i].append(quantity.words(value, median))
    return reasons
