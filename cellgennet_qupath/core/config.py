"""The configuration of a training run: every setting, its default and its bounds.

A YAML file may set any of them; unknown names and impossible values are rejected. The whole
configuration of a run is kept in its model bundle.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, model_validator

from .class_patterns import DEFAULT_IGNORE, is_named
from .wording import composed

# The upper bounds only exclude typing errors and values that no computer can hold.
Count = Annotated[int, Field(ge=1, le=100_000)]
Batch = Annotated[int, Field(ge=1, le=1024)]
Patch = Annotated[int, Field(ge=64, le=4096, multiple_of=32)]
Fraction = Annotated[float, Field(ge=0.0, le=1.0)]
Weight = Annotated[float, Field(ge=0.0, le=1000.0)]
Architecture = Literal["efficientnet-lite0", "efficientnet-lite1", "efficientnet-lite2", "unet"]


def _has_flag(value: object) -> bool:
    """No setting is yes or no, which would count as 1 or 0 where a number is meant."""
    return any(isinstance(one, bool) for one in (value if isinstance(value, list | tuple) else [value]))


class Section(BaseModel):
    """A group of settings. A renamed setting keeps its old name as its ``serialization_alias``.

    Old names are still accepted, in files of settings and in the cards of bundles; new ones are written.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    @classmethod
    def old_names(cls) -> dict[str, str]:
        """The present name of each setting that was renamed, by its old name."""
        fields = cls.model_fields.items()
        return {field.serialization_alias: name for name, field in fields if field.serialization_alias}

    @model_validator(mode="before")
    @classmethod
    def _accept_old_names(cls, raw: Any) -> Any:
        if raw is None:  # a heading whose settings are all commented out
            return {}
        if not isinstance(raw, dict):
            return raw
        old = cls.old_names()
        known = {*old, *cls.model_fields}
        flags = [key for key, value in raw.items() if key in known and _has_flag(value)]
        if flags:
            raise ValueError(
                f"`{flags[0]}` has yes, no, on, off, true or false: write a number, or a name in quotes"
            )
        # A setting given under both names is left as it is, and so rejected as unknown.
        return {old[key] if key in old and old[key] not in raw else key: raw[key] for key in raw}


FIXED_CLASSES = ("Corrected", "Suggested")
"""Classes whose meaning cannot be changed: regions in which detections were checked, and suggestions."""

Name = Annotated[str, Field(min_length=1), AfterValidator(composed)]
Patterns = Name | Annotated[tuple[Name, ...], Field(min_length=1)]


class ClassNames(Section):
    """Which QuPath classes mean what.

    nucleus : a name or a list of names. In these and in ``ignore``, ``*`` matches any text and ``?`` one
              character; a name that is written exactly comes first.
    """

    training: Name = "Training"
    validation: Name = "Validation"
    nucleus: Patterns = "Nucleus"
    background: Name = "Background"
    ignore: Name = DEFAULT_IGNORE

    @model_validator(mode="after")
    def _one_meaning_each(self) -> ClassNames:
        named = [(meaning, getattr(self, meaning)) for meaning in ("training", "validation", "background")]
        named += [("ignore", self.ignore), *(("nucleus", name) for name in dict.fromkeys(self.nucleus_names))]
        meanings: dict[str, str] = {}
        for meaning, name in named:
            if name in FIXED_CLASSES:
                raise ValueError(f"`{meaning}` cannot be {name}: that class has a meaning of its own")
            other = meanings.setdefault(name, meaning)
            if other != meaning:
                raise ValueError(f"`{other}` and `{meaning}` are the same class ({name})")
        return self

    @property
    def nucleus_names(self) -> tuple[str, ...]:
        """The names and patterns of the classes that mean a nucleus."""
        return (self.nucleus,) if isinstance(self.nucleus, str) else self.nucleus

    @property
    def detection_class(self) -> str:
        """The class that detections get: the first name that is not a pattern."""
        plain = (name for name in self.nucleus_names if not any(c in name for c in "*?["))
        return next(plain, "Nucleus")

    def is_ignored(self, path_class: str) -> bool:
        """Whether a class name means "unknown"."""
        return is_named(path_class, (self.ignore,))

    def is_nucleus(self, path_class: str) -> bool:
        """Whether a class name means "one nucleus"; no class ("") does not, as it depends on the place."""
        return is_named(path_class, self.nucleus_names)


