"""The meaning of an annotation's class, and the meaning that a misspelt class was probably to have."""

from __future__ import annotations

import re
import unicodedata
from enum import StrEnum
from typing import TYPE_CHECKING

from ..core.wording import composed
from ..qupath.suggested import SUGGESTED

if TYPE_CHECKING:
    from ..core.config import ClassNames

CORRECTED = "Corrected"
"""A Training region in which the user has checked every detection: detections count as outlines there."""


class Role(StrEnum):
    """What an annotation is used for."""

    TRAINING = "training"
    VALIDATION = "validation"
    CORRECTED = "corrected"
    NUCLEUS = "nucleus"
    BACKGROUND = "background"
    IGNORE = "ignore"
    SUGGESTED = "suggested"
    OTHER = "other"


REGIONS = frozenset({Role.TRAINING, Role.VALIDATION, Role.CORRECTED})


def role_of(path_class: str, classes: ClassNames) -> Role:
    """The role of a class; exact names come before patterns, and "" (no class) means nucleus.

    The form of accents in Unicode does not matter: it cannot be seen.
    """
    path_class = composed(path_class)
    exact = {
        SUGGESTED: Role.SUGGESTED,
        CORRECTED: Role.CORRECTED,
        classes.background: Role.BACKGROUND,
        classes.validation: Role.VALIDATION,
        classes.training: Role.TRAINING,
        "": Role.NUCLEUS,
    }
    if path_class in exact:
        return exact[path_class]
    if path_class in classes.nucleus_names:
        return Role.NUCLEUS
    if classes.is_ignored(path_class):
        return Role.IGNORE
    return Role.NUCLEUS if classes.is_nucleus(path_class) else Role.OTHER


def near_miss(path_class: str, classes: ClassNames) -> tuple[Role, str] | None:
    """The role and the name that a class of ``Role.OTHER`` was probably meant to have; None if it is no typo.

    Near misses differ from a name in case, spaces or a few letters (one, or two in names of six letters or
    more), or contain it as a whole word: "training", "Training ", "Trainig", "Training: 2", "Nucleus tumor".
    """
    names = [
        (Role.TRAINING, classes.training),
        (Role.VALIDATION, classes.validation),
        (Role.BACKGROUND, classes.background),
        (Role.IGNORE, classes.ignore.rstrip("*") or classes.ignore),
        (Role.CORRECTED, CORRECTED),
        *((Role.NUCLEUS, name) for name in classes.nucleus_names if not re.search(r"[*?\[]", name)),
    ]
    ranked = [(_difference(path_class, name), number) for number, (_, name) in enumerate(names)]
    least, number = min(ranked)
    return names[number] if least <= 2 else None


def _difference(path_class: str, name: str) -> int:
    """0 to 2 for near misses: only case and spaces, a whole word, a few letters; 3 for anything else."""
    written, wanted = _folded(path_class), _folded(name)
    if written == wanted:
        return 0
    words = written.split()
    if wanted in words or (wanted and f" {wanted} " in f" {written} "):
        return 1
    allowed = 2 if len(wanted) >= 6 else 1 if len(wanted) >= 4 else 0
    close = any(_distance(word, wanted, allowed) <= allowed for word in (written, *words[:1]))
    return 2 if close else 3


def _folded(name: str) -> str:
    """A name in lower case, every run of anything but letters and digits as one space."""
    return " ".join(re.split(r"[\W_]+", unicodedata.normalize("NFKC", name).casefold())).strip()


def _distance(first: str, second: str, limit: int) -> int:
    """Edits (insert, delete, replace, swap neighbours) between two words; above ``limit`` only a bound.

    Optimal string alignment distance, as in Boytsov, "Indexing methods for approximate dictionary
    searching", 2011.
    """
    if abs(len(first) - len(second)) > limit:
        return limit + 1
    before: list[int] = []
    row = list(range(len(second) + 1))
    for i, a in enumerate(first, start=1):
        following = [i]
        for j, b in enumerate(second, start=1):
            cost = min(row[j] + 1, following[-1] + 1, row[j - 1] + (a != b))
            if i > 1 and j > 1 and a == second[j - 2] and first[i - 2] == b:
                cost = min(cost, before[j - 2] + 1)
            following.append(cost)
        before, row = row, following
    return row[-1]
