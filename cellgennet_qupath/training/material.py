"""What there is to learn from: labelled windows, and places of tissue without labels."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from ..annotations.windows import LabelledWindow


@dataclass(frozen=True)
class UnlabelledTile:
    """A tile of tissue to pseudo-label; rows and columns are even.

    image : float32 (rows, columns, 3) normalised; usable : bool (rows, columns), tissue, neither labelled nor
    withheld.
    """

    image: NDArray[np.float32]
    usable: NDArray[np.bool_]
    source: str


class TileSource(Protocol):
    """A tile of tissue that is read when it is needed."""

    def read(self) -> UnlabelledTile:
        """Its picture and where in it nothing is labelled."""


@dataclass(frozen=True)
class TrainingData:
    """Everything a training run learns from and is checked with.

    mpp    : the working resolution in µm per pixel; None where nothing is calibrated.
    images : how many images were read.
    """

    mpp: float | None
    images: int
    training: Sequence[LabelledWindow]
    validation: Sequence[LabelledWindow]
    places: Sequence[TileSource]

    def describe(self) -> dict[str, int]:
        """Numbers for messages and for the model card."""
        return {
            "images": self.images,
            "training_windows": len(self.training),
            "training_nuclei": sum(w.n_nuclei for w in self.training),
            "training_labelled_pixels": int(sum(w.known.sum() for w in self.training)),
            "validation_windows": len(self.validation),
            "validation_nuclei": sum(w.n_nuclei for w in self.validation),
            "unlabelled_tiles": len(self.places),
        }
