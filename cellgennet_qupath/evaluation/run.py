"""Run every predictor on every region, match its nuclei once, and derive all tables from that."""

from __future__ import annotations

import math
import time
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from ..core.errors import CalibrationError, SlideError
from ..core.progress import SILENT, Reporter, Task
from ..metrics import strata
from ..metrics.boundary import matching_boundary_scores
from ..metrics.calibration import CalibrationCurve, calibration_curve, correctness
from ..metrics.matching import LabelMatching, Outcome, match_labels
from ..metrics.scores import THRESHOLDS, score_matching
from ..metrics.statistics import Clusters, Comparison, clusters_of, compare, mean_interval
from .prediction import Prediction, Predictor
from .regions import EvaluationRegion
from .same_tissue import tissues

METRICS = (
    "dice", "iou", "tpr", "fpr", "hausdorff", "hd95",
    *(f"f1@{threshold:g}" for threshold in THRESHOLDS),
    "aji", "pq", "sq", "rq", "boundary_f1", "precision@0.5", "recall@0.5",
    "true_objects", "predicted_objects", "merged_objects", "split_objects", "false_objects",
    "count_error", "count_off",
)  # fmt: skip
COMPARED = ("dice", "iou", "tpr", "fpr", "hd95", "f1@0.5", "aji", "pq", "boundary_f1")
LOWER_IS_BETTER = frozenset({"fpr", "hausdorff", "hd95", "count_off"})
DISTANCES = ("hausdorff", "hd95")
UNBOUNDED = (*DISTANCES, "count_error", "count_off")
"""Metrics that are not from 0 to 1."""


@dataclass(frozen=True)
class PackedLabels:
    """A compressed label image: an evaluation keeps one for every method and region."""

    packed: bytes
    shape: tuple[int, int]

    @classmethod
    def of(cls, labels: NDArray[np.int32]) -> PackedLabels:
        """Compress a label image (rows, columns)."""
        return cls(zlib.compress(np.ascontiguousarray(labels, np.int32).tobytes(), 1), labels.shape[:2])

    def unpack(self) -> NDArray[np.int32]:
        """The label image, int32 (rows, columns)."""
        return np.frombuffer(zlib.decompress(self.packed), np.int32).reshape(self.shape)


@dataclass(frozen=True)
class RegionResult:
    """One method on one region; everything in it comes from a single matching of nuclei.

    seconds     : time that the prediction took.
    scores      : ``METRICS`` by name; distances in full-resolution pixels.
    outcome     : labels of the nuclei that were detected, missed, correct and false positives.
    nuclei      : one row per true nucleus: columns of ``strata.true_nuclei`` (areas in pixels) and ``iou``.
    probability : float64 (k,) of the predicted nuclei that have one; ``correct``, bool (k,), says which of
                  these match a true nucleus.
    labels      : the predicted nuclei.
    """

    method: str
    region: EvaluationRegion
    seconds: float
    scores: dict[str, float]
    outcome: Outcome
    nuclei: pd.DataFrame
    probability: NDArray[np.float64]
    correct: NDArray[np.bool_]
    labels: PackedLabels

    def row(self, scale: float) -> dict[str, Any]:
        """The result as a row of ``Evaluation.scores``; distances are multiplied by ``scale``."""
        rows, columns = self.labels.shape
        return {
            "method": self.method,
            "field": self.region.name,
            "image": self.region.image,
            "group": self.region.group,
            "seconds": self.seconds,
            "megapixels": rows * columns / 1e6,
            **{name: value * (scale if name in DISTANCES else 1) for name, value in self.scores.items()},
        }


