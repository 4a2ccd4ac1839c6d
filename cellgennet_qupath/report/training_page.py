"""The training page of a bundle: losses, validation scores and validation samples."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ..metrics.matching import match_labels
from .overlay import Picture, outlined
from .pages import write_page
from .plots import training_curves

MOST = 12
"""Largest number of samples on the page."""


@dataclass(frozen=True)
class Sample:
    """A validation window and the nuclei that the student predicts in it.

    image     : float32 (rows, columns, 3), normalised RGB.
    truth     : int32 (rows, columns), labels of the true nuclei, -1 where unknown.
    predicted : int32 (ceil(rows / 2), ceil(columns / 2)), labels at half resolution.
    """

    name: str
    image: NDArray[np.float32]
    truth: NDArray[np.int32]
    predicted: NDArray[np.int32]

    def picture(self) -> Picture:
        """The window with outlines of the true and the predicted nuclei."""
        rows, columns = self.truth.shape
        full = self.predicted.repeat(2, axis=0).repeat(2, axis=1)[:rows, :columns]
        pixels = np.rint(np.clip(self.image, 0, 1) * 255).astype(np.uint8)
        true, unknown = np.maximum(self.truth, 0), self.truth < 0
        outcome = match_labels(true, full, unknown).outcome
        return outlined(self.name, pixels, true, unknown, {"student": (full, outcome)})


def write_training_page(
    file: Path,
    name: str,
    facts: Mapping[str, int],
    histories: Mapping[str, Sequence[Mapping[str, float]]],
    scores: Mapping[str, Mapping[str, float]],
    samples: Sequence[Sample],
) -> Path:
    """Write the training page and return ``file``.

    facts     : size of the training data: ``images``, ``training_nuclei``, ``training_windows``,
                ``validation_nuclei``, ``validation_windows``, ``unlabelled_tiles``.
    histories : network -> the terms of its loss, one mapping per epoch.
    scores    : network -> its validation scores.
    samples   : of these, ``MOST`` at regular intervals are shown.

    Raises ExportError.
    """
    chosen = np.unique(np.linspace(0, len(samples) - 1, min(MOST, len(samples))).round().astype(int))
    return write_page(
        file,
        "training.html.j2",
        {
            "name": name,
            "facts": facts,
            "curves": {network: training_curves(h) for network, h in histories.items() if h},
            "scores": scores,
            "columns": list(dict.fromkeys(column for row in scores.values() for column in row)),
            "pictures": [samples[i].picture() for i in chosen],
        },
    )
