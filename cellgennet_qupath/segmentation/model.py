"""A model ready to run: a network that predicts maps from pixels, and the rules around it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from pydantic import ValidationError

from ..bundle import CARD, Bundle
from ..core.config import NormalisationConfig
from ..core.errors import BundleError
from ..networks.maps import MapPredictor
from .decode import NOMINAL_MPP, Decoding, DecodingConfig

if TYPE_CHECKING:
    from ..networks.device import Device, Precision


_BLOCK = {1: 1280, 2: 2048}
"""Longest side of a block in samples, by the student's stride: as much context as a large block saves, and
memory for the maps, which small ones save."""


@dataclass(frozen=True)
class Limits:
    """Below which nuclei are left out once everything else is decided: probability, area in µm²."""

    probability: float = 0.0
    area_um2: float = 0.0


@dataclass(frozen=True)
class Model:
    """A predictor of maps with the settings that were fixed in training.

    mpp         : µm per input sample; None for a model of uncalibrated images, which runs on
                  full-resolution pixels of any size.
    path_class  : the QuPath class of its nuclei.
    fingerprint : equal only for models that give equal results.
    block       : longest side of a block, the network's input without context, in input samples. Small
                  blocks waste less around a small area, large ones less in a large one. It affects the
                  last digits of the maps, so it does not depend on the tiles.
    stain       : of the slides it was trained on, "" if unknown.
    limits      : of a run, none by default.
    learnt_from : stain, magnification and species of those slides, for people.
    """

    predictor: MapPredictor
    mpp: float | None
    decoding: DecodingConfig
    normalisation: NormalisationConfig
    path_class: str
    fingerprint: str
    block: int = 2048
    stain: str = ""
    limits: Limits = Limits()
    learnt_from: str = ""

    @classmethod
    def from_bundle(
        cls,
        bundle: Bundle,
        threads: int = 0,
        device: Device | Literal["auto"] = "auto",
        precision: Precision = "auto",
    ) -> Model:
        """The student of a bundle on ``threads`` threads (0: all). Raises BundleError and UsageError."""
        from ..networks.runtime import load_runtime

        return cls(
            predictor=load_runtime(bundle.student, bundle.config.student, device, threads, precision),
            mpp=bundle.card.mpp,
            decoding=decoding_of(bundle),
            normalisation=bundle.config.normalisation,
            path_class=bundle.card.classes[0] if bundle.card.classes else "",
            fingerprint=bundle.fingerprint,
            block=_BLOCK[bundle.config.student.stride],
            stain=bundle.card.stain,
            learnt_from=bundle.card.learnt_from,
        )

    @property
    def rule(self) -> Decoding:
        """The decoding rule in samples of the predictor's maps."""
        return self.decoding.at((self.mpp or NOMINAL_MPP) * self.predictor.stride)

    @property
    def halo(self) -> int:
        """Input samples around a tile's core that its nuclei depend on; a multiple of the stride."""
        return self.rule.reach * self.predictor.stride


def decoding_of(bundle: Bundle) -> DecodingConfig:
    """The decoding rule of a bundle's card. Raises BundleError where it is invalid."""
    try:
        return DecodingConfig.model_validate(bundle.card.decoding)
    except ValidationError as error:
        key = ".".join(str(part) for part in error.errors()[0]["loc"])
        raise BundleError(
            bundle.path / CARD, f"contains an invalid decoding rule (`{key}`)", "Train again"
        ) from error
