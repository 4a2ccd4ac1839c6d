"""The model bundle: a folder ``NAME.cgn`` with all that segmentation needs, and a record of its training.

``model.yaml`` is the card; it lists the checksum of every other file, and a bundle whose files do not match
is refused, as is one with links. No file in it can run code. The package ships one bundle, in
``pretrained/``.
"""

from __future__ import annotations

from pathlib import Path

from ..core.errors import BundleError
from .card import CARD, FORMAT, REPORT, STUDENT, TEACHER, Card, card_checksum, now, versions
from .read import Bundle, load_bundle, sha256
from .write import check_output, write_bundle

__all__ = [
    "CARD",
    "FORMAT",
    "PRETRAINED",
    "REPORT",
    "STUDENT",
    "TEACHER",
    "Bundle",
    "Card",
    "card_checksum",
    "check_output",
    "load_bundle",
    "named_bundle",
    "now",
    "pretrained_bundle",
    "sha256",
    "versions",
    "write_bundle",
]

PRETRAINED = Path(__file__).resolve().parents[1] / "pretrained"
"""Folder of the bundles that come with the package."""


def pretrained_bundle() -> Path:
    """The bundle that ships with the package. Raises BundleError where this version has none."""
    shipped = sorted(PRETRAINED.glob("*.cgn"))
    if not shipped:
        raise BundleError(
            "pretrained model",
            "does not ship with this version",
            "Train a model (`cellgennet train`) and name it with -m",
        )
    return shipped[-1]


def named_bundle(name: Path | None) -> Path:
    """The path of the bundle that a user names: a folder; the pretrained one for ``pretrained`` or None."""
    if name is None or name.name == str(name) == "pretrained":
        return pretrained_bundle()
    return name