class NormalisationConfig(Section):
    """Percentiles of each colour channel over tissue that become 0 and 1."""

    low: Annotated[float, Field(ge=0, lt=50)] = 1.0
    high: Annotated[float, Field(gt=50, le=100)] = 99.8


class TeacherConfig(Section):
    """The StarDist teacher.

    init     : a StarDist model folder whose weights it starts from.
    backbone : "unet", StarDist's own, or an encoder that was pretrained on ImageNet, with a decoder of three
               levels.
    filters  : channels of the U-Net's first level; twice as many in the decoder's last level.
    """

    init: Path | None = None
    backbone: Architecture = "unet"
    rays: Annotated[int, Field(ge=8, le=128)] = 32
    grid: Literal[1, 2, 4] = 2
    depth: Annotated[int, Field(ge=1, le=5)] = 3
    filters: Annotated[int, Field(ge=4, le=128)] = 32
    patch: Patch = 160
    batch: Batch = 4
    epochs: Count = 60
    steps_per_epoch: Count = 40
    learning_rate: Annotated[float, Field(gt=0, lt=1)] = 5e-4
    patience: Count = 15

    @model_validator(mode="after")
    def _patches_fit_the_network(self) -> TeacherConfig:
        unit = self.grid * 2**self.depth
        if self.patch % unit:
            raise ValueError(f"`patch` must be a multiple of grid * 2^depth = {unit}")
        if self.backbone != "unet" and self.grid != 2:
            raise ValueError("`grid` must be 2 with an encoder as `backbone`")
        return self


class PseudoConfig(Section):
    """Pseudo-labels: soft labels predicted for unlabelled tissue, and the weight they get.

    views             : the four rotations, or these and their mirror images, are averaged.
    uncertainty_decay : k in the confidence ``|2p - 1| * exp(-k * sd)``.
    background_weight : factor on the confidence where the soft label says "background": a nucleus that a
                        network misses, it misses in all views.
    student_share     : the averaged student's share in the soft labels once it has made predictions; the
                        rest is the teacher's.
    rounds            : how many times the averaged student predicts, first after ``loss.warm_up``, then at
                        even intervals over the rest of the training. Before that its predictions are noise.
    batch             : unlabelled patches per step.
    cutmix            : share of an unlabelled patch that is replaced by another patch.
    tiles             : at most this many tiles of ``tile`` pixels per project.
    """

    views: Literal[4, 8] = 4
    uncertainty_decay: Weight = Field(default=3.0, serialization_alias="sharpness")
    background_weight: Fraction = Field(default=1.0, serialization_alias="miss_doubt")
    student_share: Fraction = 0.8
    rounds: Count = 2
    batch: Batch = 2
    cutmix: Fraction = 0.5
    tile: Annotated[int, Field(ge=128, le=8192, multiple_of=32)] = 512
    tiles: Count = 64


class StudentConfig(Section):
    """The student, a light U-Net. ``init``: the weights of a student of the same shape to start from.

    architecture : "efficientnet-lite0" to "-lite2", whose encoders are pretrained on ImageNet, or "unet", a
                   plain one.
    stride       : samples of the image per sample of the maps, along each side; 1 needs an encoder.
    width        : channels of the decoder's last level; of a plain U-Net's first level, doubled at each of
                   its ``levels`` levels (the encoder's own are fixed).
    restart      : the learning rate decays along a cosine before each round of pseudo-labels and restarts
                   at this share of ``learning_rate``.
    dropout      : rate at the deepest level; level ``i`` of ``n`` gets ``dropout * i / (n - 1)``.
    zoom         : labelled patches are enlarged or reduced at random, by up to this share.
    """

    init: Path | None = None
    architecture: Architecture = "efficientnet-lite0"
    stride: Literal[1, 2] = 2
    width: Annotated[int, Field(ge=4, le=128)] = 32
    levels: Annotated[int, Field(ge=2, le=5)] = 4
    dropout: Annotated[float, Field(ge=0, lt=1)] = 0.2
    zoom: Annotated[float, Field(ge=0, le=2)] = 0.2
    patch: Patch = 160
    batch: Batch = 4
    epochs: Count = 104
    steps_per_epoch: Count = 40
    learning_rate: Annotated[float, Field(gt=0, lt=1)] = 1e-3
    restart: Fraction = 0.5
    weight_decay: Weight = 1e-4
    ema: Annotated[float, Field(ge=0, lt=1)] = 0.99

    @model_validator(mode="after")
    def _a_plain_network_halves(self) -> StudentConfig:
        if self.architecture == "unet" and self.stride != 2:
            raise ValueError("`stride` must be 2 with the plain U-Net")
        return self


