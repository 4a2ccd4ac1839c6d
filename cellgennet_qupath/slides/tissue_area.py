"""How much tissue is inside a shape."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import shapely
from numpy.typing import NDArray

from ..geometry.raster import rasterize
from .reader import SlideReader
from .tissue import tissue_mask, tissue_samples

_ASSUMED = 0.25
"""µm per pixel of a slide without a pixel size."""
_PARTS, _SAMPLES = 32, 4_000_000
"""A sample is divided into at most so many along each side, and all into at most so many."""


@dataclass(frozen=True)
class TissueArea:
    """The tissue of a slide without its margin, on coarse samples.

    tissue     : bool (rows, columns).
    px2        : float64 (rows, columns), the part of each sample inside the image, in full-resolution px².
    downsample : full-resolution pixels per sample.
    """

    tissue: NDArray[np.bool_]
    px2: NDArray[np.float64]
    downsample: float

    def inside(self, shape: shapely.Geometry) -> float:
        """The tissue inside a shape (full-resolution pixels), in px²."""
        # Only the part of the slide around the shape.
        bounds = shapely.bounds(shape) / self.downsample
        if np.isnan(bounds).any():
            return 0.0
        x0, y0 = np.maximum(np.floor(bounds[:2]), 0).astype(int).tolist()
        x1, y1 = np.minimum(np.ceil(bounds[2:]).astype(int), self.tissue.shape[::-1]).tolist()
        if x1 <= x0 or y1 <= y0:
            return 0.0
        rows, columns = y1 - y0, x1 - x0
        # A narrow shape has few samples' centres inside, so each sample is divided where there is room.
        parts = int(np.clip(np.sqrt(_SAMPLES / (rows * columns)), 1, _PARTS))
        fine = (rows * parts, columns * parts), self.downsample / parts, (x0 * parts, y0 * parts)
        inside = (rasterize([shape], *fine) > 0).reshape(rows, parts, columns, parts).mean(axis=(1, 3))
        px2 = np.minimum(inside * self.downsample**2, self.px2[y0:y1, x0:x1])
        return float(px2[self.tissue[y0:y1, x0:x1]].sum())


def tissue_area(reader: SlideReader, mpp: float | None) -> TissueArea:
    """Where a slide has tissue. ``mpp``: µm per full-resolution pixel. Raises SlideError."""
    known = _ASSUMED if mpp is None else mpp
    mask = tissue_mask(reader, known)
    samples = tissue_samples(mask, known)
    # The last column and row of samples may reach beyond the image.
    rows, columns = (
        np.diff(np.minimum(np.arange(n + 1) * mask.downsample, side))
        for n, side in zip(samples.shape, (reader.height, reader.width), strict=True)
    )
    return TissueArea(samples, np.outer(rows, columns), mask.downsample)
