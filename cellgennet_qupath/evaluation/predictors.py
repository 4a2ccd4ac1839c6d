"""Methods to evaluate: a bundle's student and teacher, and a classical baseline; other tools' results too."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import cv2
import numpy as np
import shapely
from numpy.typing import NDArray
from scipy import ndimage
from skimage.color import rgb2hed
from skimage.feature import peak_local_max
from skimage.filters import threshold_otsu
from skimage.segmentation import watershed

from ..bundle import STUDENT, Bundle
from ..core.config import NormalisationConfig
from ..core.errors import UsageError
from ..core.extras import install_line, missing, require
from ..core.progress import SILENT, Reporter
from ..geometry.contours import label_polygons
from ..geometry.coordinates import full_to_edge, grid_size
from ..geometry.distance import distance_to_zero
from ..metrics.matching import objects
from ..segmentation.decode import NOMINAL_MPP
from ..segmentation.model import Model
from ..segmentation.plan import Area, plan_tiles
from ..segmentation.slide import segment_slide
from ..segmentation.task import SlideTask
from ..slides.normalisation import Normalisation, estimate
from ..slides.pixel_size import Calibration, downsample_for
from ..slides.reader import SlideReader
from ..slides.tissue import tissue_mask
from .precomputed import PrecomputedPredictor
from .prediction import Prediction, Predictor, rasterized
from .regions import EvaluationRegion

_CONTEXT = 64
_TILE = 512
_SLIDES = 4
"""Slides whose colours are remembered; the regions of a slide follow each other."""
_CLASSICAL = "classical"


class SlideColours:
    """The normalisations of the slides looked at last, each estimated once for all regions of its slide."""

    def __init__(self) -> None:
        self._known: dict[object, Normalisation] = {}

    def of(
        self, region: EvaluationRegion, reader: SlideReader, downsample: float, config: NormalisationConfig
    ) -> Normalisation:
        """The normalisation of a region's slide, which ``reader`` has opened."""
        key = (region.slide, region.series, region.view, region.mpp, downsample, config.model_dump_json())
        if key not in self._known:
            while len(self._known) >= _SLIDES:
                del self._known[next(iter(self._known))]
            self._known[key] = estimate(reader, downsample, config, tissue_mask(reader, region.mpp))
        return self._known[key]


@dataclass(frozen=True)
class StudentPredictor:
    """A bundle's student, run as by ``segment``: in tiles, with the normalisation of the whole slide."""

    name: str
    model: Model
    colours: SlideColours = field(default_factory=SlideColours, repr=False, compare=False)

    def predict(self, region: EvaluationRegion, pixels: NDArray[np.uint8]) -> Prediction:
        box = region.box
        wanted = shapely.box(box.x0 - _CONTEXT, box.y0 - _CONTEXT, box.x1 + _CONTEXT, box.y1 + _CONTEXT)
        with region.open() as reader:
            downsample = downsample_of(region, self.model.mpp)
            tissue = tissue_mask(reader, region.mpp)
            area = Area(tissue, wanted)
            task = SlideTask(
                pixels=reader,
                model=replace(self.model, block=_TILE),
                normalisation=self.colours.of(region, reader, downsample, self.model.normalisation),
                downsample=downsample,
                mpp=None,
                area=area,
            )
            tiles = plan_tiles(reader.width, reader.height, downsample, self.model, area, _TILE)
            nuclei = segment_slide(task, tiles).nuclei
        return Prediction(rasterized(nuclei.polygons, region), nuclei.probability)


class TeacherPredictor:
    """A bundle's StarDist teacher with the thresholds of its card."""

    def __init__(self, name: str, bundle: Bundle, threads: int = 0) -> None:
        """Load the teacher; ``threads`` 0 uses all. Raises BundleError where the bundle has none."""
        from ..networks.stardist_process import StarDistProcess

        self.name = name
        self._bundle = bundle
        self._colours = SlideColours()
        self._teacher = StarDistProcess(bundle.teacher, threads=threads)
        self._teacher.load_weights(bundle.teacher / "weights_best.h5")

    def predict(self, region: EvaluationRegion, pixels: NDArray[np.uint8]) -> Prediction:
        card = self._bundle.card
        step = downsample_of(region, card.mpp)
        box = region.box
        corners = full_to_edge(np.array([box.x0, box.y0, box.x1, box.y1]), step)
        # An even origin: the teacher may predict on a grid of half the resolution.
        x, y = (int(np.floor(v / 2)) * 2 - _CONTEXT for v in corners[:2])
        columns, rows = int(np.ceil(corners[2])) + _CONTEXT - x, int(np.ceil(corners[3])) + _CONTEXT - y
        with region.open() as reader:
            normalisation = self._colours.of(region, reader, step, self._bundle.config.normalisation)
            window = reader.read_grid(x, y, columns, rows, step)
        image, part = normalisation.seen(window, (x, y), grid_size(*region.image_size, step), step)
        maps = self._teacher.predict(image)
        limits = card.teacher_thresholds
        labels, probability = self._teacher.instances(maps, (rows, columns), limits["prob"], limits["nms"])
        inside = np.zeros_like(labels)
        inside[part] = labels[part]
        labels = inside
        # Where nuclei overlap, a later one may have covered an earlier one completely.
        number, row, _ = objects(labels)
        polygons = label_polygons(row + 1, step, (x, y))
        return Prediction(rasterized(polygons, region), probability[number - 1])


