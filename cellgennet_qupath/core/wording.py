"""Wording that sentences for users share."""

from __future__ import annotations

from collections.abc import Sequence

SHOWN = 3
"""Names that a sentence shows."""


def listed(names: Sequence[str]) -> str:
    """Names for a sentence, ``SHOWN`` of them at most: "a, b, c and 4 more"."""
    more = f" and {len(names) - SHOWN} more" if len(names) > SHOWN else ""
    return ", ".join(names[:SHOWN]) + more
