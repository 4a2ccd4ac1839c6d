"""The page that a training leaves in its bundle: losses, scores and samples of validation."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from .overlay import Picture, outlined
from .pages import write_page
from .plots import training_curves

MOST = 12
"""At most this many samples are shown."""


@dataclass(frozen=True)
class Sample:
    """A validation window with the student's nuclei.

    image     : float32 (rows, columns, 3), normalised.
    truth     : int32 (rows, columns), -1 where unknown.
    predicted : int32 (rows / 2, columns / 2), rounded up: labels at half resolution.
    """

    name: str
    image: NDArray[np.float32]
    truth: NDArray[np.int32]
    predicted: NDArray[np.int32]

    def picture(self) -> Picture:
        """The window with outlines."""
        rows, columns = self.truth.shape
        full = self.predicted.repeat(2, axis=0).repeat(2, axis=1)[:rows, :columns]
        pixels = np.rint(np.clip(self.image, 0, 1) * 255).astype(np.uint8)
        unknown = self.truth < 0
        return outlined(self.name, pixels, np.maximum(self.truth, 0), unknown, {"student": full})


def write_training_page(
    file: Path,
    name: str,
    facts: Mapping[str, int],
    histories: Mapping[str, Sequence[Mapping[str, float]]],
    scores: Mapping[str, Mapping[str, float]],
    samples: Sequence[Sample],
) -> Path:
    """Write the page.

    facts     : what there was to learn from, as ``Material.describe`` gives it.
    histories : by network, the terms of its loss in each epoch.
    scores    : by network, its scores on validation.
    Of ``samples`` an even choice is shown. Raises ExportError.
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
