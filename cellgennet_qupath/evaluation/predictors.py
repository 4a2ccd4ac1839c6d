"""Who is evaluated: a bundle's student and teacher, a classical method, and what other tools have left."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Protocol

import cv2
import numpy as np
import shapely
from numpy.typing import NDArray
from scipy import ndimage
from skimage.color import rgb2hed
from skimage.feature import peak_local_max
from skimage.filters import threshold_otsu
from skimage.segmentation import watershed

from ..bundle import Bundle
from ..core.errors import EntryDataError, SupervisionError
from ..geometry.contours import label_polygons
from ..geometry.coordinates import full_to_edge
from ..geometry.raster import rasterize
from ..metrics.matching import objects
from ..qupath.formats.geojson import features
from ..segmentation.decode import NOMINAL_MPP
from ..segmentation.model import Model
from ..segmentation.plan import Area, plan_tiles
from ..segmentation.segment import segment_slide
from ..segmentation.task import SlideTask
from ..slides.normalisation import estimate
from ..slides.pixel_size import Calibration, downsample_for
from ..slides.reader import open_slide
from ..slides.tissue import tissue_mask
from .regions import LABEL_ENDINGS, EvaluationRegion, read_labels

_CONTEXT = 64
_TILE = 512


@dataclass(frozen=True)
class Prediction:
    """The nuclei of a field: labels int32 (rows, columns) of its box at full resolution, and of label
    1 ... n the probability, float32 (n,), NaN where none is known."""

    labels: NDArray[np.int32]
    probability: NDArray[np.float32]


class Predictor(Protocol):
    """Something that finds nuclei, by the name that the report calls it."""

    @property
    def name(self) -> str: ...

    def predict(self, field: EvaluationRegion, pixels: NDArray[np.uint8]) -> Prediction:
        """The nuclei of a field; ``pixels`` are its own."""
        ...


@dataclass(frozen=True)
class StudentPredictor:
    """A bundle's student, run as ``segment`` runs it: by tiles, with the slide's own normalisation."""

    name: str
    model: Model

    def predict(self, field: EvaluationRegion, pixels: NDArray[np.uint8]) -> Prediction:
        box = field.box
        wanted = shapely.box(box.x0 - _CONTEXT, box.y0 - _CONTEXT, box.x1 + _CONTEXT, box.y1 + _CONTEXT)
        with open_slide(field.slide, field.series) as reader:
            downsample = _downsample(field, self.model.mpp)
            tissue = tissue_mask(reader, field.mpp)
            area = Area(tissue, wanted)
            task = SlideTask(
                pixels=reader,
                model=replace(self.model, block=_TILE),
                normalisation=estimate(reader, downsample, self.model.normalisation, tissue),
                downsample=downsample,
                mpp=None,
                area=area,
            )
            tiles = plan_tiles(reader.width, reader.height, downsample, self.model, area, _TILE)
            nuclei = segment_slide(task, tiles).nuclei
        return Prediction(_drawn(nuclei.polygons, field), nuclei.probability)


class TeacherPredictor:
    """A bundle's teacher with its own thresholds."""

    def __init__(self, name: str, bundle: Bundle, threads: int = 0) -> None:
        """Raises BundleError where the bundle holds no teacher."""
        from ..networks.stardist import Teacher

        self.name = name
        self._bundle = bundle
        self._teacher = Teacher(bundle.teacher, threads=threads)
        self._teacher.load_weights(bundle.teacher / "weights_best.h5")

    def predict(self, field: EvaluationRegion, pixels: NDArray[np.uint8]) -> Prediction:
        card = self._bundle.card
        step = _downsample(field, card.mpp)
        box = field.box
        corners = full_to_edge(np.array([box.x0, box.y0, box.x1, box.y1]), step)
        # An even start: the teacher may work on half the grid.
        x, y = (int(np.floor(v / 2)) * 2 - _CONTEXT for v in corners[:2])
        columns, rows = int(np.ceil(corners[2])) + _CONTEXT - x, int(np.ceil(corners[3])) + _CONTEXT - y
        with open_slide(field.slide, field.series) as reader:
            tissue = tissue_mask(reader, field.mpp)
            normalisation = estimate(reader, step, self._bundle.config.normalisation, tissue)
            image = normalisation.apply(reader.read_grid(x, y, columns, rows, step))
        # Beyond the image's edge there is no paper: the white there would look like the end of the tissue.
        image = _mirrored(image, (x, y), step, field.whole)
        maps = self._teacher.predict(image)
        limits = card.teacher_thresholds
        labels, probability = self._teacher.instances(maps, (rows, columns), limits["prob"], limits["nms"])
        # Of overlapping nuclei a later one may have hidden an earlier one wholly.
        number, row, _ = objects(labels)
        return Prediction(_drawn(label_polygons(row + 1, step, (x, y)), field), probability[number - 1])


@dataclass(frozen=True)
class ClassicalBaseline:
    """What was done before learning; see ``classical_labels``."""

    name: str = "classical"

    def predict(self, field: EvaluationRegion, pixels: NDArray[np.uint8]) -> Prediction:
        labels = classical_labels(pixels, field.mpp or NOMINAL_MPP)
        return Prediction(labels, np.full(int(labels.max(initial=0)), np.nan, np.float32))


