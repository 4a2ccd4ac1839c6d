"""The training page of a bundle: a verdict, validation scores and samples, and losses."""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ..evaluation.verdict import DETECTION, FEW_NUCLEI, Grade
from ..metrics.matching import match_labels
from ..training.record import Sample, TrainingRecord
from .overlay import Picture, outlined
from .pages import write_page
from .plots import training_curves
from .words import LABELS


@dataclass(frozen=True)
class TrainingVerdict:
    """A training in words.

    headline   : which model to use, or what was trained.
    grade      : of detecting each nucleus on validation (the limits of ``evaluate``); "" where unknown.
    quality    : the evidence for it; sentences: the comparison with the start.
    next_steps : what to do now.
    """

    headline: str
    grade: str
    quality: str
    sentences: list[str]
    next_steps: list[str]


def judge_training(record: TrainingRecord) -> TrainingVerdict:
    """The verdict on a training from its validation scores and its comparison with the start."""
    *sentences, last = record.verdict or [""]
    headline = last.removesuffix(".")
    if not headline.startswith("Recommended: "):
        sentences = list(record.verdict)
        headline = f"{' and '.join(record.scores) or 'model'} trained".capitalize()
    network = "student" if "student" in record.scores else next(iter(record.scores), "")
    f1 = record.scores.get(network, {}).get("f1@0.5", math.nan)
    nuclei = int(record.facts["validation_nuclei"])
    if not nuclei or math.isnan(f1):
        return TrainingVerdict(
            headline,
            "",
            "No nucleus is held out, so nobody knows how good it is.",
            sentences,
            ["Give some regions the class Validation, and train again: they measure how good the model is."],
        )
    good, fair = DETECTION
    grade = Grade.GOOD if f1 >= good else Grade.FAIR if f1 >= fair else Grade.POOR
    quality = f"On {nuclei:,} validation nuclei the trained {network} detects single nuclei with F1 {f1:.2f}."
    steps = []
    if nuclei < FEW_NUCLEI:
        quality += " That is a small sample."
        steps.append(f"Draw more Validation regions: {FEW_NUCLEI} nuclei on several slides are a fair test.")
    if grade is not Grade.GOOD:
        steps.append(
            "Outline more nuclei where the pictures below show errors, or let `cellgennet suggest` choose "
            "where, and train again."
        )
    steps.append(
        "Segment your slides with `cellgennet segment`, and look at them before you use the numbers."
    )
    return TrainingVerdict(headline, grade.value, quality, sentences, steps)


def write_training_page(record: TrainingRecord, file: Path) -> Path:
    """Write the training page and return ``file``. Raises ExportError."""
    scores = record.scores
    return write_page(
        file,
        "training.html.j2",
        {
            "name": record.name.removeprefix("train-"),
            "facts": record.facts,
            "curves": {network: training_curves(h) for network, h in record.histories.items() if h},
            "scores": scores,
            "notes": record.notes,
            "verdict": judge_training(record),
            "columns": [column for column in LABELS if any(column in row for row in scores.values())],
            "labels": LABELS,
            "pictures": [_picture(sample) for sample in record.samples],
        },
    )


def _picture(sample: Sample) -> Picture:
    """A validation window with outlines of the true and the predicted nuclei."""
    rows, columns = sample.truth.shape
    stride = -(-rows // len(sample.predicted))
    full = sample.predicted.repeat(stride, axis=0).repeat(stride, axis=1)[:rows, :columns]
    true, unknown = np.maximum(sample.truth, 0), sample.truth < 0
    outcome = match_labels(true, full, unknown).outcome
    return outlined(sample.name, sample.pixels, true, unknown, {"student": (full, outcome)})
