"""Distances to neighbours and local density of nuclei, over a whole image."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from ..core.lazy import lazy

if TYPE_CHECKING:
    import scipy.spatial as spatial
else:
    spatial = lazy("scipy.spatial")

RADIUS = 50.0
"""µm; radius of the disc in which neighbours are counted."""

NEIGHBOURS = f"Nuclei within {RADIUS:g} µm"
DENSITY = f"Nuclei per mm^2 within {RADIUS:g} µm"

_AT_ONCE = 50_000
_STRIPS = 64


def nearest_name(calibrated: bool) -> str:
    """Name of the column of distances to the nearest nucleus."""
    return f"Nearest nucleus {'µm' if calibrated else 'px'}"


def neighbourhood(
    centroids: NDArray[np.float64],
    planes: NDArray[np.int32],
    size: tuple[float, float],
    mpp: tuple[float, float] | None,
) -> pd.DataFrame:
    """Distance to the nearest nucleus, number of others within 50 µm, and local density.

    centroids : (n, 2) x and y in full-resolution pixels, of all nuclei of an image.
    planes    : (n, k) the plane of each; nuclei on different planes are not neighbours.
    size      : (width, height) of the image in pixels. Where the disc of 50 µm extends beyond the image, the
                density is that of its part inside, so that it does not fall towards the edge.
    mpp       : (x, y) µm per pixel; without it distances are in pixels and nothing is counted.
    Returns n rows of float64 columns; NaN distance for the only nucleus of a plane.
    """
    scale = np.array(mpp or (1.0, 1.0))
    points = centroids * scale
    n = len(points)
    nearest, count = np.full(n, np.nan), np.zeros(n)
    _, group = np.unique(planes, axis=0, return_inverse=True)
    for plane in range(int(group.max(initial=-1)) + 1):
        rows = np.flatnonzero(group == plane)
        tree = spatial.cKDTree(points[rows])
        for part in np.array_split(rows, -(-len(rows) // _AT_ONCE)):
            if len(rows) > 1:
                nearest[part] = np.asarray(tree.query(points[part], k=2)[0])[:, 1]
            if mpp is not None:
                count[part] = tree.query_ball_point(points[part], RADIUS, return_length=True) - 1
    columns = {nearest_name(mpp is not None): nearest}
    if mpp is not None:
        columns[NEIGHBOURS] = count
        mm2 = disc_inside(points, RADIUS, np.array(size) * scale) / 1e6
        # A nucleus far outside the image has no density.
        columns[DENSITY] = np.divide(count, mm2, out=np.full(n, np.nan), where=mm2 > 0)
    return pd.DataFrame(columns)


def disc_inside(
    centres: NDArray[np.float64], radius: float, size: NDArray[np.float64]
) -> NDArray[np.float64]:
    """(n,) area of the part of a disc around each centre inside the rectangle from 0, 0 to ``size``."""
    area = np.full(len(centres), np.pi * radius**2)
    cut = np.flatnonzero(((centres < radius) | (centres > size - radius)).any(axis=1))
    # Vertical strips of equal angle, each as high as the chord in its middle, clipped to the rectangle.
    angle = np.linspace(np.pi, 0, _STRIPS + 1)
    edge, middle = radius * np.cos(angle), (angle[1:] + angle[:-1]) / 2
    half = radius * np.sin(middle)
    for part in np.array_split(cut, -(-len(cut) // _AT_ONCE) or 1):
        x, y = centres[part, :1], centres[part, 1:]
        width = np.diff(np.clip(x + edge, 0, size[0]), axis=1)
        height = np.clip(y + half, 0, size[1]) - np.clip(y - half, 0, size[1])
        area[part] = (width * np.maximum(height, 0)).sum(axis=1)
    return area
