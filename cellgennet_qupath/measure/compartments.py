"""Measurements of cells by compartment (nucleus, cytoplasm, cell), under QuPath's names."""

from __future__ import annotations

import re

import numpy as np
import pandas as pd
import shapely
from numpy.typing import NDArray

from .intensity import stain_columns, stain_measurements
from .shape import shape_measurements
from .tile import FullResolution, MeasureOptions, Window, edge_mark, windowed

AREA_RATIO = "Nucleus/Cell area ratio"

_COMPARTMENTS = ("Nucleus", "Cytoplasm", "Cell")
_RENAMED = (0, 6)


def stain_comes_first(version: str) -> bool:
    """Whether a QuPath writes "Hematoxylin: Nucleus: Mean" (up to 0.5) or "Nucleus: Hematoxylin: Mean"."""
    numbers = re.match(r"v?(\d+)\.(\d+)", version)
    return numbers is not None and (int(numbers[1]), int(numbers[2])) < _RENAMED


def measure_cells(
    image: FullResolution,
    nuclei: NDArray[np.object_],
    cells: NDArray[np.object_],
    options: MeasureOptions,
    stain_first: bool = False,
) -> pd.DataFrame:
    """Measure the compartments of cells: n rows of float64 columns.

    nuclei, cells : (n,) Polygons or MultiPolygons in full-resolution pixels; None in ``cells`` for a
                    nucleus without, whose columns of cell and cytoplasm are empty.
    stain_first   : see ``stain_comes_first``.
    Cytoplasm is the cell without its nucleus. Membranes, which QuPath can measure too, are not measured:
    the border of an expanded nucleus is not a membrane. Raises SlideError if the image cannot be read.
    """
    present = np.flatnonzero(~shapely.is_missing(cells))
    everything = np.arange(len(nuclei))
    parts = [shape_measurements(nuclei, options.mpp).add_prefix("Nucleus: ")]
    parts.append(
        _expand(shape_measurements(cells[present], options.mpp).add_prefix("Cell: "), present, len(nuclei))
    )
    ratio = np.full(len(nuclei), np.nan)
    ratio[present] = np.clip(shapely.area(nuclei[present]) / shapely.area(cells[present]), 0, 1)
    parts.append(pd.DataFrame({AREA_RATIO: ratio}))
    if options.stains is not None:
        stains = options.stains
        outer = nuclei.copy()
        outer[present] = cells[present]

        def compartments(window: Window, rows: NDArray[np.intp]) -> list[pd.DataFrame]:
            pixels, origin = window.pixels, (window.x, window.y)
            with_cell = np.isin(rows, present)
            own, around = nuclei[rows], cells[rows[with_cell]]
            tables = [
                stain_measurements(pixels, own, stains, origin),
                stain_measurements(pixels, around, stains, origin, without=own[with_cell]),
                stain_measurements(pixels, around, stains, origin),
            ]
            positions = np.flatnonzero(with_cell)
            return [tables[0], *(_expand(table, positions, len(rows)) for table in tables[1:])]

        tables = windowed(image, outer, compartments) if len(everything) else []
        empty = pd.DataFrame(columns=stain_columns(stains), dtype=np.float64)
        parts.append(_named(tables or [empty] * 3, stains.names, stain_first))
    parts.append(edge_mark(image, nuclei, options.margin))
    return pd.concat(parts, axis=1)


def _expand(table: pd.DataFrame, rows: NDArray[np.intp], n: int) -> pd.DataFrame:
    """A table of some rows as a table of n rows, empty elsewhere."""
    return table.set_axis(rows, axis=0).reindex(range(n))


def _named(tables: list[pd.DataFrame], stains: tuple[str, ...], stain_first: bool) -> pd.DataFrame:
    """Stain tables of the compartments side by side, in QuPath's order."""
    columns: dict[str, pd.Series[float]] = {}
    pairs = [(c, s) for c in range(len(_COMPARTMENTS)) for s in dict.fromkeys(stains)]
    if stain_first:
        pairs = [(c, s) for s in dict.fromkeys(stains) for c in range(len(_COMPARTMENTS))]
    for compartment, stain in pairs:
        first = f"{_COMPARTMENTS[compartment]}: "
        for name in tables[compartment].columns:
            named, statistic = str(name).rsplit(": ", 1)
            if named == stain:
                trimmed = stain.strip()
                full = f"{trimmed}: {first}{statistic}" if stain_first else f"{first}{trimmed}: {statistic}"
                columns[full] = tables[compartment][name]
    return pd.DataFrame(columns)
