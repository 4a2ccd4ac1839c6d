"""Puts a new ``data.qpdata`` in the place of the old one, unless that changed meanwhile."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path

from ...core.errors import EntryDataError

State = tuple[int, int, str]
"""Time of change (ns), size in bytes and SHA-256 of a file; (0, 0, "") of none."""


class ChangedError(EntryDataError):
    """Another program wrote an entry's data while ours were made."""


def state_of(file: Path) -> State:
    """What tells whether a file has changed."""
    try:
        with file.open("rb") as opened:
            digest = hashlib.file_digest(opened, "sha256").hexdigest()
            status = os.fstat(opened.fileno())
    except FileNotFoundError:
        return 0, 0, ""
    return status.st_mtime_ns, status.st_size, digest


def replace(place: Path, fresh: Path, summary: str, before: State) -> None:
    """Move a checked file to its place in one step, with the ``summary.json`` that belongs to it.

    Raises ChangedError where ``place`` is no longer in the state ``before``.
    """
    place.parent.mkdir(parents=True, exist_ok=True)
    beside = place.with_name("summary.json")
    new = fresh.with_name(fresh.name + ".json")
    new.write_text(summary, encoding="utf-8")
    if state_of(place) != before:
        raise ChangedError(place, "was changed by another program in the meantime")
    # A summary that does not fit is taken for damage, a missing one is not.
    beside.unlink(missing_ok=True)
    fresh.replace(place)
    new.replace(beside)
