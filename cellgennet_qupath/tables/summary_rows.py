"""The rows of a summary: what one image and each of its annotations hold."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import shapely
from numpy.typing import NDArray

from ..core.class_patterns import is_named
from ..geometry.lookup import PointIndex
from ..geometry.solid import solid
from ..qupath.formats.detections import class_names, columns
from ..qupath.parents import NEAR
from ..qupath.project import Annotation, Core, DetectionChunk, ImageEntry
from ..segmentation.plan import ignored_geometry
from .counted import counted_part
from .tables import centroids_of

QUANTILES = {"5 %": 0.05, "25 %": 0.25, "Median": 0.5, "75 %": 0.75, "95 %": 0.95}

AREAS = ("Area mm^2", "Tissue area mm^2")
"""The columns of areas in images with a pixel size."""
_SAME = 0.999
"""Share of an area from which on it is all of it: areas are kept in records to 0.01 px."""
_SEEN = 1.0
"""px² below which areas touch, but do not overlap."""
_OUTLINED = ("", "Nucleus")
_POSITIVE = ("Positive", "1+", "2+", "3+")

Values = dict[str, str | float]


@dataclass(frozen=True)
class Row:
    """One row of a summary.

    texts      : what the row is about.
    areas      : areas and, where the number of detections is known, densities.
    classes    : number of detections by class, "" for none; None where it is not known.
    dense      : the same of those inside the area, by which densities are computed.
    mm2        : the area in mm²; None without one.
    statistics : of measurements.
    """

    texts: Values
    areas: Values
    classes: Counter[str] | None
    dense: Counter[str] | None
    mm2: float | None
    statistics: Values


@dataclass
class Detections:
    """The measurements, centroids and classes of one image's detections; outlines are not kept."""

    names: dict[str, int] = field(default_factory=dict)
    values: list[NDArray[np.float32]] = field(default_factory=list)
    centroids: list[NDArray[np.float64]] = field(default_factory=list)
    planes: list[NDArray[np.int32]] = field(default_factory=list)
    classes: list[NDArray[np.object_]] = field(default_factory=list)

    def add(self, chunk: DetectionChunk) -> None:
        """Take the columns of a chunk."""
        names, values = columns(chunk.nuclei)
        own = [self.names.setdefault(name, len(self.names)) for name in names]
        ordered = np.full((len(values), len(self.names)), np.nan, np.float32)
        ordered[:, own] = values
        self.values.append(ordered)
        self.centroids.append(centroids_of(chunk.nuclei))
        self.planes.append(np.column_stack([chunk.nuclei.z, chunk.nuclei.t]))
        self.classes.append(chunk.nuclei.classes)


def image_rows(
    entry: ImageEntry,
    detections: Detections,
    annotations: Sequence[Annotation],
    cores: Sequence[Core],
    *,
    ignore: str,
    covered: shapely.Geometry | None,
    known: bool,
    missing_name: str,
    extra: Mapping[str, str],
    tissue: Callable[[shapely.Geometry], float] | None,
) -> Iterator[Row]:
    """The row of an image, then one for each core and each annotation, except outlines of nuclei.

    ignore  : the classes in whose areas nothing counts.
    covered : the part of the image in which nuclei were looked for; None if that is not known.
    known   : whether the number of detections is known; without it, rows have areas only.
    missing_name : QuPath's name of the column that says whether a core is missing.
    extra   : texts that every row gets.
    tissue  : returns the px² of tissue inside a shape; None where tissue is not measured.
    """
    width = len(detections.names)
    centroids = np.concatenate([np.empty((0, 2)), *detections.centroids])
    planes = np.concatenate([np.empty((0, 2), np.int32), *detections.planes])
    classes = np.concatenate([np.empty(0, object), *detections.classes])
    padded = [np.pad(v, ((0, 0), (0, width - v.shape[1])), constant_values=np.nan) for v in detections.values]
    values = np.concatenate([np.empty((0, width), np.float32), *padded])
    ignored = ignored_geometry(annotations, ignore)
    by_plane = _by_plane(centroids, planes)
    nowhere = np.empty(0, np.intp), PointIndex(np.empty((0, 2)))

    looked, everything = _restricted(covered, entry), np.arange(len(centroids))
    searched = np.ones(len(centroids), bool)
    if looked is not None:
        around = shapely.buffer(looked, NEAR)
        shapely.prepare(around)
        searched = shapely.intersects_xy(around, *centroids.T)

    def row(
        texts: Values,
        area: shapely.Geometry | None,
        inside: NDArray[np.intp],
        within: NDArray[np.intp],
        counts: bool,
    ) -> Row:
        areas, mm2 = _areas(entry, area, None if tissue is None or area is None else tissue(area))
        found: Counter[str] | None = Counter(classes[inside].tolist()) if counts else None
        dense: Counter[str] | None = Counter(classes[within].tolist()) if counts else None
        areas |= {} if dense is None else _densities(areas, dense.total())
        named = {"Image": entry.name, **texts, **extra}
        return Row(named, areas, found, dense, mm2, _statistics(list(detections.names), values[inside]))

    whole = None if covered is None else counted_part(covered, ignored)
    texts: Values = {"Object type": "Image", "Object ID": "", "Name": "", "Classification": ""}
    yield row(texts, whole, everything, everything[searched], known)
    for annotation in [*cores, *annotations]:
        shape = solid([annotation.geometry])[0]
        is_core = isinstance(annotation, Core)
        unnamed = annotation.path_class in _OUTLINED and not annotation.name
        if (unnamed and not is_core) or shapely.area(shape) == 0:
            continue
        without_numbers = is_named(annotation.path_class, (ignore,))
        texts = {"Object type": "TMA core" if is_core else "Annotation", "Object ID": annotation.id}
        texts |= {"Name": annotation.name or "", "Classification": annotation.path_class}
        if isinstance(annotation, Core):
            texts[missing_name] = str(annotation.missing)
        shown = _on_image(shape, entry)
        area = shown if without_numbers else counted_part(shown, ignored)
        plane = annotation.plane.z, annotation.plane.t
        rows, points = by_plane.get(plane, nowhere)
        inside = rows[points.inside(shape)]
        # Nuclei are looked for on the first plane and on the image; elsewhere 0 would be a claim.
        looked_there = plane == (0, 0) or plane in by_plane
        somewhere = shapely.area(shown) > 0 or len(inside) > 0
        counts = known and not without_numbers and looked_there and bool(somewhere)
        part = area if looked is None or without_numbers else shapely.intersection(area, looked)
        if shapely.area(part) >= _SAME * shapely.area(area):
            yield row(texts, area, inside, inside, counts)
        elif shapely.area(part) >= _SEEN:
            yield row(texts, part, inside, inside[searched[inside]], counts)
        else:
            # Where this tool did not look, 0 would be a claim; another tool's detections may be there.
            yield row(texts, area, inside, inside, counts and len(inside) > 0)


