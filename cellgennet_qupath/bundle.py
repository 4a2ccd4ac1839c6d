"""The model bundle: a folder ``NAME.cgn`` with all that segmentation needs, and a record of its training.

``model.yaml`` is the card; it lists the checksum of every other file, and a bundle whose files do not match
is refused. No file in it can run code. The package ships one bundle, in ``pretrained/``.
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
PRETRAINED = Path(__file__).with_name("pretrained")
"""Folder of the bundles that come with the package."""


class Card(BaseModel):
    """The content of ``model.yaml``. ``mpp`` is in µm per pixel; times are ISO 8601, UTC."""

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
    """A bundle on disk whose checksums have been verified."""

    path: Path
    card: Card
    config: Config

    @property
    def student(self) -> Path:
        """The student's weights. Raises BundleError where the bundle has only a teacher."""
        return self._part(STUDENT, "student")

    @property
    def teacher(self) -> Path:
        """The teacher's StarDist folder. Raises BundleError where the bundle has only a student."""
        return self._part(TEACHER, "teacher")

    @property
    def holds_teacher(self) -> bool:
        """Whether the bundle includes the teacher, which segmentation does not need."""
        return (self.path / TEACHER).is_dir()

    def _part(self, name: str, what: str) -> Path:
        if not (self.path / name).exists():
            raise BundleError(self.path, f"contains no {what}", f"Train it with `--stage {what}`")
        return self.path / name

    @property
    def fingerprint(self) -> str:
        """SHA-256 of the card, which lists the checksums of all other files, in hexadecimal."""
        return sha256(self.path / CARD)


def load_bundle(path: Path) -> Bundle:
    """Open a bundle and verify its checksums.

    Raises BundleError, naming the file at fault, where ``path`` is not a bundle, is damaged, or was written
    by a newer version.
    """
    card_file = path / CARD
    if not path.exists():
        raise BundleError(path, "there is no such model bundle", "Train one with `cellgennet train`")
    if not card_file.is_file():
        raise BundleError(path, f"is not a model bundle (no {CARD})", "Name the folder NAME.cgn itself")
    try:
        raw = yaml.safe_load(card_file.read_text(encoding="utf-8"))
        card = Card.model_validate(raw)
        config = Config.model_validate(card.config)
    except (yaml.YAMLError, UnicodeDecodeError, ValidationError) as error:
        raise BundleError(card_file, "is damaged", "Copy the bundle again or retrain") from error
    if card.format > FORMAT:
        raise BundleError(path, "was written by a newer version", "Update cellgennet-qupath")
    for name, expected in card.checksums.items():
        file = path / name
        if not file.resolve().is_relative_to(path.resolve()):
            raise BundleError(card_file, f"names a file outside the bundle ({name})", "Do not use it")
        if not file.is_file():
            raise BundleError(file, "is missing from the bundle", "Copy the bundle again or retrain")
        if sha256(file) != expected:
            raise BundleError(
                file, "has a wrong checksum: the file was changed or is damaged", "Copy the bundle again"
            )
    return Bundle(path, card, config)


def write_bundle(path: Path, card: Card, files: Mapping[str, Path], reports: Path | None = None) -> Bundle:
    """Write a bundle as a whole: it is assembled beside ``path`` and then moved there.

    An older bundle at ``path`` is replaced.

    files   : name inside the bundle -> file or folder to copy.
    reports : folder whose contents become ``report/``.

    Raises BundleError where ``path`` exists and is not a bundle.
    """
    if path.exists() and not (path / CARD).is_file():
        raise BundleError(path, f"exists and is not a model bundle (no {CARD})", "Choose another name for -o")
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


def sha256(path: Path) -> str:
    """SHA-256 of a file, in hexadecimal."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


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
