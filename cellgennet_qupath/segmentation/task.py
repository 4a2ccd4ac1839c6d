"""What is to be done on one slide, as every part of the engine and every worker gets it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from ..measure.tile import FullResolution, MeasureOptions
from ..qupath.project import StainVectors
from ..slides.normalisation import Normalisation
from .model import Model
from .plan import Area


class Pixels(FullResolution, Protocol):
    """What the engine needs of a slide reader."""

    def close(self) -> None: ...


@dataclass(frozen=True)
class SlideTask:
    """Everything that decides which nuclei are segmented on one slide.

    downsample    : full-resolution pixels per input sample of the model.
    mpp           : (x, y) µm per full-resolution pixel for the measurements; None to measure in pixels.
    normalisation : estimated once for the slide, never per tile.
    stains        : measured at full resolution; None for an image without.
    """

    pixels: Pixels
    model: Model
    normalisation: Normalisation
    downsample: float
    mpp: tuple[float, float] | None
    area: Area
    stains: StainVectors | None = None

    @property
    def step(self) -> float:
        """Full-resolution pixels per map sample."""
        return self.downsample * self.model.predictor.stride

    @property
    def um2(self) -> float:
        """µm² of a full-resolution pixel; 1 where the size is unknown."""
        if self.mpp is not None:
            return self.mpp[0] * self.mpp[1]
        return 1.0 if self.model.mpp is None else (self.model.mpp / self.downsample) ** 2

    @property
    def measure_options(self) -> MeasureOptions:
        """How nuclei are measured; an outline at the image's edge may end one sample before it."""
        return MeasureOptions(self.mpp, self.stains, self.step)
