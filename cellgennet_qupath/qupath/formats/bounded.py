"""Opens files that other people made: regular files only, and no more of a packed one than is plausible."""

from __future__ import annotations

import errno
import gzip
import io
import json
import stat
from pathlib import Path
from typing import Any, TextIO

MOST_TIMES = 100
"""How many times its size a packed file may hold; outlines as text reach 20 at most."""

FREE_BYTES = 64 << 20
"""Unpacked bytes that are read in any case."""

_BUFFER = 1 << 20


def require_regular(path: Path) -> None:
    """Raises OSError where a path is a pipe, a device or a folder: opening one could wait for ever."""
    if not stat.S_ISREG(path.stat().st_mode):
        raise OSError(errno.EINVAL, "it is not a regular file", str(path))


def read_bytes(path: Path) -> bytes:
    """The content of a regular file. Raises OSError."""
    require_regular(path)
    return path.read_bytes()


def read_json(path: Path) -> Any:
    """The content of a JSON file. Raises OSError, and ValueError for anything else than JSON."""
    return parse_json(read_bytes(path).decode("utf-8-sig"))


def parse_json(text: str) -> Any:
    """Decoded JSON. Raises ValueError, where it is nested too deeply as well."""
    try:
        return json.loads(text)
    except RecursionError as error:
        raise ValueError("nested too deeply") from error


def open_text(path: Path) -> TextIO:
    """A text file, unpacked if its name ends in ``.gz``. Raises OSError, also while it is read:

    where a packed file holds more than ``MOST_TIMES`` its size (small ones: ``FREE_BYTES``).
    """
    require_regular(path)
    if path.suffix == ".gz":
        unpacked = io.BufferedReader(_Unpacked(path), _BUFFER)
        return io.TextIOWrapper(unpacked, encoding="utf-8")
    return path.open(encoding="utf-8-sig")


class _Unpacked(io.RawIOBase):
    """The bytes inside a gzip file, up to the limit."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._file = gzip.GzipFile(path, "rb")
        self._left = max(FREE_BYTES, MOST_TIMES * path.stat().st_size)

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        count = self._file.readinto(memoryview(buffer)[:_BUFFER])
        self._left -= count
        if self._left < 0:
            raise OSError(errno.EFBIG, f"it unpacks to over {MOST_TIMES} times its size", str(self._path))
        return count

    def close(self) -> None:
        self._file.close()
        super().close()
