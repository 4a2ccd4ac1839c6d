"""Results of other tools: one label image or GeoJSON file per image, checked before any work."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import shapely
from numpy.typing import NDArray

from ..core.errors import EntryDataError, SupervisionError
from ..qupath.formats.geojson import features
from ..qupath.formats.geometries import from_geojson
from ..qupath.formats.outlines import MULTIPOLYGON, POLYGON
from .label_images import LABEL_ENDINGS, label_size, read_labels
from .prediction import Prediction, rasterized
from .regions import EvaluationRegion

_OUTLINE_ENDINGS = (".geojson", ".geojson.gz", ".json")
_ENDINGS = (*LABEL_ENDINGS, *_OUTLINE_ENDINGS)


@dataclass(frozen=True)
class PrecomputedPredictor:
    """Results of another tool: a folder with a label image or a GeoJSON file for each image.

    A file has the name of the image, of its slide file, or the image's id (``EvaluationRegion.keys``).
    """

    name: str
    folder: Path

    def predict(self, region: EvaluationRegion, pixels: NDArray[np.uint8]) -> Prediction:
        """The nuclei of the region's file. Raises SupervisionError and EntryDataError, as ``check``."""
        file = self.file_of(region)
        if _is_label_image(file):
            return _from_labels(file, region)
        polygons, probability = _outlines(file)
        # Where outlines overlap, the later one wins: the smaller one, in whatever order the file has them.
        order = np.lexsort((probability, *shapely.bounds(polygons).reshape(-1, 4).T, -shapely.area(polygons)))
        return Prediction(rasterized(polygons[order], region, order + 1), probability)

    def check(self, regions: Sequence[EvaluationRegion]) -> list[str]:
        """Find and read the file of every image, and return what is odd about them, one sentence each.

        Raises SupervisionError where an image has no file or two, a file serves two images, is not a label
        image or differs in size from its image, and EntryDataError for a damaged GeoJSON file.
        """
        if not self.folder.is_dir():
            raise SupervisionError(self.folder, "is not a folder", "Give the folder of the results")
        owners: dict[Path, EvaluationRegion] = {}
        for region in regions:
            file = self.file_of(region)
            owner = owners.setdefault(file, region)
            if (owner.slide, owner.series, owner.view) != (region.slide, region.series, region.view):
                raise SupervisionError(
                    file,
                    f"could be the result of two images: {owner.name} and {region.name}",
                    f"Name them {owner.keys[0]} and {region.keys[0]}",
                )
        return [sentence for file, region in owners.items() for sentence in self._oddities(file, region)]

    def file_of(self, region: EvaluationRegion) -> Path:
        """The file of a region's image. Raises SupervisionError where there is none, or two of one name."""
        present = _files(self.folder)
        for key in dict.fromkeys(region.keys):
            own = [present[f"{key}{ending}"] for ending in _ENDINGS if f"{key}{ending}" in present]
            if len(own) > 1:
                raise SupervisionError(
                    self.folder,
                    f"contains two results for the image {region.image}: {own[0].name} and {own[1].name}",
                    "Remove one of them",
                )
            if own:
                return own[0]
        raise SupervisionError(
            self.folder,
            f"contains no result for the image {region.image}",
            f"Add {region.keys[0]}.png or {region.keys[0]}.geojson; where the tool detected no nucleus, an "
            "image of zeros or a file without features",
        )

    def _oddities(self, file: Path, region: EvaluationRegion) -> list[str]:
        if _is_label_image(file):
            _check_size(file, region)
            read_labels(file)
            return []
        polygons, _ = _outlines(file)
        width, height = region.image_size
        if len(polygons) and not shapely.intersects(polygons, shapely.box(0, 0, width, height)).any():
            return [
                f"{self.name}: none of the {len(polygons)} outlines in {file.name} is inside the image "
                f"({width} x {height} px). Coordinates must be full-resolution pixels."
            ]
        return []


@lru_cache(maxsize=8)
def _listing(folder: Path, changed: int) -> dict[str, Path]:
    # Endings in capital letters count as well.
    listed: dict[str, Path] = {}
    for file in sorted(folder.iterdir()):
        ending = next((e for e in _ENDINGS if file.name.lower().endswith(e) and file.is_file()), None)
        if ending is not None:
            listed.setdefault(file.name[: -len(ending)] + ending, file)
    return listed


def _files(folder: Path) -> dict[str, Path]:
    """The results in a folder by name, with the ending in small letters."""
    try:
        return _listing(folder, folder.stat().st_mtime_ns)
    except OSError as error:
        raise SupervisionError(folder, f"cannot be read ({error.strerror or error})") from error


def _is_label_image(file: Path) -> bool:
    return file.suffix.lower() in LABEL_ENDINGS


def _check_size(file: Path, region: EvaluationRegion) -> bool:
    """Whether a label image shows only the region; raises SupervisionError if it fits neither that nor the
    whole image."""
    size, box = label_size(file), (region.box.columns, region.box.rows)
    if size not in (region.image_size, box):
        raise SupervisionError(
            file,
            f"differs in size from {region.image} ({size[0]} x {size[1]} px, {region.image_size[0]} x "
            f"{region.image_size[1]} px)",
            "Write it at full resolution",
        )
    return size != region.image_size


def _from_labels(file: Path, region: EvaluationRegion) -> Prediction:
    """The labels of a region, from a label image of the region or of the whole image."""
    region_only = _check_size(file, region)
    labels = np.maximum(read_labels(file), 0)
    box = region.box
    if not region_only:
        labels = labels[box.y0 : box.y1, box.x0 : box.x1]
    return Prediction(labels, np.full(int(labels.max(initial=0)), np.nan, np.float32))


@lru_cache(maxsize=1)
def _parsed(file: Path, changed: int) -> tuple[NDArray[np.object_], NDArray[np.float32]]:
    polygons: list[shapely.Geometry] = []
    probability: list[float] = []
    for feature in features(file):
        try:
            drawn = feature["geometry"]
            geometry = None if drawn is None else from_geojson(drawn)
        except (KeyError, TypeError, ValueError, shapely.errors.ShapelyError) as error:
            raise EntryDataError(file, "contains a feature without a geometry", "Export it again") from error
        if geometry is not None and shapely.get_type_id(geometry) in (POLYGON, MULTIPOLYGON):
            polygons.append(geometry)
            probability.append(_probability((feature.get("properties") or {}).get("measurements")))
    return np.array(polygons, dtype=object), np.array(probability, np.float32)


def _outlines(file: Path) -> tuple[NDArray[np.object_], NDArray[np.float32]]:
    """The polygons of a GeoJSON file, of any object type, and their probabilities."""
    try:
        return _parsed(file, file.stat().st_mtime_ns)
    except OSError as error:
        raise EntryDataError(file, f"cannot be read ({error.strerror or error})") from error


def _probability(measurements: Any) -> float:
    """The detection probability among a feature's measurements; NaN if it has none."""
    named: Iterable[tuple[str, object]] = ()
    if isinstance(measurements, dict):
        named = measurements.items()
    elif isinstance(measurements, list):
        named = [(str(m.get("name")), m.get("value")) for m in measurements if isinstance(m, dict)]
    for name, value in named:
        if name.lower() in ("probability", "detection probability") and isinstance(value, int | float):
            return float(value) if 0 <= value <= 1 else float("nan")
    return float("nan")
