"""Images of a project that show one slide: added twice, duplicated for a second observer, or a copied file.

Nuclei that are outlined on one of them are the nuclei of the others.
"""

from __future__ import annotations

import hashlib
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import shapely
from numpy.typing import NDArray

from ..qupath.project import ImageEntry

_SAMPLE = 1 << 20
"""Bytes at the start, in the middle and at the end of files of equal size that are compared."""


def same_slides(entries: Sequence[ImageEntry]) -> list[list[ImageEntry]]:
    """The groups of two or more images that show the same picture of the same file, or of a copy of it."""
    files = {entry.slide: entry.slide.resolve() for entry in entries if entry.slide is not None}
    copies = _copies(sorted(set(files.values())))
    groups: dict[tuple[Path, int], list[ImageEntry]] = defaultdict(list)
    for entry in entries:
        if entry.slide is not None:
            file = files[entry.slide]
            groups[copies.get(file, file), entry.series].append(entry)
    return [group for group in groups.values() if len(group) > 1]


def _copies(files: Sequence[Path]) -> dict[Path, Path]:
    """The first of equal files, for each file of which there is another one of its size."""
    sizes: dict[int, list[Path]] = defaultdict(list)
    for file in files:
        if file.is_file():
            sizes[file.stat().st_size].append(file)
    first: dict[tuple[int, str], Path] = {}
    return {
        file: first.setdefault((size, _sampled(file, size)), file)
        for size, alike in sizes.items()
        if len(alike) > 1
        for file in alike
    }


def _sampled(file: Path, size: int) -> str:
    digest = hashlib.sha256()
    try:
        with file.open("rb") as stream:
            for start in (0, size // 2, max(0, size - _SAMPLE)):
                stream.seek(start)
                digest.update(stream.read(_SAMPLE))
    except OSError:
        return str(file)  # equal to no other one; reported where it is opened
    return digest.hexdigest()


def moved(
    shapes: Sequence[shapely.Geometry], start: ImageEntry, end: ImageEntry
) -> list[shapely.Geometry] | None:
    """Shapes on an image where another image of the same slide shows them.

    None where this is not known: a size was not recorded, or coordinates begin elsewhere.
    """
    if start.view.frame != end.view.frame or _stored_size(start) != _stored_size(end):
        return None
    return [shapely.transform(shape, lambda xy: _shown(_stored(xy, start), end)) for shape in shapes]


def _stored_size(entry: ImageEntry) -> tuple[int, int] | float:
    if entry.size is None:
        return np.nan  # equal to nothing
    return entry.size[::-1] if entry.view.transposed else entry.size


def _stored(xy: NDArray[np.float64], entry: ImageEntry) -> NDArray[np.float64]:
    xy = _mirrored(xy, entry)
    return xy[:, ::-1] if entry.view.transposed else xy


def _shown(xy: NDArray[np.float64], entry: ImageEntry) -> NDArray[np.float64]:
    return _mirrored(xy[:, ::-1] if entry.view.transposed else xy, entry)


def _mirrored(xy: NDArray[np.float64], entry: ImageEntry) -> NDArray[np.float64]:
    return np.where(entry.view.mirrored, np.array(entry.size) - xy, xy)
