"""Arrays from ``.npz`` files that may be cut off or damaged: checked as a whole before any is believed."""

from __future__ import annotations

import io
import math
import zipfile
import zlib
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

MOST_BYTES = 8 * 1024**3


class DamagedArraysError(ValueError):
    """A file that is not a whole ``.npz`` file of plain arrays; the message says why."""


def read_npz(path: Path, most: int = MOST_BYTES) -> dict[str, NDArray[np.generic]]:
    """All arrays of an ``.npz`` file, each verified by its checksum (CRC-32).

    most : bytes that the arrays may take in memory. Raises DamagedArraysError.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            members = archive.infolist()
            if sum(member.file_size for member in members) > most:
                raise DamagedArraysError("is larger than it can be")
            return {member.filename.removesuffix(".npy"): _array(archive.read(member)) for member in members}
    except DamagedArraysError:
        raise
    except (
        zipfile.BadZipFile,
        zlib.error,
        OSError,
        EOFError,
        ValueError,
        LookupError,
        NotImplementedError,  # an unknown compression
        RuntimeError,  # a flag says that it is encrypted
        OverflowError,
        MemoryError,
    ) as error:
        raise DamagedArraysError(f"is cut off or damaged ({error})") from error


def _array(content: bytes) -> NDArray[np.generic]:
    """The array of a ``.npy`` file, whose header must agree with the length of its content."""
    stream = io.BytesIO(content)
    version = np.lib.format.read_magic(stream)
    if version == (1, 0):
        shape, column_major, dtype = np.lib.format.read_array_header_1_0(stream)
    else:
        shape, column_major, dtype = np.lib.format.read_array_header_2_0(stream)
    if dtype.hasobject or math.prod(shape) * dtype.itemsize != len(content) - stream.tell():
        raise DamagedArraysError("contains something else than plain arrays")
    array = np.frombuffer(content, dtype, offset=stream.tell())
    return array.reshape(shape[::-1]).transpose() if column_major else array.reshape(shape)