@dataclass(frozen=True)
class ClassicalBaseline:
    """Segmentation without machine learning, as a lower bound; see ``classical_labels``."""

    name: str = _CLASSICAL

    def predict(self, region: EvaluationRegion, pixels: NDArray[np.uint8]) -> Prediction:
        labels = classical_labels(pixels, region.mpp or NOMINAL_MPP)
        return Prediction(labels, np.full(int(labels.max(initial=0)), np.nan, np.float32))


def predictors_for(
    bundles: Sequence[Bundle],
    predictions: Mapping[str, Path],
    *,
    teacher: bool = True,
    classical: bool = True,
    threads: int = 0,
    reporter: Reporter = SILENT,
) -> list[Predictor]:
    """The methods to compare, under unique names; the first is the first bundle's student.

    predictions : results of other tools, name -> folder (see ``PrecomputedPredictor``).
    teacher     : also the bundles' teachers, skipped with a warning where the packages of the extra "train"
                  are not installed; of a bundle without a student, the teacher is always included.
    classical   : also the classical baseline.
    threads     : processor threads; 0 for all.

    Raises BundleError, MissingExtraError where a bundle has only a teacher and the extra is not installed,
    and UsageError where another tool's results are named like the classical baseline.
    """
    if classical and _CLASSICAL in predictions:
        raise UsageError(
            _CLASSICAL, "is the name of the built-in baseline", "Choose another name or leave it out"
        )
    taken = {*predictions, _CLASSICAL}

    def unique(name: str) -> str:
        chosen, number = name, 2
        while chosen in taken:
            chosen, number = f"{name} ({number})", number + 1
        taken.add(chosen)
        return chosen

    predictors: list[Predictor] = []
    for bundle in bundles:
        has_student = (bundle.path / STUDENT).is_file()
        if has_student or not bundle.holds_teacher:
            model = Model.from_bundle(bundle, threads)
            predictors.append(StudentPredictor(unique(bundle.card.name), model))
        if not has_student and bundle.holds_teacher:
            require("train", f"the teacher of {bundle.card.name}")
        elif teacher and bundle.holds_teacher and missing("train"):
            reporter.warn(
                f"The teacher of {bundle.card.name} is not scored. To add it: {install_line('train')}."
            )
            continue
        if bundle.holds_teacher and (teacher or not has_student):
            predictors.append(TeacherPredictor(unique(f"{bundle.card.name} teacher"), bundle, threads))
    predictors += [PrecomputedPredictor(name, folder) for name, folder in predictions.items()]
    return [*predictors, ClassicalBaseline()] if classical else predictors


def classical_labels(pixels: NDArray[np.uint8], mpp: float) -> NDArray[np.int32]:
    """Segment nuclei by thresholding: int32 (rows, columns), 0 for background and 1 ... n for nuclei.

    pixels : uint8 (rows, columns, 3), RGB.
    mpp    : µm per pixel.

    Haematoxylin by colour deconvolution (Ruifrok and Johnston 2001), Otsu's threshold, and a watershed of
    the distance to the background. No parameter is fitted to data.
    """
    micron = 1 / mpp
    stain = cv2.GaussianBlur(rgb2hed(pixels)[..., 0].astype(np.float32), (0, 0), 0.5 * micron)
    dark = stain > threshold_otsu(stain) if np.ptp(stain) > 0 else np.zeros(stain.shape, bool)
    disc = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (3, 3))
    mask = ndimage.binary_fill_holes(cv2.morphologyEx(dark.astype(np.uint8), cv2.MORPH_OPEN, disc))
    depth = cv2.GaussianBlur(
        distance_to_zero(mask).astype(np.float32),
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
    result: NDArray[np.int32] = renumbered[labels]
    return result


def downsample_of(region: EvaluationRegion, mpp: float | None) -> float:
    """Full-resolution pixels per sample of a model of ``mpp`` (None: of any resolution).

    Raises CalibrationError for a region without a pixel size.
    """
    if mpp is None:
        return 1.0
    return downsample_for(Calibration(region.mpp, region.mpp, None, region.image), mpp)
