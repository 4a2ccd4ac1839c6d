"""The report of an evaluation: one HTML page, and its tables and figures as separate files."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from ..bundle import Bundle, versions
from ..core.progress import SILENT, Reporter
from ..evaluation.regions import EvaluationRegion
from ..evaluation.run import LOWER_IS_BETTER, METRICS, Evaluation
from ..evaluation.verdict import Verdict, judge, noun, p_value
from . import plots
from .evaluation_files import FIGURES, REPORT, check_output, clear_output, write_file, write_files
from .guard import guarded
from .overlay import Picture, picture
from .pages import write_page
from .words import LABELS, card_facts

_EXAMPLES = 4
_MAIN = ("dice", "iou", "tpr", "fpr", "hausdorff", "hd95", "f1@0.5", "aji", "pq")


def write_report(
    folder: Path,
    evaluation: Evaluation,
    subject: str,
    bundles: Sequence[Bundle] = (),
    notes: Sequence[str] = (),
    reporter: Reporter = SILENT,
) -> dict[str, Any]:
    """Write the report of an evaluation into a folder and return its content as plain data (report.json).

    folder  : receives ``per_image.csv``, ``summary.csv``, ``groups.csv``, ``nuclei_kinds.csv``,
              ``tests.csv``, ``report.json``, then ``figures/`` and ``report.html``; an earlier report there
              is replaced.
    subject : name of the evaluated data, for the title.
    bundles : the report shows their cards.
    notes   : further warnings for the reader, one sentence each.

    Where figures or page cannot be made, a warning gives the reason; all else is complete. Raises UsageError
    where the folder contains anything but an earlier report, and ExportError where a file cannot be written.
    """
    check_output(folder)
    verdict = judge(evaluation)
    clear_output(folder)
    document = write_files(folder, evaluation, subject, bundles, notes, verdict)
    guarded(
        lambda: _write_page(folder, evaluation, subject, bundles, notes, verdict, reporter),
        reporter,
        "report page",
    )
    return document


def _write_page(
    folder: Path,
    evaluation: Evaluation,
    subject: str,
    bundles: Sequence[Bundle],
    notes: Sequence[str],
    verdict: Verdict,
    reporter: Reporter,
) -> Path:
    boxes = plots.box_plots(evaluation)
    figures = {
        **{f"box_{metric.partition('@')[0]}": figure for metric, figure in boxes.items()},
        "thresholds": plots.threshold_curve(evaluation),
        "counts": plots.counts(evaluation),
        "kinds": plots.strata(evaluation),
    }
    if evaluation.calibration:
        figures["calibration"] = plots.calibration(evaluation)
    for name, figure in figures.items():
        write_file(folder / FIGURES / f"{name}.svg", figure)
    worst, typical = examples(evaluation)
    with reporter.track("drawing examples", len(worst) + len(typical), "pictures") as task:
        pictures: dict[str, list[Picture]] = {"worst": [], "typical": []}
        for kind, regions in (("worst", worst), ("typical", typical)):
            for region in regions:
                pictures[kind].append(picture(evaluation, region))
                task.advance()
    summary, by_group = evaluation.summary(), evaluation.summary(by_group=True)
    return write_page(
        folder / REPORT,
        "report.html.j2",
        {
            "subject": subject,
            "evaluation": evaluation,
            "verdict": verdict,
            "summary": summary.to_dict("records"),
            "by_group": by_group.to_dict("records"),
            "groups": [g for g in dict.fromkeys(evaluation.scores["group"]) if g],
            "strata": evaluation.strata.to_dict("records"),
            "comparisons": evaluation.comparisons,
            "figures": figures,
            "boxes": {plots.TITLES[metric]: figure for metric, figure in boxes.items()},
            "fewest_for_box": plots.FEWEST_FOR_BOX,
            "noun": noun(evaluation),
            "card_facts": card_facts,
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


def examples(evaluation: Evaluation) -> tuple[list[EvaluationRegion], list[EvaluationRegion]]:
    """The regions with the lowest panoptic quality of the first method, and regions around its median.

    Of regions that show the same tissue it is the worst one.
    """
    rows = evaluation.of(evaluation.methods[0])[["field", "pq"]].dropna()
    by_name = {region.name: region for region in evaluation.regions}
    tissue = dict(zip(by_name, evaluation.tissues, strict=True))
    worst_first = rows.sort_values(["pq", "field"])
    order = worst_first[~worst_first["field"].map(tissue).duplicated()]["field"].tolist()
    if not order:
        return [], [region for region in evaluation.regions if region.name in evaluation.once][:_EXAMPLES]
    count = min(_EXAMPLES, math.ceil(len(order) / 2))
    worst, rest = order[:count], order[count:]
    middle = max(0, min(len(order) // 2 - count // 2 - count, len(rest) - count))
    typical = rest[middle : middle + count]
    return [by_name[name] for name in worst], [by_name[name] for name in typical]


def _best(summary: pd.DataFrame) -> dict[str, str]:
    """Metric -> the best method; empty if there is only one method."""
    best = {}
    for name in _MAIN:
        values = summary.set_index("method")[name].dropna()
        if len(values) > 1:
            best[name] = str(values.idxmin() if name in LOWER_IS_BETTER else values.idxmax())
    return best
