"""Finds the QuPath that paquo would use, without starting Java."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

from ...core.extras import missing


@dataclass(frozen=True)
class Installation:
    """A QuPath on this computer; ``java``: its own Java, or the one that paquo is configured to use."""

    folder: Path
    version: str
    java: Path | None


def find_qupath() -> Installation | None:
    """The installation that paquo finds by its configuration; None without one, or without paquo."""
    if missing("qupath"):
        return None
    from paquo._config import settings, to_kwargs
    from paquo.jpype_backend import find_qupath as search

    try:
        app, _, jvm, _ = search(**to_kwargs(settings))
    except (ValueError, OSError):
        return None
    java = Path(jvm) if jvm else None
    return Installation(Path(app), _version(Path(app)), java)


def _version(app: Path) -> str:
    """The version in the name of QuPath's core library; "" if there is none."""
    for jar in sorted(app.rglob("qupath-core-*.jar")):
        found = re.fullmatch(r"qupath-core-(\d[\w.\-]*)\.jar", jar.name)
        if found:
            return found[1]
    return ""
