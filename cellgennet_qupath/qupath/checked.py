"""Regions in which a user has checked every detection: what is there stays, and no nucleus is added."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import numpy as np
import shapely
from numpy.typing import NDArray

from ..nuclei import Nuclei, NucleiChunks


def in_area(nuclei: Nuclei, area: shapely.Geometry) -> NDArray[np.bool_]:
    """Which nuclei have their centroid inside an area of the first plane, border included: bool (n,)."""
    x, y = shapely.get_coordinates(shapely.centroid(nuclei.polygons)).T
    return np.asarray((nuclei.z == 0) & (nuclei.t == 0) & shapely.intersects_xy(area, x, y), bool)


class Beside:
    """Nuclei that stay, then new ones that have other ids (see ``NucleiChunks``)."""

    def __init__(self, staying: Nuclei, new: NucleiChunks) -> None:
        self._staying, self._new = staying, new

    def __len__(self) -> int:
        return len(self._staying) + len(self._new)

    def chunks(self) -> Iterator[Nuclei]:
        """The chunks; all have the measurements of both."""
        names: list[str] = []
        for number, chunk in enumerate(self._new.chunks()):
            if number == 0:
                names = list(dict.fromkeys([*chunk.measurements, *self._staying.measurements]))
                yield from _with_columns(self._staying, names).chunks()
            yield _with_columns(chunk.take(~np.isin(chunk.ids, self._staying.ids)), names)


def _with_columns(nuclei: Nuclei, names: list[str]) -> Nuclei:
    return replace(nuclei, measurements=nuclei.measurements.reindex(columns=names))