def _on_image(shape: shapely.Geometry, entry: ImageEntry) -> shapely.Geometry:
    """The part of a shape that is on the image: beyond the edge there is nothing to count."""
    if entry.size is None:
        return shape
    image = shapely.box(0, 0, *entry.size)
    if shapely.covers(image, shape):
        return shape
    on_image: shapely.Geometry = solid([shapely.intersection(shape, image)])[0]
    return on_image


def _restricted(covered: shapely.Geometry | None, entry: ImageEntry) -> shapely.Geometry | None:
    """The part of an image in which nuclei were looked for; None if that is all of it, or not known."""
    if covered is None or entry.size is None:
        return None
    missing = entry.size[0] * entry.size[1] - shapely.area(covered)
    return covered if missing > 1 else None


def class_columns(rows: Sequence[Row], more: bool) -> Iterator[tuple[str, list[float | None]]]:
    """Numbers of detections by class under QuPath's names: columns of equal length, None where unknown.

    more : also the density of each class and, where there are positive and negative ones, the number by base
           class and the percentage of positive ones.
    """
    names = sorted({name for row in rows for name in row.classes or () if name})
    bases = sorted({_base(name) for name in names if class_names(name)[-1] in (*_POSITIVE, "Negative")})
    if more:
        for base in filter(None, bases):
            derived = [name for name in names if name == base or name.startswith(f"{base}: ")]
            yield f"Num {base} (base)", [_number(row, derived) for row in rows]
    for name in names:
        # QuPath's name for the number of all of them is taken.
        column = f"Num {name} (class)" if name == "Detections" else f"Num {name}"
        yield column, [_number(row, [name]) for row in rows]
    if not more:
        return
    for base in bases:
        prefix = f"{base}: " if base else ""
        positive = [_number(row, [prefix + grade for grade in _POSITIVE]) for row in rows]
        negative = [_number(row, [prefix + "Negative"]) for row in rows]
        shares = [
            None if p is None or n is None else _ratio(100 * p, p + n)
            for p, n in zip(positive, negative, strict=True)
        ]
        yield f"{prefix}Positive %", shares
    for name in names:
        densities = [
            None if row.dense is None or row.mm2 is None else _ratio(row.dense[name], row.mm2) for row in rows
        ]
        yield f"Num {name} per mm^2", densities


def _base(name: str) -> str:
    return ": ".join(class_names(name)[:-1])


def _number(row: Row, names: Iterable[str]) -> float | None:
    return None if row.classes is None else float(sum(row.classes[name] for name in names))


def _ratio(number: float, area: float) -> float | None:
    return number / area if area else None


def _areas(
    entry: ImageEntry, area: shapely.Geometry | None, tissue: float | None
) -> tuple[Values, float | None]:
    """The areas of a row, and the one in mm² if it has one; ``tissue`` in px²."""
    if area is None:
        return {}, None
    unit, scale = "px^2", 1.0
    if entry.mpp is not None:
        unit, scale = "mm^2", entry.mpp[0] * entry.mpp[1] / 1e6
    size = float(shapely.area(area)) * scale
    areas: Values = {f"Area {unit}": size}
    if tissue is not None:
        areas[f"Tissue area {unit}"] = tissue * scale
    return areas, size if entry.mpp is not None else None


def _densities(areas: Values, count: int) -> Values:
    names = dict(zip(AREAS, ("Detections per mm^2", "Detections per mm^2 tissue"), strict=True))
    return {
        density: count / float(areas[area]) for area, density in names.items() if float(areas.get(area, 0))
    }


def _by_plane(
    centroids: NDArray[np.float64], planes: NDArray[np.int32]
) -> dict[tuple[int, int], tuple[NDArray[np.intp], PointIndex]]:
    """The rows of the detections of each plane (z, t), ascending, and their centroids by place."""
    distinct, group = np.unique(planes, axis=0, return_inverse=True)
    found = {}
    for number, (z, t) in enumerate(distinct.tolist()):
        rows = np.flatnonzero(group.reshape(-1) == number)
        found[z, t] = rows, PointIndex(centroids[rows])
    return found


def _statistics(names: list[str], values: NDArray[np.float32]) -> Values:
    row: Values = {}
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
