"""What a training run leaves for its report."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

SHOWN = 12
"""A page shows so many validation windows at most."""


def shown(count: int) -> list[int]:
    """Which of ``count`` windows a page shows: ``SHOWN`` at regular intervals, from the first to the last."""
    return [int(row) for row in np.unique(np.linspace(0, count - 1, min(SHOWN, count)).round())]


@dataclass(frozen=True)
class Sample:
    """A validation window with the student's nuclei.

    pixels    : uint8 (rows, columns, 3), normalised colours.
    truth     : int32 (rows, columns), -1 where unknown.
    predicted : int32 (rows / stride, columns / stride), rounded up: labels on the grid of the maps.
    """

    name: str
    pixels: NDArray[np.uint8]
    truth: NDArray[np.int32]
    predicted: NDArray[np.int32]


@dataclass(frozen=True)
class TrainingRecord:
    """A training run in numbers.

    facts     : what there was to learn from, as ``TrainingData.describe`` gives it.
    histories : by network, the terms of its loss in each epoch.
    scores    : by network, its scores on validation.
    samples   : the validation windows that are ``shown``.
    notes     : what was odd about annotations and images, one sentence each.
    verdict   : how the result compares with its start, and which of them is recommended.
    """

    name: str
    facts: Mapping[str, int]
    histories: Mapping[str, Sequence[Mapping[str, float]]]
    scores: Mapping[str, Mapping[str, float]]
    samples: Sequence[Sample]
    notes: Sequence[str] = ()
    verdict: Sequence[str] = ()


WriteReport = Callable[[TrainingRecord, Path], object]
"""Writes a page about a training run to a file."""