class LossConfig(Section):
    """Weights of the terms of the joint objective (see docs/method.md for the equations).

    touching_weight is how much more the object map counts where two nuclei touch or nearly touch.
    geometry is the weight of an auxiliary task, of which nothing stays in the trained student: the shape and
    the place of the nucleus around each sample, and where nuclei touch.
    warm_up and ramp_up are shares of the training: during the first the student learns from annotations
    alone, over the second the terms of unlabelled tissue are faded in.
    With distillation and consistency at 0 the student learns from the annotations alone, and no teacher
    is trained.
    """

    bce: Weight = 1.0
    tversky: Weight = 1.0
    tversky_alpha: Fraction = 0.5
    tversky_beta: Fraction = 0.5
    objectness: Weight = 1.0
    touching_weight: Weight = Field(default=0.0, serialization_alias="contact")
    geometry: Weight = 0.0
    distillation: Weight = 1.0
    consistency: Weight = 0.0
    warm_up: Fraction = 0.57
    ramp_up: Fraction = 0.04

    @property
    def uses_unlabelled(self) -> bool:
        """Whether any term uses unlabelled tissue."""
        return self.distillation > 0 or self.consistency > 0


class AdaptationConfig(Section):
    """A training that starts from a bundle.

    scale : how much the slides are enlarged for the start, so that the nuclei have the size it knows;
            "auto": chosen by its own score on the nuclei outlined for training. ``mpp`` overrides it.
    share : how far the weights move from the start (0) to the end of the training (1); "auto": half-way,
            unless validation shows that another share is better.
    """

    scale: Literal["auto"] | Annotated[float, Field(ge=0.5, le=2)] = "auto"
    share: Literal["auto"] | Fraction = "auto"


class Config(Section):
    """All settings of a training run."""

    seed: Annotated[int, Field(ge=0, lt=2**31)] = 0
    threads: Annotated[int, Field(ge=0, le=1024)] = 0
    mpp: Annotated[float, Field(gt=0, le=10)] | None = None
    classes: ClassNames = ClassNames()
    normalisation: NormalisationConfig = NormalisationConfig()
    teacher: TeacherConfig = TeacherConfig()
    pseudo: PseudoConfig = PseudoConfig()
    student: StudentConfig = StudentConfig()
    loss: LossConfig = LossConfig()
    adaptation: AdaptationConfig = AdaptationConfig()

    @model_validator(mode="after")
    def _patches_fit_into_tiles(self) -> Config:
        if self.loss.uses_unlabelled and self.student.patch > self.pseudo.tile:
            raise ValueError("`student.patch` must not be larger than `pseudo.tile`")
        return self

    def fingerprint_text(self) -> str:
        """The settings as JSON under their oldest names: the same text in every version.

        Without ``adaptation``, which only a training from a bundle reads.
        """
        exclude: dict[str, Any] = {"adaptation": True}
        if self.teacher.backbone == "unet":  # the only one that there was
            exclude["teacher"] = {"backbone"}
        newer = {"stride": 2, "zoom": 0.2}
        exclude["student"] = {name for name, was in newer.items() if getattr(self.student, name) == was}
        if self.loss.geometry == 0:
            exclude["loss"] = {"geometry"}
        return self.model_dump_json(by_alias=True, exclude=exclude)
