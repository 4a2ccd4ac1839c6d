"""The nuclei of one image as columns: the form that the whole package uses."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Protocol

import numpy as np
import shapely
from numpy.typing import NDArray

from .core.lazy import lazy

if TYPE_CHECKING:
    import pandas as pd
else:
    pd = lazy("pandas")

OWN_MARK = "ce119e00-"
"""The first part of all ids that this tool assigns (see ``own_id``)."""

CHUNK = 20_000
"""Nuclei per chunk; an image can have millions."""


class NucleiChunks(Protocol):
    """The nuclei of one image, read in chunks."""

    def __len__(self) -> int: ...

    def chunks(self) -> Iterator[Nuclei]:
        """All nuclei in order, in at least one chunk; all chunks have the same measurements."""


@dataclass(frozen=True)
class Nuclei:
    """The nuclei of one image, one row each, in columns of equal length ``n``.

    polygons     : (n,) object array of shapely Polygons or MultiPolygons, full-resolution pixels,
                   QuPath's convention: the pixel in column x covers [x, x+1).
    probability  : (n,) float32 in [0, 1]; NaN where unknown.
    classes      : (n,) object array of PathClass names as QuPath writes them ("Tumor: Positive"),
                   "" for none.
    ids          : (n,) object array of UUID strings (QuPath's object ids).
    z, t         : (n,) int32, the plane.
    measurements : table of n rows, RangeIndex, float columns under QuPath's own names, in order.
    cells        : (n,) object array of the outlines of the cells around the nuclei, None in it for a
                   nucleus without; None where the nuclei are plain detections, not cells.
    """

    polygons: NDArray[np.object_]
    probability: NDArray[np.float32]
    classes: NDArray[np.object_]
    ids: NDArray[np.object_]
    z: NDArray[np.int32]
    t: NDArray[np.int32]
    measurements: pd.DataFrame = field(repr=False)
    cells: NDArray[np.object_] | None = None

    def __post_init__(self) -> None:
        lengths = {
            len(column)
            for column in (
                self.polygons,
                self.probability,
                self.classes,
                self.ids,
                self.z,
                self.t,
                self.measurements,
            )
        }
        if self.cells is not None:
            lengths.add(len(self.cells))
        if len(lengths) != 1:
            raise ValueError(f"columns of unequal length: {sorted(lengths)}")

    def __len__(self) -> int:
        return len(self.polygons)

    def chunks(self) -> Iterator[Nuclei]:
        """The rows in chunks (see ``NucleiChunks``)."""
        if len(self) <= CHUNK:
            yield self
            return
        for start in range(0, len(self), CHUNK):
            yield self.take(np.arange(start, min(start + CHUNK, len(self))))

    @classmethod
    def from_polygons(
        cls,
        polygons: Sequence[shapely.Geometry] | NDArray[np.object_],
        probability: NDArray[np.floating] | None = None,
        path_class: str = "Nucleus",
        z: int = 0,
        t: int = 0,
    ) -> Nuclei:
        """Nuclei of one class on one plane, with ids that depend only on the outlines."""
        geometries = np.empty(len(polygons), dtype=object)
        geometries[:] = polygons
        n = len(geometries)
        known = np.full(n, np.nan, np.float32) if probability is None else probability.astype(np.float32)
        return cls(
            polygons=geometries,
            probability=known,
            classes=np.full(n, path_class, dtype=object),
            ids=stable_ids(geometries, z, t),
            z=np.full(n, z, np.int32),
            t=np.full(n, t, np.int32),
            measurements=pd.DataFrame(index=pd.RangeIndex(n)),
        )

    @property
    def own(self) -> NDArray[np.bool_]:
        """Which of them this tool made, by their ids; bool (n,)."""
        return np.array([str(one).startswith(OWN_MARK) for one in self.ids], bool)

    def take(self, rows: NDArray[np.intp] | NDArray[np.bool_]) -> Nuclei:
        """The selected rows, in the order of the indices, or in their own order for a mask."""
        return Nuclei(
            polygons=self.polygons[rows],
            probability=self.probability[rows],
            classes=self.classes[rows],
            ids=self.ids[rows],
            z=self.z[rows],
            t=self.t[rows],
            measurements=self.measurements.iloc[
                np.flatnonzero(rows) if rows.dtype == bool else rows
            ].reset_index(drop=True),
            cells=None if self.cells is None else self.cells[rows],
        )

    def with_measurements(self, table: pd.DataFrame) -> Nuclei:
        """The same nuclei with the columns of ``table`` (n rows) added or replaced."""
        kept = self.measurements.drop(columns=[c for c in table.columns if c in self.measurements.columns])
        return replace(self, measurements=pd.concat([kept, table.reset_index(drop=True)], axis=1))


def stable_ids(polygons: NDArray[np.object_], z: int = 0, t: int = 0) -> NDArray[np.object_]:
    """UUIDs of outlines on a plane: the same nucleus gets the same id in every run (see ``own_id``).

    Outlines that are equal to 0.01 px, the precision of our GeoJSON, get different ids, by their order.
    """
    ids = np.empty(len(polygons), dtype=object)
    seen: dict[bytes, int] = {}
    if len(polygons):
        rounded = shapely.transform(polygons, lambda xy: np.round(xy, 2) + 0.0)
        for row, wkb in enumerate(shapely.to_wkb(rounded, byte_order=1)):
            key = bytes(wkb) + f"|{z}|{t}".encode()
            count = seen.get(key, 0)
            seen[key] = count + 1
            ids[row] = own_id(key if count == 0 else key + f"|{count}".encode())
    return ids


def own_id(content: bytes) -> str:
    """A UUID (version 8) derived from any bytes, with the mark of this tool in its first part.

    QuPath keeps ids wherever an object goes (files, GeoJSON, copied projects), so they identify our
    objects; all others have random ids (version 4).
    """
    digest = hashlib.blake2b(content, digest_size=12).hexdigest()
    variant = "89ab"[int(digest[7], 16) % 4]
    return f"{OWN_MARK}{digest[:4]}-8{digest[4:7]}-{variant}{digest[8:11]}-{digest[11:23]}"


def empty() -> Nuclei:
    """No nuclei, with all columns."""
    return Nuclei.from_polygons([])


def concat(chunks: Sequence[Nuclei]) -> Nuclei:
    """The nuclei of several chunks, in order."""
    if not chunks:
        return empty()
    if len(chunks) == 1:
        return chunks[0]
    cells = None
    if any(chunk.cells is not None for chunk in chunks):
        cells = np.concatenate(
            [np.full(len(b), None, dtype=object) if b.cells is None else b.cells for b in chunks]
        )
    return Nuclei(
        polygons=np.concatenate([chunk.polygons for chunk in chunks]),
        probability=np.concatenate([chunk.probability for chunk in chunks]),
        classes=np.concatenate([chunk.classes for chunk in chunks]),
        ids=np.concatenate([chunk.ids for chunk in chunks]),
        z=np.concatenate([chunk.z for chunk in chunks]),
        t=np.concatenate([chunk.t for chunk in chunks]),
        measurements=pd.concat([chunk.measurements for chunk in chunks], ignore_index=True),
        cells=cells,
    )


def collect(nuclei: NucleiChunks) -> Nuclei:
    """All nuclei at once, in memory."""
    return nuclei if isinstance(nuclei, Nuclei) else concat(list(nuclei.chunks()))
