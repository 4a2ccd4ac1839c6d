"""The report: one HTML file, and the tables and figures in it as files beside it."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pandas as pd

from ..bundle import Bundle, now, versions
from ..core.errors import ExportError, UsageError
from ..core.files import replacing
from ..core.progress import SILENT, Reporter
from ..evaluation.regions import EvaluationRegion
from ..evaluation.run import LOWER_IS_BETTER, METRICS, Evaluation
from ..evaluation.verdict import Verdict, judge, p_value
from ..metrics.statistics import Comparison
from . import plots
from .overlay import Picture, picture
from .pages import write_page

REPORT = "report.html"
_EXAMPLES = 4
_MAIN = ("dice", "iou", "tpr", "fpr", "hausdorff", "hd95", "f1@0.5", "aji", "pq")
LABELS = {
    "dice": "Dice",
    "iou": "IoU",
    "tpr": "TPR",
    "fpr": "FPR",
    "hausdorff": "Hausdorff",
    "hd95": "HD95",
    "aji": "AJI",
    "pq": "PQ",
    "sq": "SQ",
    "rq": "RQ",
    "boundary_f1": "Boundary F1",
    "precision@0.5": "Precision",
    "recall@0.5": "Recall",
    "true_objects": "Nuclei, true",
    "predicted_objects": "Nuclei, found",
    "count_error": "Count error",
    "count_off": "|Count error|",
} | {f"f1@{t}": f"F1@{t}" for t in (0.5, 0.6, 0.7, 0.8, 0.9)}


def write_report(
    folder: Path,
    evaluation: Evaluation,
    subject: str,
    bundles: Sequence[Bundle] = (),
    notes: Sequence[str] = (),
    reporter: Reporter = SILENT,
) -> dict[str, Any]:
    """Write the report of an evaluation into a folder and return what it says as plain data.

    folder  : gets ``report.html``, ``report.json``, ``per_image.csv``, ``summary.csv``, ``groups.csv``,
              ``nuclei_kinds.csv``, ``tests.csv`` and ``figures/``; an earlier report there is replaced.
    subject : what was evaluated on, for the title.
    bundles : whose cards the report shows.
    notes   : what the reader should know besides the scores, one sentence each.
    Raises UsageError where the folder holds something else, and ExportError.
    """
    check_output(folder)
    comparisons = evaluation.comparisons()
    verdict = judge(evaluation, comparisons)
    figures = {
        "box_plots": plots.box_plots(evaluation, comparisons),
        "thresholds": plots.threshold_curve(evaluation),
        "counts": plots.counts(evaluation),
        "kinds": plots.kinds(evaluation),
    }
    if evaluation.reliability:
        figures["calibration"] = plots.calibration(evaluation)
    worst, typical = examples(evaluation)
    with reporter.track("drawing examples", len(worst) + len(typical), "pictures") as task:
        pictures: dict[str, list[Picture]] = {"worst": [], "typical": []}
        for kind, fields in (("worst", worst), ("typical", typical)):
            for field in fields:
                pictures[kind].append(picture(evaluation, field))
                task.advance()
    summary, by_group = evaluation.summary(), evaluation.summary(by_group=True)
    document = _document(evaluation, subject, bundles, notes, verdict, comparisons)
    tables = {
        "per_image.csv": evaluation.scores,
        "summary.csv": summary,
        "groups.csv": by_group,
        "nuclei_kinds.csv": evaluation.kinds(),
        "tests.csv": pd.DataFrame([asdict(c) | {"stars": c.stars} for c in comparisons]),
    }
    for name, table in tables.items():
        _write(folder / name, table.to_csv(index=False))
    for name, figure in figures.items():
        _write(folder / "figures" / f"{name}.svg", figure)
    _write(folder / "report.json", json.dumps(document, indent=2, ensure_ascii=False))
    write_page(
        folder / REPORT,
        "report.html.j2",
        {
            "subject": subject,
            "evaluation": evaluation,
            "verdict": verdict,
            "summary": summary.to_dict("records"),
            "by_group": by_group.to_dict("records"),
            "groups": [g for g in dict.fromkeys(evaluation.scores["group"]) if g],
            "kinds": evaluation.kinds().to_dict("records"),
            "comparisons": comparisons,
            "figures": figures,
            "pictures": pictures,
            "scores": evaluation.scores.to_dict("records"),
            "bundles": bundles,
            "notes": notes,
            "versions": versions(),
            "main": _MAIN,
            "every": METRICS,
            "labels": LABELS,
            "best": _best(summary),
            "colour": plots.colour,
            "p_value": p_value,
        },
    )
    return document


def examples(evaluation: Evaluation) -> tuple[list[EvaluationRegion], list[EvaluationRegion]]:
    """The fields with the lowest panoptic quality of the first method, and those around its median."""
    rows = evaluation.of(evaluation.methods[0])[["field", "pq"]].dropna()
    order = rows.sort_values(["pq", "field"])["field"].tolist()
    by_name = {field.name: field for field in evaluation.fields}
    if not order:
        return [], evaluation.fields[:_EXAMPLES]
    count = min(_EXAMPLES, math.ceil(len(order) / 2))
    worst, rest = order[:count], order[count:]
    middle = max(0, min(len(order) // 2 - count // 2 - count, len(rest) - count))
    typical = rest[middle : middle + count]
    return [by_name[name] for name in worst], [by_name[name] for name in typical]


def check_output(folder: Path) -> None:
    """Raise UsageError unless ``folder`` is missing, empty or an earlier report."""
    if folder.is_file():
        raise UsageError(folder, "is a file", "Give -o the name of a folder")
    if folder.is_dir() and any(folder.iterdir()) and not (folder / REPORT).is_file():
        raise UsageError(folder, "is not empty and holds no earlier report", "Name another folder")


def _best(summary: pd.DataFrame) -> dict[str, str]:
    """Metric -> the method that is best by it; none where only one was run."""
    found = {}
    for name in _MAIN:
        values = summary.set_index("method")[name].dropna()
        if len(values) > 1:
            found[name] = str(values.idxmin() if name in LOWER_IS_BETTER else values.idxmax())
    return found


def _document(
    evaluation: Evaluation,
    subject: str,
    bundles: Sequence[Bundle],
    notes: Sequence[str],
    verdict: Verdict,
    comparisons: Sequence[Comparison],
) -> dict[str, Any]:
    raw = {
        "subject": subject,
        "written": now(),
        "unit_of_distances": evaluation.unit,
        "verdict": asdict(verdict),
        "notes": list(notes),
        "methods": evaluation.summary().to_dict("records"),
        "groups": evaluation.summary(by_group=True).to_dict("records"),
        "kinds": evaluation.kinds().to_dict("records"),
        "images": evaluation.scores.to_dict("records"),
        "tests": [asdict(c) | {"stars": c.stars} for c in comparisons],
        "calibration": {
            name: {"error": one.error, "bias": one.bias} for name, one in evaluation.reliability.items()
        },
        "bundles": [
            {
                "path": str(b.path),
                "name": b.card.name,
                "fingerprint": b.fingerprint,
                "checksums": b.card.checksums,
            }
            for b in bundles
        ],
        "versions": versions(),
    }
    plain: dict[str, Any] = _plain(raw)
    return plain


def _plain(value: Any) -> Any:
    """Plain data without NaN, which is no JSON."""
    if isinstance(value, dict):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    if hasattr(value, "item"):
        value = value.item()
    return None if isinstance(value, float) and not math.isfinite(value) else value


def _write(file: Path, text: str) -> None:
    try:
        with replacing(file) as part:
            part.write_text(text, encoding="utf-8")
    except OSError as error:
        raise ExportError(file, f"cannot be written ({error.strerror})") from error
