"""A training that begins where another one ended."""

from __future__ import annotations

from ..bundle import Bundle
from ..core.config import Config


def init_config(bundle: Bundle, config: Config) -> Config:
    """The settings of a training whose networks begin as those of a bundle.

    What the weights are bound to (the networks' shapes, normalisation and, unless set, the resolution)
    is the bundle's. A bundle without a teacher gives a start to the student only.
    Raises BundleError where it holds no student.
    """
    theirs = bundle.config
    student = config.student.model_copy(
        update={name: getattr(theirs.student, name) for name in ("architecture", "width", "levels")}
        | {"init": bundle.student.resolve()}
    )
    teacher = config.teacher
    if bundle.holds_teacher:
        teacher = teacher.model_copy(update={"init": bundle.teacher.resolve()})
    return config.model_copy(
        update={
            "student": student,
            "teacher": teacher,
            "normalisation": theirs.normalisation,
            "mpp": config.mpp if config.mpp is not None else bundle.card.mpp,
        }
    )
