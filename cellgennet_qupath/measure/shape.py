"""Shapes of nuclei under the names, in the order and by the definitions of QuPath."""

from __future__ import annotations

import numpy as np
import pandas as pd
import shapely
from numpy.typing import NDArray

_AT_ONCE = 256
"""Hulls whose widths are found together, in memory that the processor's cache holds."""


def shape_measurements(polygons: NDArray[np.object_], mpp: tuple[float, float] | None = None) -> pd.DataFrame:
    """The measurements of QuPath's "Add shape features" for plain detections.

    polygons : (n,) Polygons or MultiPolygons in full-resolution pixels; none may be empty.
    mpp      : (x, y) µm per pixel; None for an uncalibrated image, which is measured in pixels.
    Returns n rows of float64 columns: area, length of the outline (holes included), circularity
    (4 pi area / length squared, holes filled, at most 1; NaN for several parts), solidity (area / area of
    the convex hull), the diameter of the smallest circle around the outline, and the smallest distance of
    two parallel lines around it.
    Definitions from QuPath 0.5 and 0.7, whose values these equal to single precision.
    """
    unit = "px" if mpp is None else "µm"
    scale = np.array(mpp or (1.0, 1.0))
    scaled = np.asarray(shapely.transform(polygons, lambda points: points * scale), dtype=object)
    area, length = shapely.area(scaled), shapely.length(scaled)
    hulls = np.asarray(shapely.convex_hull(scaled), dtype=object)
    return pd.DataFrame(
        {
            f"Area {unit}^2": area,
            f"Length {unit}": length,
            "Circularity": _circularity(scaled, area, length),
            "Solidity": area / shapely.area(hulls),
            f"Max diameter {unit}": 2 * shapely.minimum_bounding_radius(scaled),
            f"Min diameter {unit}": _minimum_width(hulls),
        }
    )


def _circularity(
    polygons: NDArray[np.object_], area: NDArray[np.float64], length: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Of polygons with these areas and lengths, holes included."""
    area, length = area.copy(), length.copy()
    open_ = np.flatnonzero(shapely.get_num_interior_rings(polygons))
    outer = shapely.get_exterior_ring(polygons[open_])
    area[open_], length[open_] = shapely.area(shapely.polygons(outer)), shapely.length(outer)
    circularity = np.minimum(4 * np.pi * area / length**2, 1.0)
    circularity[shapely.get_type_id(polygons) != shapely.GeometryType.POLYGON] = np.nan
    return circularity


def _minimum_width(hulls: NDArray[np.object_]) -> NDArray[np.float64]:
    """Smallest distance of two parallel lines around a convex polygon; one of them is along an edge."""
    widths = [_widths(hulls[i : i + _AT_ONCE]) for i in range(0, len(hulls), _AT_ONCE)]
    return np.concatenate(widths) if widths else np.empty(0)


def _widths(hulls: NDArray[np.object_]) -> NDArray[np.float64]:
    points, owner = shapely.get_coordinates(hulls, return_index=True)
    first = np.searchsorted(owner, np.arange(len(hulls)))
    corners = np.diff(first, append=len(owner)) - 1  # the last point of a ring repeats the first
    # Rings of fewer corners are padded with copies of their last point, whose edges have no length.
    ring = points[first[:, None] + np.minimum(np.arange(corners.max() + 1), corners[:, None])]
    x, y = np.moveaxis(ring, 2, 0)
    edge_x, edge_y = np.diff(x, axis=1), np.diff(y, axis=1)
    length = np.hypot(edge_x, edge_y)
    x, y = x[:, :-1], y[:, :-1]
    doubled = edge_x[:, :, None] * (y[:, None] - y[..., None])
    doubled -= edge_y[:, :, None] * (x[:, None] - x[..., None])
    height = np.abs(doubled, out=doubled).max(axis=2)
    width = np.divide(height, length, out=np.full_like(height, np.inf), where=length > 0)
    narrowest: NDArray[np.float64] = width.min(axis=1)
    return narrowest
