"""Adaptation: training that starts from a bundle, and what it keeps of that start.

Annotations of one lab are few. The student therefore begins as the start's, learns for a short time at a low
rate, from the annotations and from the start's own predictions on the lab's tissue, and ends between start
and result (``interpolation``).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

from pydantic import BaseModel

from ..bundle import STUDENT, Bundle
from ..core.config import Config
from ..core.errors import ConfigError
from ..segmentation.decode import DecodingConfig
from ..segmentation.model import decoding_of

Section = TypeVar("Section", bound=BaseModel)

ADAPTATION_DEFAULTS: Mapping[str, Mapping[str, Any]] = {
    "student": {"epochs": 10, "learning_rate": 3e-4, "restart": 1.0},
    "pseudo": {"rounds": 1},
    "loss": {"distillation": 1.0, "consistency": 0.0, "warm_up": 0.0, "ramp_up": 0.1},
}
"""The defaults of settings that differ when a training starts from a bundle (docs/configuration.md)."""

_FINE = {"student": {"patch": 96}, "pseudo": {"tile": 256}}
"""Where the maps have the image's resolution (``student.stride`` 1), about the same tissue is as many map
samples as half as wide an image."""

_KEPT = {
    "student": ("dropout",),
    "loss": ("bce", "tversky", "tversky_alpha", "tversky_beta", "objectness", "touching_weight"),
}
"""Settings that are the start's unless the user sets them."""


@dataclass(frozen=True)
class Start:
    """What a training starts from.

    student  : the weights, safetensors; ``checksum``: their SHA-256.
    decoding : the rule that turns maps into nuclei, in µm at the start's own scale.
    mpp      : µm per pixel at which the start reads slides; None for full resolution.
    teacher  : its StarDist folder, if the bundle holds one, and ``teacher_thresholds`` of its predictions.
    species  : of the tissue that it learnt from, as its card records them; so are stain, licence and
               attribution.
    """

    name: str
    student: Path
    checksum: str
    decoding: DecodingConfig
    mpp: float | None
    teacher: Path | None
    species: tuple[str, ...] = ()
    stain: str = "H&E"
    licence: str = "unspecified"
    attribution: str = ""
    teacher_thresholds: Mapping[str, float] = field(default_factory=dict)


def start_of(bundle: Bundle) -> Start:
    """The start that a bundle is. Raises BundleError where it has no student or no valid rule."""
    return Start(
        bundle.card.name,
        bundle.student.resolve(),
        bundle.card.checksums[STUDENT],
        decoding_of(bundle),
        bundle.card.mpp,
        bundle.teacher.resolve() if bundle.holds_teacher else None,
        tuple(bundle.card.species),
        bundle.card.stain,
        bundle.card.licence,
        bundle.card.attribution,
        dict(bundle.card.teacher_thresholds),
    )


def init_config(bundle: Bundle, config: Config) -> Config:
    """The settings of a training that starts from the networks of a bundle.

    The networks' shapes and the normalisation are the bundle's, as its weights only fit these. Loss, dropout
    and resolution are the bundle's too, and the training is short (``ADAPTATION_DEFAULTS``), unless
    ``config`` sets them. If the bundle has no teacher, only the student starts from it.
    Raises BundleError where it has no student, and ConfigError where ``config`` asks for another shape.
    """
    theirs = bundle.config
    shape = {name: getattr(theirs.student, name) for name in ("architecture", "stride", "width", "levels")}
    for name, value in shape.items():
        if name in config.student.model_fields_set and getattr(config.student, name) != value:
            raise ConfigError(
                f"student.{name}",
                f"is {getattr(config.student, name)}, but the start, {bundle.card.name}, has {value}",
                "Leave the setting out, or train with --init none",
            )
    sections: dict[str, BaseModel] = {}
    for name in ("student", "pseudo", "loss"):
        kept = {key: getattr(getattr(theirs, name), key) for key in _KEPT.get(name, ())}
        if theirs.student.stride == 1:
            kept |= _FINE.get(name, {})
        sections[name] = _unless_set(getattr(config, name), kept | dict(ADAPTATION_DEFAULTS[name]))
    sections["student"] = sections["student"].model_copy(update=shape | {"init": bundle.student.resolve()})
    if bundle.holds_teacher:
        sections["teacher"] = config.teacher.model_copy(update={"init": bundle.teacher.resolve()})
    return config.model_copy(
        update={
            **sections,
            "normalisation": theirs.normalisation,
            "mpp": config.mpp if config.mpp is not None else bundle.card.mpp,
        }
    )


def _unless_set(section: Section, values: Mapping[str, Any]) -> Section:
    """The section with other values for what the user left at its default."""
    return section.model_copy(update={k: v for k, v in values.items() if k not in section.model_fields_set})
