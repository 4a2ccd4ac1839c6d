"""Regions in which a user has checked every detection: what is there stays, and no nucleus is added."""

from __future__ import annotations

import numpy as np
import shapely
from numpy.typing import NDArray

from ..nuclei import Nuclei


def in_area(nuclei: Nuclei, area: shapely.Geometry) -> NDArray[np.bool_]:
    """Which nuclei have their centroid inside an area of the first plane, border included: bool (n,)."""
    x, y = shapely.get_coordinates(shapely.centroid(nuclei.polygons)).T
    return np.asarray((nuclei.z == 0) & (nuclei.t == 0) & shapely.intersects_xy(area, x, y), bool)


def inside(nuclei: Nuclei, area: shapely.Geometry | None) -> Nuclei:
    """The nuclei in an area (see ``in_area``); all of them where there is none."""
    return nuclei if area is None else nuclei.take(in_area(nuclei, area))
