"""The configuration of a training run: every knob, its default and its bounds.

A YAML file may set any of them; unknown names and impossible values are refused. The whole
configuration of a run is kept in its model bundle.
"""

from __future__ import annotations

import fnmatch
from pathlib import Path
from typing import Annotated, Literal

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from .errors import ConfigError

Positive = Annotated[int, Field(ge=1)]
Fraction = Annotated[float, Field(ge=0.0, le=1.0)]
Weight = Annotated[float, Field(ge=0.0)]


class _Section(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class ClassNames(_Section):
    """Which QuPath classes mean what. ``*`` at the end of ``ignore`` matches any ending."""

    training: str = "Training"
    validation: str = "Validation"
    nucleus: str = "Nucleus"
    background: str = "Background"
    ignore: str = "Ignore*"

    def is_ignored(self, path_class: str) -> bool:
        """Whether a class name means "unknown"."""
        return fnmatch.fnmatchcase(path_class, self.ignore)


class NormalisationConfig(_Section):
    """Percentiles of each colour channel over tissue that become 0 and 1."""

    low: Annotated[float, Field(ge=0, lt=50)] = 1.0
    high: Annotated[float, Field(gt=50, le=100)] = 99.8


class TeacherConfig(_Section):
    """The StarDist teacher. ``init``: a StarDist model folder to start from."""

    init: Path | None = None
    rays: Annotated[int, Field(ge=8, le=128)] = 32
    grid: Literal[1, 2, 4] = 2
    depth: Annotated[int, Field(ge=1, le=5)] = 3
    filters: Annotated[int, Field(ge=4, le=128)] = 32
    patch: Annotated[int, Field(ge=64, multiple_of=32)] = 160
    batch: Positive = 4
    epochs: Positive = 60
    steps_per_epoch: Positive = 40
    learning_rate: Annotated[float, Field(gt=0, lt=1)] = 5e-4
    patience: Positive = 15


class PseudoConfig(_Section):
    """Pseudo-labels: what the teacher says about unlabelled tissue, and how far it is believed.

    views         : the four rotations, or these and their mirror images, are averaged.
    sharpness     : k in the confidence ``|2p - 1| * exp(-k * sd)``.
    miss_doubt    : factor on the confidence where the soft label says "background": what a network
                    misses, it misses in all views alike.
    student_share : the averaged student's share in the soft labels once it has been asked; the rest is
                    the teacher's.
    rounds        : how often the averaged student is asked, first after ``loss.warm_up`` and then evenly
                    over the rest of the training; before that it knows nothing.
    batch         : unlabelled patches per step.
    cutmix        : share of an unlabelled patch that shows another one when the student learns from it.
    tiles         : at most this many tiles of ``tile`` pixels per project.
    """

    views: Literal[4, 8] = 4
    sharpness: Weight = 3.0
    miss_doubt: Fraction = 1.0
    student_share: Fraction = 0.8
    rounds: Positive = 2
    batch: Positive = 2
    cutmix: Fraction = 0.5
    tile: Annotated[int, Field(ge=128, multiple_of=32)] = 512
    tiles: Positive = 64


class StudentConfig(_Section):
    """The student, a light U-Net. ``init``: the weights of a student of the same shape to start from.

    architecture : "efficientnet-lite0", whose encoder has seen ImageNet, or "unet", a plain one.
    width   : channels of the decoder's last level; of a plain U-Net's first level, doubled at each of its
              ``levels`` levels (the encoder's own are fixed).
    restart : the learning rate falls along a cosine before each round of pseudo-labels and begins it anew
              at this share of ``learning_rate``.
    dropout : rate at the deepest level; level ``i`` of ``n`` gets ``dropout * i / (n - 1)``.
    """

    init: Path | None = None
    architecture: Literal["efficientnet-lite0", "unet"] = "efficientnet-lite0"
    width: Annotated[int, Field(ge=4, le=128)] = 32
    levels: Annotated[int, Field(ge=2, le=5)] = 4
    dropout: Annotated[float, Field(ge=0, lt=1)] = 0.2
    patch: Annotated[int, Field(ge=64, multiple_of=32)] = 160
    batch: Positive = 4
    epochs: Positive = 104
    steps_per_epoch: Positive = 40
    learning_rate: Annotated[float, Field(gt=0, lt=1)] = 1e-3
    restart: Fraction = 0.5
    weight_decay: Weight = 1e-4
    ema: Annotated[float, Field(ge=0, lt=1)] = 0.99


class LossConfig(_Section):
    """Weights of the terms of the joint objective (see docs/method.md for the equations).

    contact is how much more the object map weighs where two nuclei come near each other.
    warm_up and ramp_up are shares of the training: for the first the student learns from annotations alone,
    over the second the terms of unlabelled tissue come in.
    Without distillation and consistency the student learns from the annotations alone, and no teacher
    is trained for it.
    """

    bce: Weight = 1.0
    tversky: Weight = 1.0
    tversky_alpha: Fraction = 0.5
    tversky_beta: Fraction = 0.5
    objectness: Weight = 1.0
    contact: Weight = 0.0
    distillation: Weight = 1.0
    consistency: Weight = 0.0
    warm_up: Fraction = 0.57
    ramp_up: Fraction = 0.04

    @property
    def needs_teacher(self) -> bool:
        """Whether any term looks at unlabelled tissue."""
        return self.distillation > 0 or self.consistency > 0


class Config(_Section):
    """Everything that decides a training run."""

    seed: Annotated[int, Field(ge=0, lt=2**31)] = 0
    threads: Annotated[int, Field(ge=0)] = 0
    mpp: Annotated[float, Field(gt=0, le=10)] | None = None
    classes: ClassNames = ClassNames()
    normalisation: NormalisationConfig = NormalisationConfig()
    teacher: TeacherConfig = TeacherConfig()
    pseudo: PseudoConfig = PseudoConfig()
    student: StudentConfig = StudentConfig()
    loss: LossConfig = LossConfig()


def load_config(path: Path | None) -> Config:
    """The configuration of a YAML file, or the defaults without one.

    Raises ConfigError naming the first key at fault.
    """
    if path is None:
        return Config()
    try:
        raw = yaml.safe_load(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise ConfigError(path, f"cannot be read ({error.strerror})") from error
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise ConfigError(path, "is not valid YAML", "Check the indentation and the colons") from error
    if raw is None:
        return Config()
    if not isinstance(raw, dict):
        raise ConfigError(path, "holds no settings", "Write `name: value` lines")
    return config_from(raw, path)


def config_from(raw: object, source: object) -> Config:
    """A checked configuration from plain data; ``source`` names it in errors."""
    try:
        return Config.model_validate(raw)
    except ValidationError as error:
        first = error.errors()[0]
        key = ".".join(str(part) for part in first["loc"])
        raise ConfigError(source, f"`{key}`: {first['msg'].lower()}", "See docs/configuration.md") from error
