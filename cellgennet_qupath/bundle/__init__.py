"""The model bundle: a folder ``NAME.cgn`` with all that segmentation needs, and a record of its training.

``model.yaml`` is the card; it lists the checksum of every other file, and a bundle whose files do not match
is refused, as is one with links. No file in it can run code. The package ships one bundle, in
``pretrained/``.
"""

from __future__ import annotations

from pathlib import Path

from ..core.errors import BundleError
from ..core.wording import INTENDED_USE
from .card import CARD, FORMAT, REPORT, STUDENT, TEACHER, Card, card_checksum, now, versions
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
_SHIPPED = {"pretrained": "nuclei-he.cgn", "pretrained-fast": "nuclei-he-fast.cgn"}
"""The bundles by the names that users give them."""


def pretrained_bundle(name: str = "pretrained") -> Path:
    """The shipped bundle of a name in ``shipped_bundles``. Raises BundleError where this version has none."""
    bundle = PRETRAINED / _SHIPPED[name]
    if not bundle.is_dir():
        raise BundleError(
            f"{name} model",
            "does not ship with this version",
            "Train a model (`cellgennet train`) and name it with -m",
        )
    return bundle


def shipped_bundles() -> dict[str, Path]:
    """The bundles that ship with the package, by the names that users give them."""
    return {name: PRETRAINED / file for name, file in _SHIPPED.items() if (PRETRAINED / file).is_dir()}


def bundles_in(folder: Path) -> list[Path]:
    """The bundles in a folder and in the folders directly inside it, by name; or the folder, if it is one."""
    if (folder / CARD).is_file():
        return [folder]
    # One that is being written has a hidden name.
    levels = (f"[!.]*/{CARD}", f"[!.]*/[!.]*/{CARD}")
    return [card.parent for level in levels for card in sorted(folder.glob(level))]


def named_bundle(name: Path | None) -> Path:
    """The path of the bundle that a user names: a folder, or a shipped one; the pretrained one for None."""
    if name is None:
        return pretrained_bundle()
    return pretrained_bundle(str(name)) if str(name) in _SHIPPED else name
