"""The card of a bundle, ``model.yaml``: its fields, its own checksum, and cards of other versions."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping
from datetime import UTC, date, datetime
from importlib import metadata
from pathlib import Path
from typing import Annotated, Any

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError

from ..core.config_file import NEEDED_BY_SEGMENTATION
from ..core.errors import BundleError
from ..core.plain_files import NotPlainError
from ..core.plain_yaml import YamlError, read_yaml
from ..core.wording import INTENDED_USE

CARD = "model.yaml"
STUDENT = "student.safetensors"
TEACHER = "teacher"
REPORT = "report"
FORMAT = 1
COPY_AGAIN = "Copy the bundle again or train again"
_OBJECTIVE = 10.0
"""µm per pixel of a scan without magnification: scanners give 0.25 µm at 40x."""
_OBJECTIVES = (5, 10, 20, 40, 60, 80)
_NEAR = 0.15
"""By how much of itself a magnification may differ from that of an objective and still be called it."""


def _as_written(value: object) -> object:
    """A number or a date, which YAML makes of unquoted text, as text again."""
    return str(value) if isinstance(value, int | float | date) and not isinstance(value, bool) else value


def _as_list(value: object) -> object:
    """One text where a list is meant, as a person writes it."""
    return [value] if isinstance(value, str) else value


def _as_named(value: object) -> object:
    """The stain's name as the rest of the package knows it, however a person spells it."""
    if not isinstance(value, str):
        return value
    letters = re.sub(r"[\W_]+|and", "", value.casefold())
    return "H&E" if letters in ("he", "haematoxylineosin", "hematoxylineosin") else value.strip()


Text = Annotated[str, BeforeValidator(_as_written), Field(max_length=500)]
Number = Annotated[float, Field(ge=-1000, le=1000)]


class Card(BaseModel):
    """The content of ``model.yaml``. ``mpp`` is in µm per pixel; times are ISO 8601, UTC.

    stain         : of the slides it was trained on: "H&E"; "" if they looked otherwise.
    species       : of the tissue it was trained on; empty if nobody recorded them.
    intended_use  : what it may be used for.
    checksums     : SHA-256 of every other file of the bundle.
    card_checksum : SHA-256 of what segmentation reads of the card, see ``card_checksum``; bundles of
                    version 0.1 have none.
    """

    model_config = ConfigDict(extra="ignore")

    format: int = FORMAT
    name: Text
    created: Text
    licence: str = "unspecified"
    attribution: str = ""
    mpp: float | None = Field(default=None, ge=0.001, le=1000)
    stain: Annotated[str, BeforeValidator(_as_named)] = "H&E"
    species: Annotated[list[Text], BeforeValidator(_as_list), Field(max_length=100)] = []
    intended_use: str = INTENDED_USE
    classes: Annotated[list[Text], Field(max_length=100)] = ["Nucleus"]
    decoding: dict[str, Number] = {}
    teacher_thresholds: dict[str, Number] = {}
    config: dict[str, Any] = {}
    training: dict[str, Any] = {}
    metrics: dict[str, Any] = {}
    versions: dict[str, str] = {}
    card_checksum: str | None = None
    checksums: dict[str, str] = {}

    @property
    def magnification(self) -> str:
        """The objective of scans at the scale it was trained at: "40x" for 0.25 µm per pixel.

        "" for a scale between objectives, and if uncalibrated.
        """
        if self.mpp is None:
            return ""
        number = _OBJECTIVE / self.mpp
        nearest = min(_OBJECTIVES, key=lambda one: abs(one - number))
        return f"{nearest}x" if abs(number / nearest - 1) < _NEAR else ""

    @property
    def learnt_from(self) -> str:
        """Stain, magnification and species of the slides it was trained on, as one phrase."""
        scale = "" if self.mpp is None else f"{self.mpp:g} µm per pixel"
        if self.magnification:
            scale = f"{self.magnification} ({scale})"
        species = " and ".join(filter(None, [", ".join(self.species[:-1]), *self.species[-1:]]))
        parts = [self.stain or "a stain unlike H&E", scale or "unknown magnification"]
        return ", ".join([*parts, species or "species not recorded"])


_ONLY_FOR_READERS = frozenset(
    {"licence", "attribution", "stain", "species", "intended_use", "training", "metrics", "versions"}
)
"""Fields of the card that nothing depends on."""


def read_card(file: Path) -> dict[str, Any]:
    """The plain values of a card whose format this version reads: the format is checked before all else."""
    try:
        raw = read_yaml(file)
    except (OSError, NotPlainError) as error:
        reason = error.reason if isinstance(error, NotPlainError) else f"cannot be read ({error.strerror})"
        raise BundleError(file, reason, COPY_AGAIN) from error
    except YamlError as error:
        raise BundleError(file, f"is damaged: it {error}", COPY_AGAIN) from error
    if not isinstance(raw, dict) or not all(isinstance(name, str) for name in raw):
        raise BundleError(file, "is damaged: it is not a card", COPY_AGAIN)
    version = raw.get("format", FORMAT)
    if version != FORMAT:
        newer = isinstance(version, int) and version > FORMAT
        raise BundleError(
            file.parent,
            "was written by a newer version" if newer else f"has an unknown format ({version!s:.20})",
            f"Update cellgennet-qupath: this version reads format {FORMAT}",
        )
    return raw


def card_of(raw: dict[str, Any], file: Path) -> tuple[Card, list[str]]:
    """The card of plain values, and the names of fields that were ignored."""
    ignored = [name for name in raw if name not in Card.model_fields]
    known = {name: value for name, value in raw.items() if name not in ignored}
    while True:
        try:
            return Card.model_validate(known), ignored
        except ValidationError as error:
            first = error.errors()[0]
            name = str(first["loc"][0])
            if name not in _ONLY_FOR_READERS:
                problem = "is missing" if first["type"] == "missing" else "has an impossible value"
                raise BundleError(file, f"is not whole: `{name}` {problem}", COPY_AGAIN) from error
            del known[name]
            ignored.append(name)


_LATER = {"stride"}
"""Settings that cards did not have when checksums of cards were introduced."""


def card_checksum(card: Mapping[str, Any]) -> str:
    """SHA-256 of what segmentation reads of a card, given as plain values.

    Fields that only people read, and settings that only training reads, can be edited or added.
    """
    config = card.get("config") or {}
    read = {name: card.get(name) for name in ("format", "mpp", "classes", "decoding", "teacher_thresholds")}
    read["checksums"] = card.get("checksums")
    for section, names in NEEDED_BY_SEGMENTATION.items():
        settings = config.get(section) if isinstance(config, dict) else None
        if isinstance(settings, dict):
            there = [name for name in names if name in settings or name not in _LATER]
            read |= {f"{section}.{name}": settings.get(name) for name in there}
    text = json.dumps(read, sort_keys=True, default=str)
    return hashlib.sha256(text.encode()).hexdigest()


def now() -> str:
    """The current time, UTC, as cards and run records write it."""
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def versions() -> dict[str, str]:
    """Versions of this package and of the installed libraries that affect its results."""
    names = (
        "cellgennet-qupath",
        "numpy",
        "torch",
        "tensorflow",
        "stardist",
        "opencv-python-headless",
        "scikit-image",
        "shapely",
        "tiffslide",
        "openvino",
    )
    installed = {}
    for name in names:
        try:
            installed[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    return installed
