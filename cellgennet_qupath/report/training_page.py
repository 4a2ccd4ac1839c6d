"""The training page of a bundle: losses, validation scores and validation samples."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from ..metrics.matching import match_labels
from ..training.record import Sample, TrainingRecord
from .overlay import Picture, outlined
from .pages import write_page
from .plots import training_curves

MOST = 12
"""Largest number of samples on the page."""


def write_training_page(record: TrainingRecord, file: Path) -> Path:
    """Write the training page and return ``file``; ``MOST`` samples at regular intervals are shown.

    Raises ExportError.
    """
    samples, scores = record.samples, record.scores
    chosen = np.unique(np.linspace(0, len(samples) - 1, min(MOST, len(samples))).round().astype(int))
    return write_page(
        file,
        "training.html.j2",
        {
            "name": record.name,
            "facts": record.facts,
            "curves": {network: training_curves(h) for network, h in record.histories.items() if h},
            "scores": scores,
            "notes": record.notes,
            "verdict": record.verdict,
            "columns": list(dict.fromkeys(column for row in scores.values() for column in row)),
            "pictures": [_picture(samples[i]) for i in chosen],
        },
    )


def _picture(sample: Sample) -> Picture:
    """A validation window with outlines of the true and the predicted nuclei."""
    rows, columns = sample.truth.shape
    full = sample.predicted.repeat(2, axis=0).repeat(2, axis=1)[:rows, :columns]
    pixels = np.rint(np.clip(sample.image, 0, 1) * 255).astype(np.uint8)
    true, unknown = np.maximum(sample.truth, 0), sample.truth < 0
    outcome = match_labels(true, full, unknown).outcome
    return outlined(sample.name, pixels, true, unknown, {"student": (full, outcome)})