@dataclass(frozen=True)
class PrecomputedPredictor:
    """Results of another tool: a folder with a label image or a GeoJSON file for each image, named as it."""

    name: str
    folder: Path

    def predict(self, field: EvaluationRegion, pixels: NDArray[np.uint8]) -> Prediction:
        endings = (*LABEL_ENDINGS, ".geojson", ".geojson.gz", ".json")
        for key in field.keys:
            for ending in endings:
                file = self.folder / f"{key}{ending}"
                if file.is_file():
                    return (
                        self._from_labels(file, field) if ending in LABEL_ENDINGS else _outlined(file, field)
                    )
        raise SupervisionError(
            self.folder,
            f"holds no result for the image {field.image}",
            f"Add {field.keys[0]}.png or {field.keys[0]}.geojson, an empty one if nothing was found",
        )

    def _from_labels(self, file: Path, field: EvaluationRegion) -> Prediction:
        labels = read_labels(file)
        box = field.box
        if labels.shape == (field.whole[1], field.whole[0]):
            labels = labels[box.y0 : box.y1, box.x0 : box.x1]
        if labels.shape != (box.rows, box.columns):
            raise SupervisionError(
                file, f"is not of the size of {field.image}", "Write it at full resolution"
            )
        highest = int(labels.max(initial=0))
        return Prediction(np.maximum(labels, 0), np.full(highest, np.nan, np.float32))


def classical_labels(pixels: NDArray[np.uint8], mpp: float) -> NDArray[np.int32]:
    """Nuclei of an RGB picture of ``mpp`` µm per pixel, as labels 0 ... n, by a method from before learning.

    Haematoxylin (Ruifrok and Johnston 2001), Otsu's threshold, and a watershed of the distance to the
    background. Nothing in it is fitted to any data.
    """
    micron = 1 / mpp
    stain = cv2.GaussianBlur(rgb2hed(pixels)[..., 0].astype(np.float32), (0, 0), 0.5 * micron)
    dark = stain > threshold_otsu(stain) if np.ptp(stain) > 0 else np.zeros(stain.shape, bool)
    disc = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (3, 3))
    mask = ndimage.binary_fill_holes(cv2.morphologyEx(dark.astype(np.uint8), cv2.MORPH_OPEN, disc))
    depth = cv2.GaussianBlur(
        cv2.distanceTransform(mask.astype(np.uint8), cv2.DIST_L2, cv2.DIST_MASK_PRECISE),
        (0, 0),
        0.4 * micron,
    )
    peaks = peak_local_max(
        depth, min_distance=max(1, round(2 * micron)), labels=mask.astype(np.int32), exclude_border=False
    )
    seeds = np.zeros(mask.shape, np.int32)
    seeds[tuple(peaks.T)] = np.arange(1, len(peaks) + 1)
    labels = watershed(-depth, seeds, mask=mask)
    area = np.bincount(labels.reshape(-1), minlength=len(peaks) + 1)
    kept = np.flatnonzero(area[1:] >= 8 * micron**2) + 1
    renumbered = np.zeros(len(area), np.int32)
    renumbered[kept] = np.arange(1, len(kept) + 1)
    found: NDArray[np.int32] = renumbered[labels]
    return found


def _outlined(file: Path, field: EvaluationRegion) -> Prediction:
    """The polygons of a GeoJSON file, whatever kind of object they are; others are left out."""
    polygons: list[shapely.Geometry] = []
    probability: list[float] = []
    for feature in features(file):
        try:
            geometry = shapely.from_geojson(json.dumps(feature["geometry"]))
        except (KeyError, TypeError, ValueError, shapely.errors.ShapelyError) as error:
            raise EntryDataError(file, "holds a feature without a geometry", "Write it again") from error
        if geometry is not None and geometry.geom_type in ("Polygon", "MultiPolygon"):
            polygons.append(geometry)
            probability.append(_stated((feature.get("properties") or {}).get("measurements")))
    return Prediction(_drawn(polygons, field), np.array(probability, np.float32))


def _stated(measurements: Any) -> float:
    """The detection probability among a feature's measurements; NaN where there is none."""
    named: Iterable[tuple[str, object]] = ()
    if isinstance(measurements, dict):
        named = measurements.items()
    elif isinstance(measurements, list):
        named = [(str(m.get("name")), m.get("value")) for m in measurements if isinstance(m, dict)]
    for name, value in named:
        if name.lower() in ("probability", "detection probability") and isinstance(value, int | float):
            return float(value)
    return float("nan")


def _drawn(polygons: Any, field: EvaluationRegion) -> NDArray[np.int32]:
    return rasterize(polygons, (field.box.rows, field.box.columns), 1.0, (field.box.x0, field.box.y0))


def _downsample(field: EvaluationRegion, mpp: float | None) -> float:
    if mpp is None:
        return 1.0
    return downsample_for(Calibration(field.mpp, field.mpp, None, field.image), mpp)


def _mirrored(
    image: NDArray[np.float32], origin: tuple[int, int], step: float, whole: tuple[int, int]
) -> NDArray[np.float32]:
    """The window with what lies beyond the image replaced by its reflection."""
    x, y = origin
    columns, rows = int(whole[0] / step), int(whole[1] / step)
    left, top = max(0, -x), max(0, -y)
    right, bottom = max(0, x + image.shape[1] - columns), max(0, y + image.shape[0] - rows)
    inner = image[top : image.shape[0] - bottom, left : image.shape[1] - right]
    return np.pad(inner, ((top, bottom), (left, right), (0, 0)), mode="symmetric")
