"""At which scale a start sees a lab's nuclei best, measured on the nuclei that the lab has outlined.

A network that learnt nuclei of usual size merges small ones and cuts large ones. Read at another pixel size
they look usual. The size of the outlines alone does not tell which: the start's own score on them does.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from ..annotations.windows import Window
from ..segmentation.decode import Decoding, decode
from .soft_maps import Predict
from .tally import Tally, pooled_pq, tally_maps

FACTORS = tuple(2.0 ** (k / 6) for k in range(-2, 5))
"""Enlargements that are tried, from 0.79 to 1.59."""
RESAMPLES = 500
CARE = 2.0
"""Standard errors: with one, the scale chosen for an unfamiliar stain cost quality on its other images (row
``scale`` of benchmarks/annotation_curve.py)."""
FEWEST_WINDOWS = 3
MOST_WINDOWS = 48
LONGEST = 384


NEGLIGIBLE = 0.03
"""Enlargements this close to 1 are not worth reading slides at an odd resolution."""


ENOUGH_TO_DISAGREE = 30
"""An image with fewer outlined nuclei is no evidence that its nuclei differ in size from those of others."""


@dataclass(frozen=True)
class ScaleChoice:
    """The enlargement at which a start is to read a lab's slides.

    factor   : above 1 for nuclei smaller than those that the start knows.
    disagree : images with enough nuclei of their own that ask for a factor more than a quarter away, and it.
    """

    factor: float
    disagree: dict[str, float]

    def sentence(self, start: str, mpp: float) -> str:
        """The choice in words."""
        if self.factor == 1:
            return f"The outlined nuclei have the size that {start} knows: slides are read at {mpp:.3g} µm."
        size = "smaller" if self.factor > 1 else "larger"
        return (
            f"The outlined nuclei look {size} than those that {start} knows: slides are read at "
            f"{mpp / self.factor:.3g} µm per pixel instead of {mpp:.3g}."
        )

    def odd_images(self) -> list[str]:
        """A sentence where images disagree with the choice."""
        if not self.disagree:
            return []
        names = ", ".join(f"{name} ({factor:.2f})" for name, factor in self.disagree.items())
        return [f"Nuclei of another size than in the other images, and the enlargement they need: {names}."]


def choose_scale(predict: Predict, rule: Decoding, windows: Sequence[Window], stride: int) -> ScaleChoice:
    """Score a network on labelled windows at each of ``FACTORS`` and choose one.

    predict : of the start; rule: its decoding rule, in samples of its maps.
    windows : with outlined nuclei, at the start's resolution.
    stride  : samples of the windows per sample of the start's maps.
    """
    known = [window for window in windows if window.n_nuclei]
    # Evenly from all slides: more windows cost minutes and change nothing.
    known = known[:: max(1, -(-len(known) // MOST_WINDOWS))]
    by_window = [_tallies(predict, rule, window, stride) for window in known]
    tallies = [[row[i] for row in by_window] for i in range(len(FACTORS))]
    factor = best_factor(tallies)
    if abs(factor - 1) < NEGLIGIBLE:
        factor = 1.0
    disagree = {}
    for source in dict.fromkeys(window.source for window in known):
        rows = [i for i, window in enumerate(known) if window.source == source]
        own = [[column[i] for i in rows] for column in tallies]
        theirs = best_factor(own)
        if (
            sum(one.true for one in own[0]) >= ENOUGH_TO_DISAGREE
            and max(theirs / factor, factor / theirs) > 1.25
        ):
            disagree[source] = theirs
    return ScaleChoice(factor, disagree)


def best_factor(tallies: Sequence[Sequence[Tally]], factors: Sequence[float] = FACTORS) -> float:
    """The enlargement that pays, moved towards 1 as far as the evidence for it is weak.

    A parabola q(x) in x = log2(factor) is fitted to the mean panoptic quality of the windows, each counting
    alike: where slides differ in magnification, the many small nuclei of one of them would decide for all. It
    has its maximum within ``factors`` at x*, with the gain g = q(x*) - q(0). The standard error s of g is the
    bootstrap's over windows, and the choice x* g^2 / (g^2 + (``CARE`` s)^2): the whole of x* if g is certain,
    nearly none of it if g may be chance. 1.0 with fewer than ``FEWEST_WINDOWS`` windows.

    tallies : for each of ``factors``, those of each window.
    """
    sums = np.array([[(one.iou, one.true + one.predicted) for one in column] for column in tallies])
    if sums.ndim < 3:
        return 1.0
    scored = sums[:, (sums[..., 1] > 0).all(axis=0)]  # windows in which there are nuclei at each factor
    if scored.shape[1] < FEWEST_WINDOWS:
        return 1.0
    x, quality = np.log2(factors), pooled_pq(scored)
    grid = np.linspace(x.min(), x.max(), 201)
    a, b, _ = np.polyfit(x, quality.mean(axis=1), 2)
    best = grid[np.argmax(a * grid**2 + b * grid)]
    gain = a * best**2 + b * best
    windows = quality.shape[1]
    drawn = np.random.default_rng(0).integers(windows, size=(RESAMPLES, windows))
    a, b, _ = np.polyfit(x, quality[:, drawn].mean(axis=2), 2)
    doubt = CARE * float((a * best**2 + b * best).std())
    return float(2.0 ** (best * gain**2 / (gain**2 + doubt**2))) if gain > 0 else 1.0


def _tallies(predict: Predict, rule: Decoding, window: Window, stride: int) -> list[Tally]:
    """At each of ``FACTORS``, of the middle of a window: at most ``LONGEST`` samples per side."""
    rows, columns = (slice(max(0, (n - LONGEST) // 2), (n + LONGEST) // 2) for n in window.shape)
    image, labels = window.part(rows, columns)
    return [tally_at(predict, rule, image, labels.objects, factor, stride) for factor in FACTORS]


def tally_at(
    predict: Predict,
    rule: Decoding,
    image: NDArray[np.float32],
    objects: NDArray[np.int32],
    factor: float,
    stride: int,
) -> Tally:
    """The nuclei of a network in an image that is enlarged by ``factor`` before it is predicted.

    objects : the true nuclei, -1 where unknown.
    """
    rows, columns = (max(2, round(n * factor)) for n in objects.shape)
    if factor != 1:
        how = cv2.INTER_AREA if factor < 1 else cv2.INTER_CUBIC
        image = np.asarray(cv2.resize(image, (columns, rows), interpolation=how), np.float32)
        objects = _nearest(objects, rows, columns)
    maps = predict(image)
    labels, _ = decode(maps[..., 0], maps[..., 1], rule)
    return tally_maps(labels, objects, stride)


def _nearest(labels: NDArray[np.int32], rows: int, columns: int) -> NDArray[np.int32]:
    y = ((np.arange(rows) + 0.5) * labels.shape[0] / rows).astype(int)
    x = ((np.arange(columns) + 0.5) * labels.shape[1] / columns).astype(int)
    resized: NDArray[np.int32] = labels[y[:, None], x]
    return resized
