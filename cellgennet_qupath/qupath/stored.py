"""Nuclei of a file, read chunk by chunk, and new ones that are written beside them."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from itertools import chain
from pathlib import Path

import numpy as np
import shapely
from numpy.typing import NDArray

from ..nuclei import Nuclei, NucleiChunks, empty
from .checked import in_area
from .formats.detections import detection_chunks, qupath_id


class StoredNuclei:
    """The nuclei of a file of detections, one chunk in memory at a time (see ``NucleiChunks``).

    The file is read once to check it, and again for each call of ``chunks``; until that has ended it must not
    change. ``parents_in``: an area outside which the parents do not matter. Raises EntryDataError.
    """

    def __init__(
        self, file: Path, columns_file: Path | None = None, parents_in: shapely.Geometry | None = None
    ) -> None:
        self._file, self._columns_file = file, columns_file
        self._count, names = 0, dict[str, None]()
        known: dict[str, int] = {}
        keys: list[NDArray[np.bytes_]] = [np.zeros(0, "S36")]
        numbers: list[int] = []
        for nuclei, parents in detection_chunks(file, columns_file):
            self._count += len(nuclei)
            names |= dict.fromkeys(map(str, nuclei.measurements.columns))
            rows = np.flatnonzero(parents != "")
            if parents_in is not None:
                rows = rows[in_area(nuclei.take(rows), parents_in)]
            if len(rows):
                keys.append(_keys(nuclei.take(rows)))
                numbers += [known.setdefault(parent, len(known)) for parent in parents[rows].tolist()]
        self._names = list(names)
        every = np.concatenate(keys)
        order = np.argsort(every, kind="stable")
        self._with_parents, self._numbers = every[order], np.array(numbers, np.int32)[order]
        self._parents = np.array([*known, ""], dtype=object)

    def __len__(self) -> int:
        return self._count

    def parents_of(self, nuclei: Nuclei) -> NDArray[np.object_]:
        """(n,) ids of the parents that nuclei of these ids have in the file, "" for none."""
        keys = _keys(nuclei)
        number = np.full(len(keys), -1)
        rows = np.flatnonzero(_among(keys, self._with_parents))
        number[rows] = self._numbers[np.searchsorted(self._with_parents, keys[rows])]
        parents: NDArray[np.object_] = self._parents[number]
        return parents

    def chunks(self) -> Iterator[Nuclei]:
        """The nuclei in the file's order."""
        if not self._count:
            yield _with_columns(empty(), self._names)
            return
        for nuclei, _ in detection_chunks(self._file, self._columns_file):
            yield _with_columns(nuclei, self._names)


class Beside:
    """Nuclei that stay, then new ones that have other ids (see ``NucleiChunks``).

    Of those that stay only the ids are in memory, and the current chunk.
    """

    def __init__(self, staying: NucleiChunks, new: NucleiChunks) -> None:
        self._staying, self._new = staying, new

    def __len__(self) -> int:
        return len(self._staying) + len(self._new)

    def chunks(self) -> Iterator[Nuclei]:
        """The chunks; all have the measurements of both."""
        staying, new = self._staying.chunks(), self._new.chunks()
        first, first_new = next(staying), next(new)
        names = list(dict.fromkeys([*map(str, first_new.measurements), *map(str, first.measurements)]))
        keys: list[NDArray[np.bytes_]] = []
        for chunk in chain([first], staying):
            keys.append(_keys(chunk))
            yield _with_columns(chunk, names)
        there = np.sort(np.concatenate(keys))
        for chunk in chain([first_new], new):
            yield _with_columns(chunk.take(~_among(_keys(chunk), there)), names)


def _keys(nuclei: Nuclei) -> NDArray[np.bytes_]:
    """(n,) the ids as they are written, in 36 bytes each."""
    return np.array([qupath_id(identifier).lower() for identifier in nuclei.ids], dtype="S36")


def _among(keys: NDArray[np.bytes_], present: NDArray[np.bytes_]) -> NDArray[np.bool_]:
    """Which keys are among others, which are in order: bool (n,)."""
    if not len(present):
        return np.zeros(len(keys), bool)
    place = np.minimum(np.searchsorted(present, keys), len(present) - 1)
    return np.asarray(present[place] == keys, bool)


def _with_columns(nuclei: Nuclei, names: list[str]) -> Nuclei:
    return replace(nuclei, measurements=nuclei.measurements.reindex(columns=names))
