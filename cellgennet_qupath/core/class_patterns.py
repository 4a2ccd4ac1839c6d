"""Names of classes with ``*`` and ``?``, as settings give them."""

from __future__ import annotations

import fnmatch

from .wording import composed

DEFAULT_IGNORE = "Ignore*"
"""The classes of areas that are left out, unless the settings name others."""


def is_named(path_class: str, names: tuple[str, ...]) -> bool:
    """Whether a class is one of these, or matches one of them; "" (no class) matches none."""
    path_class = composed(path_class)
    return path_class in names or any(fnmatch.fnmatchcase(path_class, name) for name in names if path_class)
