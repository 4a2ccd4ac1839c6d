"""Converted networks, kept from run to run in the user's folder for caches. Needs no torch.

A file is one network, followed by its SHA-256. Its name is a checksum of everything that decides the network:
weights, settings, the code that builds it, and the versions of what converts it. So nothing is ever out of
date, a damaged file is made again, and processes that write one file at once write the same network.
"""

from __future__ import annotations

import hashlib
import json
import logging
import os
import platform
import sys
from collections.abc import Callable
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path

from .. import __version__
from ..core.config import StudentConfig
from ..core.errors import BundleError
from ..core.files import replacing

CACHE = "CELLGENNET_CACHE"
"""Environment variable: the folder for converted networks instead of the system's; empty for none."""

_LOG = logging.getLogger(__name__)
_FORMAT = 2
_CHECKSUM = 32
_MOST_KEPT = 8
"""Files of networks that are kept; the one that was not used for longest goes first."""
_ELSEWHERE = ("core/config.py", "geometry/grid.py")
"""Code outside this folder on which a network's shape depends."""


@dataclass(frozen=True)
class SavedNetwork:
    """A network as OpenVINO saves it."""

    graph: bytes
    constants: bytes

    def packed(self) -> bytes:
        """All of it, and a checksum at the end."""
        content = json.dumps(len(self.graph)).encode() + b"\n" + self.graph + self.constants
        return content + hashlib.sha256(content).digest()

    @classmethod
    def unpacked(cls, packed: bytes) -> SavedNetwork:
        """Raises ValueError where the content does not fit its checksum."""
        content, checksum = packed[:-_CHECKSUM], packed[-_CHECKSUM:]
        if hashlib.sha256(content).digest() != checksum:
            raise ValueError("damaged")
        line, _, rest = content.partition(b"\n")
        length = json.loads(line)
        return cls(rest[:length], rest[length:])


Convert = Callable[[Path, StudentConfig, int], SavedNetwork]


def saved_network(weights: Path, config: StudentConfig, rim: int, convert: Convert) -> SavedNetwork:
    """The converted network of a bundle: from the cache, or by ``convert``, whose result is kept.

    rim : of its maps (see ``MapPredictor``).
    Where nothing can be read or written there, it is converted. Raises BundleError.
    """
    folder, key = cache_folder(), _key(weights, config, rim)
    if folder is None or key is None:
        return convert(weights, config, rim)
    file = folder / f"{key}.network"
    try:
        found = SavedNetwork.unpacked(file.read_bytes())
        os.utime(file)
        return found
    except (OSError, ValueError, LookupError, TypeError) as error:
        _LOG.debug("converting %s, as it is not in %s (%s)", weights, file, error)
    made = convert(weights, config, rim)
    try:
        with replacing(file) as part:
            part.write_bytes(made.packed())
        _tidy(folder)
    except OSError as error:
        _LOG.debug("%s was not written (%s)", file, error)
    return made


def cache_folder() -> Path | None:
    """The folder of converted networks; None where none is wanted or the system has none."""
    wanted = os.environ.get(CACHE)
    if wanted is not None:
        return Path(wanted) / "networks" if wanted else None
    try:
        home = Path.home()
    except RuntimeError:
        return None
    if sys.platform == "win32":
        place = Path(os.environ.get("LOCALAPPDATA") or home / "AppData" / "Local")
    elif sys.platform == "darwin":
        place = home / "Library" / "Caches"
    else:
        place = Path(os.environ.get("XDG_CACHE_HOME") or home / ".cache")
    return place / "cellgennet_qupath" / "networks"


def _key(weights: Path, config: StudentConfig, rim: int) -> str | None:
    """A checksum of everything that decides the converted network; None where a version is not known.

    Raises BundleError.
    """
    try:
        content = weights.read_bytes()
    except OSError as error:
        raise BundleError(
            weights, f"cannot be read ({error.strerror or error})", "Copy the bundle again"
        ) from error
    try:
        code = [[file.name, hashlib.sha256(file.read_bytes()).hexdigest()] for file in _code()]
        versions = [metadata.version(name) for name in ("openvino", "torch")]
    except (OSError, metadata.PackageNotFoundError):
        return None
    if not code:  # not a folder of files: who could say what the code was?
        return None
    parts = [
        _FORMAT,
        __version__,
        *versions,
        sys.platform,
        platform.machine(),
        config.model_dump_json(),
        rim,
        hashlib.sha256(content).hexdigest(),
        code,
    ]
    return hashlib.sha256(json.dumps(parts).encode()).hexdigest()


def _code() -> list[Path]:
    """The files of code that can decide a network: all beside this one, so that none is forgotten."""
    here = Path(__file__).parent
    beside = sorted(here.glob("*.py"))
    return [*beside, *(here.parent / name for name in _ELSEWHERE)] if beside else []


def _tidy(folder: Path) -> None:
    """Delete all but the files used last."""
    files = sorted(folder.glob("*.network"), key=lambda file: file.stat().st_mtime_ns, reverse=True)
    for file in files[_MOST_KEPT:]:
        file.unlink(missing_ok=True)
