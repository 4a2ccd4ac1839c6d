"""Makes outlines importable by QuPath: two decimals, valid, of one part or several."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import shapely
from numpy.typing import NDArray

from ...nuclei import Nuclei

POLYGON, MULTIPOLYGON = int(shapely.GeometryType.POLYGON), int(shapely.GeometryType.MULTIPOLYGON)


SLIVER = 0.5
"""Square pixels; no nucleus is that small."""

_TWO_DECIMALS_END = 2.0**17
"""Pixels; from here on neighbouring numbers of 32 bits are 1/64 apart or more."""


def with_area(nuclei: Nuclei) -> tuple[Nuclei, NDArray[np.intp]]:
    """The nuclei with an area on the grid of 0.01 px, all outlines made importable, and their rows.

    A cell that encloses nothing is none (None).
    """
    outlines = importable(nuclei.polygons)
    cells = nuclei.cells
    if cells is not None:
        cells = importable(cells)
        cells[shapely.is_empty(cells)] = None
    nuclei = replace(nuclei, polygons=outlines, cells=cells)
    rows = np.flatnonzero(~shapely.is_empty(outlines))
    return (nuclei.take(rows) if len(rows) < len(nuclei) else nuclei), rows


def drawn(nuclei: Nuclei) -> NDArray[np.object_]:
    """(n,) the outline that QuPath draws and measures: the cell if there is one, else the nucleus."""
    if nuclei.cells is None:
        return nuclei.polygons
    outlines = nuclei.cells.copy()
    none = shapely.is_missing(outlines)
    outlines[none] = nuclei.polygons[none]
    return outlines


def roi_names(outlines: NDArray[np.object_]) -> NDArray[np.object_]:
    """(n,) QuPath's names of the ROIs that it makes of outlines."""
    plain = (shapely.get_type_id(outlines) == POLYGON) & (shapely.get_num_interior_rings(outlines) == 0)
    boxes = plain & (shapely.get_num_coordinates(outlines) == 5)
    four = outlines[boxes]
    boxes[boxes] = shapely.area(four) == shapely.area(shapely.envelope(four))
    return np.where(boxes, "Rectangle", np.where(plain, "Polygon", "Geometry")).astype(object)


def repeats(keys: NDArray[np.int64]) -> int:
    """How many of n keys are equal to an earlier one."""
    return len(keys) - len(np.unique(keys))


def on_grid(coordinates: NDArray[np.float64]) -> NDArray[np.float64]:
    """Coordinates as QuPath keeps them: two decimals, in 32 bits, which from 131,072 px on hold fewer."""
    rounded = np.round(coordinates, 2) + 0.0
    far = np.abs(rounded) >= _TWO_DECIMALS_END
    return np.where(far, coordinates.astype(np.float32).astype(np.float64), rounded)


def importable(polygons: NDArray[np.object_]) -> NDArray[np.object_]:
    """Outlines ready to be written: on QuPath's grid, valid, Polygon or MultiPolygon of several parts.

    A nucleus whose outline falls apart when repaired keeps its biggest part; what encloses at most half a
    pixel, which QuPath 0.7 can take for an empty shape, becomes an empty Polygon. None is taken as empty.
    """
    given = polygons.copy()
    given[shapely.is_missing(given)] = shapely.Polygon()
    with np.errstate(all="ignore"):
        rounded = shapely.transform(given, on_grid)
        result: NDArray[np.object_] = np.asarray(rounded, dtype=object)
        kinds = shapely.get_type_id(result)
        sound = shapely.is_valid(result) & ((kinds == POLYGON) | (kinds == MULTIPOLYGON))
        for row in np.flatnonzero(~sound):
            result[row] = _repaired(result[row])
        multiple = shapely.get_type_id(result) == MULTIPOLYGON
        single = multiple & (shapely.get_num_geometries(result) == 1)
        result[single] = shapely.get_geometry(result[single], 0)
        result[shapely.area(result) <= SLIVER] = shapely.Polygon()
    return result


def _repaired(broken: shapely.Geometry) -> shapely.Geometry:
    if not np.all(np.isfinite(shapely.get_coordinates(broken))):
        return shapely.Polygon()
    # Repairing adds vertices off the grid, and rounding can invalidate them again: both in one step.
    reach = float(np.abs(shapely.get_coordinates(broken)).max(initial=0))
    step = 0.01 if reach < _TWO_DECIMALS_END else float(np.spacing(np.float32(reach)))
    repaired = shapely.set_precision(shapely.make_valid(broken), step)
    parts: NDArray[np.object_] = shapely.get_parts(shapely.get_parts(repaired))
    parts = parts[shapely.get_type_id(parts) == POLYGON]
    parts = parts[shapely.area(parts) > 0]
    if len(parts) == 0:
        return shapely.Polygon()
    if shapely.get_type_id(broken) == MULTIPOLYGON:
        return shapely.MultiPolygon(list(parts))
    biggest: shapely.Geometry = parts[np.argmax(shapely.area(parts))]
    return biggest
