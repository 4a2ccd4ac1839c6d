"""Summary by image and annotation: counts and density of detections, statistics of measurements."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import groupby
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import shapely
from numpy.typing import NDArray

from ..qupath.formats.detections import columns
from ..qupath.project import Annotation, DetectionChunk, ImageEntry
from .cells import text_column, writable
from .counted import counted_area, is_ignored, segmented_part
from .tables import centroids_of
from .text import write_text

SUMMARY_FORMATS = (".csv", ".csv.gz", ".tsv", ".tsv.gz", ".parquet")

QUANTILES = {"5 %": 0.05, "25 %": 0.25, "Median": 0.5, "75 %": 0.75, "95 %": 0.95}

_OUTLINED = ("", "Nucleus")

Row = dict[str, str | float]


@dataclass
class _Image:
    """The measurements, centroids and classes of one image's detections; outlines are not kept."""

    names: dict[str, int] = field(default_factory=dict)
    values: list[NDArray[np.float32]] = field(default_factory=list)
    centroids: list[NDArray[np.float64]] = field(default_factory=list)
    planes: list[NDArray[np.int32]] = field(default_factory=list)
    classes: list[NDArray[np.object_]] = field(default_factory=list)

    def add(self, chunk: DetectionChunk) -> None:
        names, values = columns(chunk.nuclei)
        own = [self.names.setdefault(name, len(self.names)) for name in names]
        ordered = np.full((len(values), len(self.names)), np.nan, np.float32)
        ordered[:, own] = values
        self.values.append(ordered)
        self.centroids.append(centroids_of(chunk.nuclei))
        self.planes.append(np.column_stack([chunk.nuclei.z, chunk.nuclei.t]))
        self.classes.append(chunk.nuclei.classes)


def write_summary(
    file: Path,
    chunks: Iterable[tuple[ImageEntry, DetectionChunk]],
    annotations: Callable[[ImageEntry], list[Annotation]],
    ending: str,
    segmented: Mapping[ImageEntry, bool],
    within: Callable[[ImageEntry], str | None] = lambda entry: None,
) -> int:
    """Write one row for each image and for each of its annotations, except outlines of nuclei.

    segmented : every image of the table, in order, and whether it was segmented. One that was and holds no
                detections has rows with the number 0, one that was not has rows without numbers.
    within    : the class inside which an image was segmented, by which its density is computed.

    Ignored areas are subtracted from all areas.

    Returns the number of detections. The measurements of one image are in memory at a time.
    """
    by_image: dict[ImageEntry, list[Row]] = {entry: [] for entry in segmented}
    count = 0
    for entry, group in groupby(chunks, key=lambda pair: pair[0]):
        image = _Image()
        for _, chunk in group:
            image.add(chunk)
            count += len(chunk.nuclei)
        by_image[entry] = list(_rows(entry, image, annotations(entry), within(entry)))
    for entry, is_known in segmented.items():
        if not by_image[entry]:
            by_image[entry] = list(_rows(entry, _Image(), annotations(entry), within(entry), is_known))
    rows = [row for own in by_image.values() for row in own]
    names = list(dict.fromkeys(name for row in rows for name in row))
    leading = [name for name in names if " of " not in name]
    names = leading + [name for name in names if " of " in name]
    table = pa.table({writable(name): _column([row.get(name) for row in rows]) for name in names})
    if ending == ".parquet":
        pq.write_table(table, file)
    else:
        delimiter = "\t" if ending.startswith(".tsv") else ","
        write_text(file, table.column_names, [table], delimiter, compressed=ending.endswith(".gz"))
    return count


def _column(values: list[str | float | None]) -> pa.Array:
    return text_column(values) if any(isinstance(value, str) for value in values) else pa.array(values)


def _rows(
    entry: ImageEntry,
    image: _Image,
    annotations: Sequence[Annotation],
    within: str | None,
    is_known: bool = True,
) -> Iterator[Row]:
    """The rows of an image; without numbers of detections where these are not known."""
    width = len(image.names)
    centroids = np.concatenate([np.empty((0, 2)), *image.centroids])
    planes = np.concatenate([np.empty((0, 2), np.int32), *image.planes])
    classes = np.concatenate([np.empty(0, object), *image.classes])
    padded = [np.pad(v, ((0, 0), (0, width - v.shape[1])), constant_values=np.nan) for v in image.values]
    values = np.concatenate([np.empty((0, width), np.float32), *padded])
    whole = None
    if entry.size is not None:
        whole = counted_area(segmented_part(entry.size, annotations, within), annotations)
    everything = np.ones(len(centroids), bool)
    for annotation in [None, *annotations]:
        if annotation is None:
            row: Row = {"Image": entry.name, "Object type": "Image", "Object ID": "", "Name": ""}
            row["Classification"], area, inside = "", whole, everything
        else:
            if annotation.path_class in _OUTLINED and not annotation.name:
                continue
            shape = shapely.make_valid(annotation.geometry)
            if shapely.area(shape) == 0:
                continue
            whole_area = float(shapely.area(shape))
            area = whole_area if is_ignored(annotation) else counted_area(shape, annotations)
            row = {"Image": entry.name, "Object type": "Annotation", "Object ID": annotation.id}
            row |= {"Name": annotation.name or "", "Classification": annotation.path_class}
            inside = _inside(annotation, centroids, planes)
        numbers = _counts(entry, area, classes[inside])
        if not is_known or (annotation is not None and is_ignored(annotation)):
            numbers = {name: value for name, value in numbers.items() if name.startswith("Area")}
        yield row | numbers | _statistics(list(image.names), values[inside])


def _inside(
    annotation: Annotation, centroids: NDArray[np.float64], planes: NDArray[np.int32]
) -> NDArray[np.bool_]:
    """Which detections have their centroid inside an annotation, on its plane: bool (n,)."""
    inside = (planes == (annotation.plane.z, annotation.plane.t)).all(axis=1)
    x0, y0, x1, y1 = shapely.bounds(annotation.geometry)
    inside &= ((centroids >= (x0, y0)) & (centroids <= (x1, y1))).all(axis=1)
    near = np.flatnonzero(inside)
    shape = shapely.make_valid(annotation.geometry)
    shapely.prepare(shape)
    inside[near] = shapely.contains_xy(shape, centroids[near])
    return np.asarray(inside, bool)


def _counts(entry: ImageEntry, area: float | None, classes: NDArray[np.object_]) -> Row:
    row: Row = {}
    if area is not None and entry.mpp is None:
        row["Area px^2"] = area
    elif area is not None and entry.mpp is not None:
        row["Area mm^2"] = area * entry.mpp[0] * entry.mpp[1] / 1e6
        if area > 0:
            row["Detections per mm^2"] = len(classes) / float(row["Area mm^2"])
    row["Num Detections"] = float(len(classes))
    for name, number in sorted(Counter(classes.tolist()).items()):
        if name:
            row[f"Num {name}"] = float(number)
    return row


def _statistics(names: list[str], values: NDArray[np.float32]) -> Row:
    row: Row = {}
    for number, name in enumerate(names):
        known = values[:, number].astype(np.float64)
        known = known[np.isfinite(known)]
        if not len(known):
            continue
        row[f"Mean of {name}"] = float(known.mean())
        row[f"Std.Dev. of {name}"] = float(known.std(ddof=1)) if len(known) > 1 else 0.0
        cuts = np.quantile(known, list(QUANTILES.values()))
        row |= {f"{cut} of {name}": float(value) for cut, value in zip(QUANTILES, cuts, strict=True)}
    return row
