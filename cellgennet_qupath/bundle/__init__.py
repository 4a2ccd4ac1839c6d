"""The model bundle: a folder ``NAME.cgn`` with all that segmentation needs, and a record of its training.

``model.yaml`` is the card; it lists the checksum of every other file, and a bundle whose files do not match
is refused, as is one with links. No file in it can run code. The package ships one bundle, in
``pretrained/``.
"""

from __future__ import annotations

from pathlib import Path

from ..core.errors import BundleError
from .card import CARD, FORMAT, INTENDED_USE, REPORT, STUDENT, TEACHER, Card, card_checksum, now, versions
from .read import Bundle, load_bundle, sha256
from .write import check_output, write_bundle

__all__ = [
    "CARD",
    "FORMAT",
    "INTENDED_USE",
    "PRETRAINED",
    "REPORT",
    "STUDENT",
    "TEACHER",
    "Bundle",
    "Card",
    "bundles_in",
    "card_checksum",
    "check_output",
    "load_bundle",
    "named_bundle",
    "now",
    "pretrained_bundle",
    "sha256",
    "shipped_bundles",
    "versions",
    "write_bundle",
]

PRETRAINED = Path(__file__).resolve().parents[1] / "pretrained"
"""Folder of the bundles that come with the package."""


def pretrained_bundle() -> Path:
    """The bundle that ships with the package. Raises BundleError where this version has none."""
    shipped = shipped_bundles()
    if not shipped:
        raise BundleError(
            "pretrained model",
            "does not ship with this version",
            "Train a model (`cellgennet train`) and name it with -m",
        )
    return shipped[-1]


def shipped_bundles() -> list[Path]:
    """All bundles that ship with the package; the last one is the pretrained one."""
    return sorted(PRETRAINED.glob("*.cgn"))


def bundles_in(folder: Path) -> list[Path]:
    """The bundles in a folder and in the folders directly inside it, by name; or the folder, if it is one."""
    if (folder / CARD).is_file():
        return [folder]
    # One that is being written has a hidden name.
    levels = (f"[!.]*/{CARD}", f"[!.]*/[!.]*/{CARD}")
    return [card.parent for level in levels for card in sorted(folder.glob(level))]


def named_bundle(name: Path | None) -> Path:
    """The path of the bundle that a user names: a folder; the pretrained one for ``pretrained`` or None."""
    if name is None or name.name == str(name) == "pretrained":
        return pretrained_bundle()
    return name