@dataclass(frozen=True)
class Evaluation:
    """The results of all methods on all regions, and the tables derived from them, each computed once.

    methods : their names; the report is about the first.
    results : (method, name of the region) -> result.
    skipped : name of a region that could not be evaluated -> the reason; it is in none of the others.

    Column names of the tables are those of the CSV files: ``field`` is the region.
    """

    methods: list[str]
    regions: list[EvaluationRegion]
    results: Mapping[tuple[str, str], RegionResult]
    skipped: Mapping[str, str] = field(default_factory=dict)

    @property
    def unit(self) -> str:
        """Unit of distances: "µm" if every region has a pixel size, else "px"."""
        return "µm" if all(region.mpp is not None for region in self.regions) else "px"

    @cached_property
    def scores(self) -> pd.DataFrame:
        """One row per method and region: ``method``, ``field``, ``image``, ``group``, ``seconds``,
        ``megapixels`` and ``METRICS``; distances in ``unit``; ``count_off`` is |``count_error``|."""
        calibrated = self.unit == "µm"
        return pd.DataFrame(
            [one.row((one.region.mpp or 1.0) if calibrated else 1.0) for one in self.results.values()]
        )

    @cached_property
    def tissues(self) -> list[int]:
        """The number of the tissue that each region shows; in several images of one slide it is the same."""
        shared = [region.shared for region in self.regions]
        areas = [None if place is None else place.area for place in shared]
        return tissues(self._slides, [region.image for region in self.regions], areas)

    @property
    def _slides(self) -> list[str]:
        """The slide of each region."""
        return [f"{r.shared.slide if r.shared else r.slide} {r.series}" for r in self.regions]

    @cached_property
    def counted(self) -> pd.DataFrame:
        """``scores`` with one row per method and tissue, the mean of its regions, and ``slide``, ``tissue``.

        Means, intervals and tests are over these rows, so that no tissue counts twice.
        """
        names = [region.name for region in self.regions]
        field = self.scores["field"]
        rows = self.scores.assign(
            tissue=field.map(dict(zip(names, self.tissues, strict=True))),
            slide=field.map(dict(zip(names, self._slides, strict=True))),
        )
        if len(set(self.tissues)) == len(names):
            return rows
        texts = {name: (name, "first") for name in ("field", "image", "group", "slide")}
        numbers = {name: (name, "mean") for name in ("seconds", "megapixels", *METRICS)}
        grouped = rows.groupby(["method", "tissue"], sort=False)
        return grouped.agg(**texts, **numbers).reset_index()

    @cached_property
    def once(self) -> set[str]:
        """The names of the regions of which each shows another tissue."""
        first: dict[int, str] = {}
        for number, region in zip(self.tissues, self.regions, strict=True):
            first.setdefault(number, region.name)
        return set(first.values())

    @property
    def counted_nuclei(self) -> pd.DataFrame:
        """``nuclei`` of the regions ``once``."""
        once = self.once
        if len(once) == len(self.regions):
            return self.nuclei
        return self.nuclei[self.nuclei["field"].isin(once)]

    def resampled(self, noun: str = "region") -> str:
        """What is resampled for intervals: "5 slides", "8 regions", or images where these are the regions."""
        clusters = _clusters(self.counted_of(self.methods[0]))
        return f"{clusters.count} images" if noun == "image" else clusters.what

    @cached_property
    def nuclei(self) -> pd.DataFrame:
        """One row per method and true nucleus: ``RegionResult.nuclei`` with ``method`` and ``field``."""
        parts = [one.nuclei.assign(method=one.method, field=one.region.name) for one in self.results.values()]
        return pd.concat([part for part in parts if len(part)] or parts[:1], ignore_index=True)

    @cached_property
    def calibration(self) -> dict[str, CalibrationCurve]:
        """The calibration curve of each method that gives probabilities, over the regions ``once``."""
        curves = {}
        counted = [one for one in self.results.values() if one.region.name in self.once]
        for method in self.methods:
            own = [one for one in counted if one.method == method and len(one.probability)]
            if own:
                curves[method] = calibration_curve(
                    np.concatenate([one.probability for one in own]),
                    np.concatenate([one.correct for one in own]),
                )
        return curves

    @cached_property
    def comparisons(self) -> list[Comparison]:
        """Every pair of methods, by every metric of ``COMPARED``."""
        comparisons: list[Comparison] = []
        for metric in COMPARED:
            table = self.counted.pivot(index=["slide", "tissue"], columns="method", values=metric)
            columns = {m: table[m].to_numpy(np.float64) for m in self.methods}
            comparisons += compare(metric, columns, _clusters(table.index.to_frame()))
        return comparisons

    @cached_property
    def strata(self) -> pd.DataFrame:
        """Detection rate by size, crowding and shape of the nuclei (``strata.summarise``)."""
        return strata.summarise(self.counted_nuclei)

    def of(self, method: str) -> pd.DataFrame:
        """The rows of ``scores`` of one method."""
        return self.scores[self.scores["method"] == method]

    def counted_of(self, method: str) -> pd.DataFrame:
        """The rows ``counted`` of one method."""
        return self.counted[self.counted["method"] == method]

    def summary(self, by_group: bool = False) -> pd.DataFrame:
        """Means over the rows ``counted`` with 95 % intervals, one row per method (and group).

        Columns: ``method`` (, ``group``), ``images`` (number of regions), and for each metric ``NAME``,
        ``NAME_low`` and ``NAME_high`` (see ``mean_interval``). Object counts are summed.
        """
        return self._group_summary if by_group else self._method_summary

    @cached_property
    def _method_summary(self) -> pd.DataFrame:
        return _summarise(self.counted, ["method"])

    @cached_property
    def _group_summary(self) -> pd.DataFrame:
        return _summarise(self.counted, ["method", "group"])


