"""Running everyone on every field, and the tables that come of it."""

from __future__ import annotations

import math
import time
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from ..core.progress import SILENT, Reporter
from ..metrics import strata as groups
from ..metrics.boundary import boundary_scores
from ..metrics.calibration import Reliability, correctness, reliability
from ..metrics.scores import THRESHOLDS, hide_unknown, score
from ..metrics.statistics import Comparison, bootstrap_interval, compare
from .predictors import Predictor
from .regions import EvaluationRegion

METRICS = (
    "dice", "iou", "tpr", "fpr", "hausdorff", "hd95",
    *(f"f1@{threshold:g}" for threshold in THRESHOLDS),
    "aji", "pq", "sq", "rq", "boundary_f1", "precision@0.5", "recall@0.5",
    "true_objects", "predicted_objects", "count_error", "count_off",
)  # fmt: skip
COMPARED = ("dice", "iou", "tpr", "fpr", "hd95", "f1@0.5", "aji", "pq", "boundary_f1")
LOWER_IS_BETTER = frozenset({"fpr", "hausdorff", "hd95", "count_off"})
DISTANCES = ("hausdorff", "hd95")


@dataclass(frozen=True)
class Labels:
    """A label image, kept small: an evaluation holds every field's, from everyone."""

    packed: bytes
    shape: tuple[int, int]

    @classmethod
    def of(cls, labels: NDArray[np.int32]) -> Labels:
        """Pack a label image."""
        return cls(zlib.compress(np.ascontiguousarray(labels, np.int32).tobytes(), 1), labels.shape[:2])

    def unpack(self) -> NDArray[np.int32]:
        """The label image, int32 (rows, columns)."""
        return np.frombuffer(zlib.decompress(self.packed), np.int32).reshape(self.shape)


@dataclass(frozen=True)
class Evaluation:
    """All results. The first method is the one that the report is about.

    scores      : one row per method and field: ``method``, ``field``, ``image``, ``group``, ``seconds``,
                  ``megapixels`` and ``METRICS``; distances in ``unit``, ``count_off`` is the size of
                  ``count_error`` without its sign.
    nuclei      : one row per method and true nucleus: see ``groups.true_nuclei``, with ``iou``; areas in
                  samples.
    reliability : of the methods that state probabilities.
    predictions : (method, field name) -> labels.
    unit        : "µm" where every field has a pixel size, else "px".
    """

    methods: list[str]
    fields: list[EvaluationRegion]
    scores: pd.DataFrame
    nuclei: pd.DataFrame
    reliability: dict[str, Reliability]
    predictions: dict[tuple[str, str], Labels]
    unit: str

    def of(self, method: str) -> pd.DataFrame:
        """The scores of a method, field by field."""
        return self.scores[self.scores["method"] == method]

    def summary(self, by_group: bool = False) -> pd.DataFrame:
        """Means over fields with 95 % bootstrap intervals: ``method`` (, ``group``), ``images``, and for
        each metric ``NAME``, ``NAME_low``, ``NAME_high``. Object counts are summed."""
        keys = ["method", "group"] if by_group else ["method"]
        rows: list[dict[str, Any]] = []
        for key, part in self.scores.groupby(keys, sort=False):
            row: dict[str, Any] = dict(zip(keys, key, strict=True)) | {"images": len(part)}
            for name in METRICS:
                if name.endswith("_objects"):
                    row[name] = int(part[name].sum())
                    continue
                values = part[name].to_numpy(np.float64)
                row[name] = float(np.nanmean(values)) if (~np.isnan(values)).any() else math.nan
                row[f"{name}_low"], row[f"{name}_high"] = bootstrap_interval(values)
            rows.append(row)
        return pd.DataFrame(rows)

    def comparisons(self) -> list[Comparison]:
        """Every pair of methods by every metric of ``COMPARED``."""
        found = []
        for metric in COMPARED:
            table = self.scores.pivot(index="field", columns="method", values=metric)
            found += compare(metric, {m: table[m].to_numpy(np.float64) for m in self.methods})
        return found

    def kinds(self) -> pd.DataFrame:
        """Nuclei by size, crowding and shape (``groups.summarise``)."""
        return groups.summarise(self.nuclei)


def evaluate(
    fields: Sequence[EvaluationRegion], predictors: Sequence[Predictor], reporter: Reporter = SILENT
) -> Evaluation:
    """Run every predictor on every field and score it. Names of fields and of predictors are unique."""
    scores: list[dict[str, Any]] = []
    nuclei: list[pd.DataFrame] = []
    stated: dict[str, list[tuple[NDArray[np.float64], NDArray[np.bool_]]]] = {}
    predictions = {}
    calibrated = all(field.mpp is not None for field in fields)
    with reporter.track("evaluating", len(fields) * len(predictors), "images") as task:
        for field in fields:
            pixels = field.pixels()
            true, unknown = field.truth()
            described = groups.true_nuclei(true, unknown)
            for predictor in predictors:
                begin = time.monotonic()
                found = predictor.predict(field, pixels)
                seconds = time.monotonic() - begin
                scale = (field.mpp or 1.0) if calibrated else 1.0
                row = _scored(true, found.labels, unknown, scale)
                scores.append(
                    {
                        "method": predictor.name,
                        "field": field.name,
                        "image": field.image,
                        "group": field.group,
                        "seconds": seconds,
                        "megapixels": true.size / 1e6,
                        **row,
                    }
                )
                iou = groups.matched_iou(described, true, found.labels, unknown)
                nuclei.append(described.assign(method=predictor.name, field=field.name, iou=iou))
                if not np.isnan(found.probability).all():
                    stated.setdefault(predictor.name, []).append(
                        correctness(true, found.labels, found.probability, unknown)
                    )
                predictions[predictor.name, field.name] = Labels.of(found.labels)
                task.advance(1, f"{predictor.name}: PQ {row['pq']:.2f}")
    return Evaluation(
        methods=[predictor.name for predictor in predictors],
        fields=list(fields),
        scores=pd.DataFrame(scores),
        nuclei=pd.concat([part for part in nuclei if len(part)] or nuclei[:1], ignore_index=True),
        reliability={
            name: reliability(np.concatenate([p for p, _ in parts]), np.concatenate([r for _, r in parts]))
            for name, parts in stated.items()
        },
        predictions=predictions,
        unit="µm" if calibrated else "px",
    )


def visible(labels: NDArray[np.int32], unknown: NDArray[np.bool_] | None) -> NDArray[np.integer]:
    """What of a label image counts."""
    return labels if unknown is None else hide_unknown(labels, unknown)


def _scored(
    true: NDArray[np.int32], labels: NDArray[np.int32], unknown: NDArray[np.bool_] | None, scale: float
) -> dict[str, float]:
    outline = boundary_scores(true, labels, unknown)
    row = score(true, labels, unknown).as_dict()
    row |= {
        "hausdorff": outline.hausdorff * scale,
        "hd95": outline.hd95 * scale,
        "boundary_f1": outline.boundary_f1,
        "count_off": abs(row["count_error"]),
    }
    return {name: row[name] for name in METRICS}
