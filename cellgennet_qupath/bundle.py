"""The model bundle: a folder ``NAME.cgn`` that holds all that segmentation needs, and how it came about.

``model.yaml`` is the card; it lists the checksum of every other file, and nothing is read from a bundle
whose files do not match. No file in it can run code.
"""

from __future__ import annotations

import hashlib
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib import metadata
from pathlib import Path
from typing import Any

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from .core.config import Config
from .core.errors import BundleError

CARD = "model.yaml"
STUDENT = "student.safetensors"
TEACHER = "teacher"
REPORT = "report"
FORMAT = 1


class Card(BaseModel):
    """What ``model.yaml`` says. Sizes in µm per pixel; times in minutes."""

    model_config = ConfigDict(extra="forbid")

    format: int = FORMAT
    name: str
    created: str
    licence: str = "unspecified"
    attribution: str = ""
    mpp: float | None = Field(default=None, gt=0)
    classes: list[str] = ["Nucleus"]
    decoding: dict[str, float] = {}
    teacher_thresholds: dict[str, float] = {}
    config: dict[str, Any] = {}
    training: dict[str, Any] = {}
    metrics: dict[str, Any] = {}
    versions: dict[str, str] = {}
    checksums: dict[str, str] = {}


@dataclass(frozen=True)
class Bundle:
    """A bundle on disk whose checksums were found right."""

    path: Path
    card: Card
    config: Config

    @property
    def student(self) -> Path:
        """The student's weights. Raises BundleError where the bundle holds only a teacher."""
        return self._part(STUDENT, "student")

    @property
    def teacher(self) -> Path:
        """The teacher's StarDist folder. Raises BundleError where it was left out."""
        return self._part(TEACHER, "teacher")

    @property
    def holds_teacher(self) -> bool:
        """Whether the teacher came along."""
        return (self.path / TEACHER).is_dir()

    def _part(self, name: str, what: str) -> Path:
        if not (self.path / name).exists():
            raise BundleError(self.path, f"holds no {what}", f"Train it with `--stage {what}`")
        return self.path / name

    @property
    def fingerprint(self) -> str:
        """SHA-256 of the card, and so of everything in the bundle."""
        return sha256(self.path / CARD)


def load_bundle(path: Path) -> Bundle:
    """Open a bundle and verify it. Raises BundleError naming the file at fault."""
    card_file = path / CARD
    if not path.exists():
        raise BundleError(path, "there is no such model bundle", "Train one with `cellgennet train`")
    if not card_file.is_file():
        raise BundleError(path, f"is no model bundle (it has no {CARD})", "Give the folder NAME.cgn")
    try:
        raw = yaml.safe_load(card_file.read_text(encoding="utf-8"))
        card = Card.model_validate(raw)
        config = Config.model_validate(card.config)
    except (yaml.YAMLError, UnicodeDecodeError, ValidationError) as error:
        raise BundleError(card_file, "is damaged", "Copy the bundle again or train anew") from error
    if card.format > FORMAT:
        raise BundleError(path, "was written by a newer version", "Update cellgennet-qupath")
    for name, expected in card.checksums.items():
        file = path / name
        if not file.resolve().is_relative_to(path.resolve()):
            raise BundleError(card_file, f"names a file outside the bundle ({name})", "Do not use it")
        if not file.is_file():
            raise BundleError(file, "is missing from the bundle", "Copy the bundle again or train anew")
        if sha256(file) != expected:
            raise BundleError(
                file, "has a wrong checksum: the file was changed or damaged", "Copy the bundle again"
            )
    return Bundle(path, card, config)


def write_bundle(path: Path, card: Card, files: Mapping[str, Path], reports: Path | None = None) -> Bundle:
    """Put a bundle together beside its place and move it there whole; an older one is replaced.

    files   : name inside the bundle -> file or folder to copy.
    reports : folder whose content becomes ``report/``.
    """
    if path.exists() and not (path / CARD).is_file():
        raise BundleError(path, "exists and is no model bundle", "Choose another name for -o")
    part = path.with_name(path.name + ".part")
    if part.exists():
        shutil.rmtree(part)
    part.mkdir(parents=True)
    sources = dict(files)
    if reports is not None and reports.is_dir():
        sources[REPORT] = reports
    for name, source in sources.items():
        if source.is_dir():
            shutil.copytree(source, part / name)
        else:
            shutil.copyfile(source, part / name)
    contents = sorted(f for f in part.rglob("*") if f.is_file())
    checksums = {f.relative_to(part).as_posix(): sha256(f) for f in contents}
    whole = card.model_copy(update={"checksums": checksums})
    text = yaml.safe_dump(whole.model_dump(mode="json"), sort_keys=False, allow_unicode=True)
    (part / CARD).write_text(text, encoding="utf-8")
    if path.exists():
        old = path.with_name(path.name + ".old")
        if old.exists():
            shutil.rmtree(old)
        path.replace(old)
        part.replace(path)
        shutil.rmtree(old)
    else:
        part.replace(path)
    return load_bundle(path)


def sha256(path: Path) -> str:
    """Checksum of a file, in hexadecimal."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def now() -> str:
    """The time, as cards and run records write it."""
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def versions() -> dict[str, str]:
    """Versions of this package and of what decides its results."""
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
    found = {}
    for name in names:
        try:
            found[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    return found