@dataclass(frozen=True)
class Assessment:
    """What ``evaluate`` measured.

    evaluation : scores of each method and region, as tables.
    document   : the verdict and all numbers as plain data, as in ``report.json``.
    page       : the HTML report; None where it could not be written (a warning says why).
    skipped    : images and regions that could not be evaluated, one sentence each.
    """

    evaluation: Evaluation
    document: dict[str, Any]
    page: Path | None
    skipped: list[str]


def evaluate(
    regions: Sequence[EvaluationRegion], predictors: Sequence[Predictor], reporter: Reporter = SILENT
) -> Evaluation:
    """Run and score every predictor on every region. Names of regions and of predictors must be unique.

    A region whose pixels cannot be read, or for which memory does not suffice, is skipped for all predictors
    with a warning. Raises SlideError where none is left, CalibrationError for a region without a pixel size,
    SupervisionError where the ground truth cannot be read, and what a predictor raises.
    """
    results: dict[tuple[str, str], RegionResult] = {}
    skipped: dict[str, str] = {}
    with reporter.track("evaluating", len(regions) * len(predictors), "images") as task:
        for region in regions:
            try:
                results |= {(r.method, region.name): r for r in _on_region(region, predictors, task)}
            except CalibrationError:
                raise
            except SlideError as error:
                skipped[region.name] = error.reason
            except MemoryError:
                skipped[region.name] = "memory ran out"
            if region.name in skipped:
                reporter.warn(f"Skipped: {region.name}: {skipped[region.name]}.")
    if regions and len(skipped) == len(regions):
        raise SlideError(regions[0].name, f"{skipped[regions[0].name]}, and no region could be evaluated")
    done = [region for region in regions if region.name not in skipped]
    return Evaluation([predictor.name for predictor in predictors], done, results, skipped)


def _on_region(region: EvaluationRegion, predictors: Sequence[Predictor], task: Task) -> list[RegionResult]:
    pixels = region.pixels()
    true, unknown = region.truth()
    nuclei = strata.true_nuclei(true, unknown)
    results = []
    for predictor in predictors:
        begin = time.monotonic()
        prediction = predictor.predict(region, pixels)
        seconds = time.monotonic() - begin
        matching = match_labels(true, prediction.labels, unknown)
        results.append(_result(predictor.name, region, seconds, prediction, matching, nuclei))
        task.advance(1, f"{predictor.name}: PQ {results[-1].scores['pq']:.2f}")
    return results


def _result(
    method: str,
    region: EvaluationRegion,
    seconds: float,
    prediction: Prediction,
    matching: LabelMatching,
    nuclei: pd.DataFrame,
) -> RegionResult:
    probability, correct = correctness(matching, prediction.probability)
    return RegionResult(
        method=method,
        region=region,
        seconds=seconds,
        scores=_scores(matching),
        outcome=matching.outcome,
        nuclei=nuclei.assign(iou=strata.matched_iou(nuclei, matching)),
        probability=probability,
        correct=correct,
        labels=PackedLabels.of(prediction.labels),
    )


def _scores(matching: LabelMatching) -> dict[str, float]:
    boundary = matching_boundary_scores(matching)
    scores = score_matching(matching).as_dict()
    scores |= {
        "hausdorff": boundary.hausdorff,
        "hd95": boundary.hd95,
        "boundary_f1": boundary.boundary_f1,
        "count_off": abs(scores["count_error"]),
    }
    return {name: scores[name] for name in METRICS}


def _clusters(rows: pd.DataFrame) -> Clusters:
    """What is resampled together of rows with a ``slide`` and a ``tissue``."""
    return clusters_of(rows["slide"].tolist(), rows["tissue"].tolist())


def _summarise(scores: pd.DataFrame, keys: list[str]) -> pd.DataFrame:
    rows: list[dict[str, Any]] = []
    for key, part in scores.groupby(keys, sort=False):
        row: dict[str, Any] = dict(zip(keys, key, strict=True)) | {"images": len(part)}
        for name in METRICS:
            if name.endswith("_objects"):
                row[name] = round(float(part[name].sum()))
                continue
            values = part[name].to_numpy(np.float64)
            row[name] = float(np.nanmean(values)) if (~np.isnan(values)).any() else math.nan
            low, high = mean_interval(values, _clusters(part))
            if name != "count_error":  # no interval leaves the range of its metric
                low, high = np.clip([low, high], 0, None if name in UNBOUNDED else 1).tolist()
            row[f"{name}_low"], row[f"{name}_high"] = low, high
        rows.append(row)
    return pd.DataFrame(rows)
