"""Opening a bundle: the card first, then the checksum of every file."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from ..core.config import Config
from ..core.config_file import config_of_bundle
from ..core.errors import BundleError, ConfigError
from ..core.plain_files import NotPlainError, regular_files
from ..core.progress import SILENT, Reporter
from .card import CARD, COPY_AGAIN, STUDENT, TEACHER, Card, card_checksum, card_of, read_card

_LARGEST_FILE = 4 * 1024**3
_LEFT_BY_SYSTEMS = frozenset({".DS_Store", "Thumbs.db", "desktop.ini"})
"""Files that macOS and Windows put into any folder that is looked at."""


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


def load_bundle(path: Path, reporter: Reporter = SILENT) -> Bundle:
    """Open a bundle and verify that it is whole: the card, and by its checksums every other file.

    What the card of another version contains beyond this one's, and segmentation does not need, is ignored
    with one warning. Raises BundleError, naming the file at fault, where ``path`` is not a bundle, is
    damaged, holds links or files that its card does not list, or needs another version.
    """
    card_file = path / CARD
    if not path.exists():
        raise BundleError(path, "there is no such model bundle", "Train one with `cellgennet train`")
    if not card_file.is_file():
        raise BundleError(path, f"is not a model bundle (no {CARD})", "Name the folder NAME.cgn itself")
    raw = read_card(card_file)
    card, ignored = card_of(raw, card_file)
    try:
        config, unknown_settings = config_of_bundle(card.config)
    except ConfigError as error:
        raise BundleError(
            card_file, f"{error.reason} that this version does not know", "Update cellgennet-qupath"
        ) from error
    _check_names(path, card)
    if card.card_checksum is not None and card.card_checksum != card_checksum(raw):
        raise BundleError(
            card_file, "has a wrong checksum: it was changed after it was written, or is damaged", COPY_AGAIN
        )
    unlisted = _verify_files(path, card)
    if ignored or unknown_settings:
        names = ", ".join(f"`{name}`" for name in [*ignored, *unknown_settings][:5])
        reporter.warn(
            f"{card_file}: written by another version, or edited; what this version does not know or cannot "
            f"read is ignored ({names})."
        )
    if unlisted:
        names = ", ".join(unlisted[:5])
        reporter.warn(f"{path}: contains files that are not part of the bundle and are not used ({names}).")
    return Bundle(path, card, config)


def _check_names(path: Path, card: Card) -> None:
    for name in card.checksums:
        parts = PurePosixPath(name).parts
        if not parts or ".." in parts or PurePosixPath(name).is_absolute() or "\0" in name or "\\" in name:
            raise BundleError(path / CARD, f"names a file outside the bundle ({name})", "Do not use it")


def _verify_files(path: Path, card: Card) -> list[str]:
    """Compare the files of a bundle with its card; returns those that are neither listed nor read."""
    try:
        files = {file.relative_to(path).as_posix(): file for file in regular_files(path)}
    except NotPlainError as error:
        raise BundleError(error.subject, error.reason, "Do not use this bundle") from error
    except OSError as error:
        raise BundleError(path, f"cannot be read ({error.strerror})", "Check its permissions") from error
    del files[CARD]
    for name, expected in card.checksums.items():
        file = path / name
        if name not in files:
            raise BundleError(file, "is missing from the bundle", COPY_AGAIN)
        if file.stat().st_size > _LARGEST_FILE:
            raise BundleError(file, "is larger than any network of this package", "Do not use this bundle")
        if sha256(file) != expected:
            raise BundleError(
                file, "has a wrong checksum: the file was changed or is damaged", "Copy the bundle again"
            )
    unlisted = [name for name in files if name not in card.checksums and not left_by_system(name)]
    for name in unlisted:
        if name == STUDENT or name.startswith(f"{TEACHER}/"):
            raise BundleError(
                files[name], "is not listed in the card: it was added, or the card is cut off", COPY_AGAIN
            )
    return unlisted


def left_by_system(name: str) -> bool:
    file = name.rpartition("/")[2]
    return file in _LEFT_BY_SYSTEMS or file.startswith("._")


def sha256(path: Path) -> str:
    """SHA-256 of a file, in hexadecimal."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
