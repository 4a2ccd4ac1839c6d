"""The nuclei in another tool's GeoJSON, whatever convention it follows.

Of a cell, its nucleus; of an outline in several parts, each; of a collection, its polygons. What was chosen
is counted, so that it can be reported, and a file whose features have no outline is an error.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import shapely
from numpy.typing import NDArray

from ..annotations.classes import Role, role_of
from ..annotations.outlines import (
    Shapes,
    Size,
    array_of,
    holders,
    nucleus_size,
    overlaps,
    separate,
    split,
)
from ..core.config import ClassNames
from ..core.errors import EntryDataError, SupervisionError
from ..geometry.solid import solid
from ..qupath.formats.geojson import (
    DEEPEST_OBJECT,
    DETECTION_TYPES,
    class_name,
    features,
    object_type,
    plane_of,
    structured,
    with_children,
)
from ..qupath.formats.geometries import from_geojson
from ..qupath.formats.outlines import MULTIPOLYGON, POLYGON

_CLASSES = ClassNames()
_FRAMES = ("tmaCore", "root")
_NUCLEI, _CELLS = frozenset({"nuclei", "nucleus"}), frozenset({"cells", "cell"})
_DIAGONAL = 0.05
"""At least this share of the steps between pixel centres is diagonal; along the edges of pixels, none is."""


class JsonKind(NamedTuple):
    """A JSON file that is not GeoJSON: what it is, and what to do."""

    name: str
    remedy: str


_TO_LABELS = "Convert it to one label image or GeoJSON file per image"
_KINDS: tuple[tuple[frozenset[str], JsonKind], ...] = (
    (frozenset({"images", "annotations"}), JsonKind("a COCO file, of all images at once", _TO_LABELS)),
    (frozenset({"image_id", "category_id"}), JsonKind("a list of COCO results", _TO_LABELS)),
    (frozenset({"nuc"}), JsonKind("HoVer-Net's JSON", "Save its instance map as a label image, or GeoJSON")),
    (frozenset({"cells", "type_map"}), JsonKind("CellViT's JSON", "Use its cells.geojson")),
    (frozenset({"shapes", "imagePath"}), JsonKind("LabelMe's JSON", _TO_LABELS)),
)


@dataclass(frozen=True)
class ResultOutlines:
    """The nuclei of a file, and what was found in it.

    polygons    : (n,) Polygons and MultiPolygons in full-resolution pixels.
    probability : float32 (n,), NaN where the file has none.
    counts      : how many features were read in a particular way, by the names of ``SENTENCES``.
    pixel_centres : whether the outlines run through pixel centres (see ``through_pixel_centres``).
    """

    polygons: Shapes
    probability: NDArray[np.float32]
    counts: Counter[str] = field(default_factory=Counter)
    pixel_centres: bool = False


SENTENCES = {
    "nuclei of cells": "of {n} cells the nucleus is compared, not the cell",
    "cells without nucleus": "{n} cells have no nucleus, so the outline of the cell is compared",
    "outlines of cells": "{n} outlines of class Cells are left out, since there are some of class Nuclei",
    "annotations": "{n} annotations are left out, since there are detections",
    "tiles": "{n} tiles are left out, since there are other detections",
    "regions": "{n} annotations of regions (of classes such as Validation or Ignore*) are left out",
    "areas": "{n} annotations around several nuclei are left out, as no nucleus can be so large",
    "parts": "outlines of several parts are taken as {n} nuclei, one for each part",
    "other planes": "{n} outlines of other z-slices or time points than the first are left out",
    "without outline": "{n} features without an outline (points, lines) are left out",
}
"""What is said about each kind of feature of which there are ``n``."""


def read_result_outlines(file: Path) -> ResultOutlines:
    """The nuclei of a GeoJSON file, of any object type.

    Raises EntryDataError for a damaged file or one that is not GeoJSON, and SupervisionError where it has
    features but no outline.
    """
    found = _Found()
    total = 0
    for feature in features(file):
        try:
            for item in with_children(feature, DEEPEST_OBJECT):
                total += 1
                found.add(item)
        except (LookupError, TypeError, ValueError, AttributeError, shapely.errors.ShapelyError) as error:
            kind = _named(feature)
            if kind is not None:
                raise EntryDataError(file, f"is {kind.name}, not GeoJSON", kind.remedy) from error
            raise EntryDataError(file, "contains a feature without a geometry", "Export it again") from error
    try:
        result = found.result()
    except shapely.errors.ShapelyError as error:
        raise EntryDataError(
            file, "contains an outline that cannot be repaired", "Export it again"
        ) from error
    if total and not len(result.polygons):
        listed = ", ".join(f"{n} {kind}" for kind, n in found.bare.most_common())
        raise SupervisionError(
            file,
            f"holds {total} features but no outline of a nucleus ({listed})",
            "Export outlines; where the tool detected no nucleus, a file without features",
        )
    return result


def kind_of_json(file: Path) -> JsonKind | None:
    """What a JSON file is that is not GeoJSON; None if that is unknown. Raises EntryDataError."""
    first = next(features(file), None)
    return None if first is None else _named(first)


def _named(content: Mapping[str, Any]) -> JsonKind | None:
    return next((kind for keys, kind in _KINDS if keys <= content.keys()), None)


class _Found:
    """The outlines of a file by kind of feature, while it is read."""

    def __init__(self) -> None:
        self.outlines: dict[str, list[tuple[shapely.Geometry, float]]] = {}
        self.counts: Counter[str] = Counter()
        self.bare: Counter[str] = Counter()

    def add(self, feature: Mapping[str, Any]) -> None:
        kind = object_type(feature)
        drawn = feature["geometry"]
        if kind in _FRAMES:
            self.bare[kind] += 1
            return
        if drawn is not None and (plane := plane_of(drawn)) and (plane.z or plane.t):
            self.bare["on other planes"] += 1
            self.counts["other planes"] += 1
            return
        nucleus = feature.get("nucleusGeometry")
        chosen = drawn if nucleus is None else nucleus
        outline = None if chosen is None else _area_of(from_geojson(chosen))
        if outline is None:
            self.bare["without geometry" if chosen is None else str(chosen["type"])] += 1
            self.counts["without outline"] += 1
            return
        if nucleus is not None:
            self.counts["nuclei of cells"] += 1
        elif kind == "cell":
            self.counts["cells without nucleus"] += 1
        properties = feature.get("properties") or {}
        path_class = class_name(properties.get("classification"))
        kept = "annotation"
        if kind == "tile":
            kept = "tiles"
        elif kind in DETECTION_TYPES:
            kept = path_class.lower() if nucleus is None else ""
            kept = "nuclei" if kept in _NUCLEI else "cells" if kept in _CELLS else "other"
        elif role_of(path_class, _CLASSES) not in (Role.NUCLEUS, Role.OTHER):
            self.bare[f"of class {path_class}"] += 1
            self.counts["regions"] += 1
            return
        self.outlines.setdefault(kept, []).append((outline, _probability(properties.get("measurements"))))

    def result(self) -> ResultOutlines:
        """All nuclei, each part of an outline of several being one."""
        if len(self.outlines) > 1 and "annotation" in self.outlines:
            self.counts["annotations"] = len(self.outlines.pop("annotation"))
        if len(self.outlines) > 1 and "tiles" in self.outlines:
            self.counts["tiles"] = len(self.outlines.pop("tiles"))
        if self.outlines.keys() == {"nuclei", "cells"}:
            self.counts["outlines of cells"] = len(self.outlines.pop("cells"))
        if "annotation" in self.outlines:
            drawn = self.outlines["annotation"]
            self.outlines["annotation"] = _without_areas(drawn)
            self.counts["areas"] = len(drawn) - len(self.outlines["annotation"])
        pairs = [pair for kept in self.outlines.values() for pair in kept]
        polygons = array_of([outline for outline, _ in pairs])
        pixel_centres = through_pixel_centres(polygons)
        several = shapely.get_num_geometries(polygons) > 1
        if several.any():
            size = nucleus_size(polygons, None)
            split_up: list[tuple[shapely.Geometry, float]] = []
            for (_, probability), outline, multiple in zip(pairs, polygons, several, strict=True):
                parts = _parts(outline, size) if multiple else [outline]
                split_up += [(part, probability) for part in parts]
                if len(parts) > 1:
                    self.counts["parts"] += len(parts)
            pairs = split_up
        return ResultOutlines(
            array_of([outline for outline, _ in pairs]),
            np.array([probability for _, probability in pairs], np.float32),
            self.counts,
            pixel_centres,
        )


def _without_areas(drawn: list[tuple[shapely.Geometry, float]]) -> list[tuple[shapely.Geometry, float]]:
    """Annotations without those around several others that are too large to be a nucleus themselves."""
    shapes = solid([outline for outline, _ in drawn])
    size, areas = nucleus_size(shapes, None), shapely.area(shapes)
    large = areas > size.high
    if not large.any():
        return drawn
    around = holders(areas, overlaps(shapes, large), (areas >= size.low) & ~large) & large
    return [pair for pair, left_out in zip(drawn, around, strict=True) if not left_out]


def _parts(outline: shapely.Geometry, size: Size) -> list[shapely.Geometry]:
    """The nuclei in an outline of several parts, which may overlap, and what is too small to be one."""
    parts: list[shapely.Geometry] = []
    for shape in separate(outline):
        repaired = solid([shape])[0]
        nuclei, rest = split(shape if shapely.is_empty(repaired) else repaired, size)
        parts += [*nuclei, *rest]
    return parts


def _area_of(geometry: shapely.Geometry) -> shapely.Geometry | None:
    """A Polygon or MultiPolygon, or those of a collection as one; None where nothing has an area."""
    if shapely.get_type_id(geometry) in (POLYGON, MULTIPOLYGON):
        return None if shapely.is_empty(geometry) else geometry
    parts, level = np.array([geometry], dtype=object), 0
    while (shapely.get_type_id(parts) > POLYGON).any() and level <= DEEPEST_OBJECT:
        parts, level = shapely.get_parts(parts), level + 1
    parts = parts[(shapely.get_type_id(parts) == POLYGON) & ~shapely.is_empty(parts)]
    if not len(parts):
        return None
    return parts[0] if len(parts) == 1 else shapely.MultiPolygon(list(parts))


def through_pixel_centres(polygons: Shapes) -> bool:
    """Whether outlines run from pixel centre to pixel centre instead of along the pixels' edges.

    So do the contours of OpenCV and the outlines of Cellpose: whole numbers, and steps that are horizontal,
    vertical or diagonal by equal amounts. In QuPath's coordinates, where the first pixel spans from 0 to 1,
    such outlines are half a pixel too small all around and shifted by half a pixel.
    """
    rings, _ = shapely.get_rings(shapely.get_parts(polygons), return_index=True)
    points, ring = shapely.get_coordinates(rings, return_index=True)
    if len(points) < 2 or (points != np.rint(points)).any():
        return False
    step = np.abs(np.diff(points, axis=0))[ring[1:] == ring[:-1]]
    step = step[step.any(axis=1)]
    straight = (step == 0).any(axis=1)
    diagonal = step[:, 0] == step[:, 1]
    return bool(len(step) and (straight | diagonal).all() and diagonal.mean() >= _DIAGONAL)


def _probability(measurements: Any) -> float:
    """The detection probability among a feature's measurements; NaN if it has none."""
    measurements = structured(measurements)
    named: Iterable[tuple[str, object]] = ()
    if isinstance(measurements, dict):
        named = measurements.items()
    elif isinstance(measurements, list):
        named = [(str(m.get("name")), m.get("value")) for m in measurements if isinstance(m, dict)]
    for name, value in named:
        if name.lower() in ("probability", "detection probability") and isinstance(value, int | float):
            return float(value) if 0 <= value <= 1 else float("nan")
    return float("nan")
