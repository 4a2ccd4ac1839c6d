"""Wording that sentences for users share, and when two names are the same."""

from __future__ import annotations

import unicodedata
from collections.abc import Sequence

INTENDED_USE = "For research use only. Not for diagnosis or treatment decisions."
"""What every page, table and card says of this software and its models."""

SHOWN = 3
"""Names that a sentence shows."""


def composed(name: str) -> str:
    """A name with each accent in one form of Unicode: typed and stored by macOS they can differ."""
    return unicodedata.normalize("NFC", name)


def listed(names: Sequence[str]) -> str:
    """Names for a sentence, ``SHOWN`` of them at most: "a, b, c and 4 more"."""
    more = f" and {len(names) - SHOWN} more" if len(names) > SHOWN else ""
    return ", ".join(names[:SHOWN]) + more
