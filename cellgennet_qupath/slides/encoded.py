"""Damage in compressed tiles of which decoders say nothing.

Decoders of JPEG, JPEG 2000 and WebP fill up what data lack, in grey or with a smear of colour. Copies that
were broken off leave such data: cut, or with zeros where blocks of the file were not written. Bits that
flipped cannot be noticed.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

Decode = Callable[[bytes], NDArray[Any]]
"""Decodes the data of one tile, of which only the content changes."""

_END = b"\xff\xd9"
"""The mark at the end of a JPEG, and of JPEG 2000."""
_SCAN = b"\xff\xda"
_PROGRESSIVE = b"\xff\xc2"
_PADDING = 8
"""Bytes after the end that writers may add."""
_HOLE = bytes(64)
"""Zeros that no coder writes in one go, but for JPEGs of one flat colour."""
_SECTOR = bytes(512)
"""Zeros at the end that not even a flat colour would need."""
_OTHER = bytes((number * 89 + 37) % 251 for number in range(64))
"""Bytes without a mark (0xff) and without order."""
_LAST = 3
"""Bytes at the end of a JPEG's data without which its picture is another one."""


class DamagedTileError(ValueError):
    """A tile whose data are damaged though they can be decoded."""


def check_jpeg(data: bytes, decode: Decode, tables: bytes = b"") -> None:
    """Raise DamagedTileError if a JPEG's data are cut or have a hole, by which its picture is not whole.

    The picture decides. Where only the mark of its end is missing, it does not depend on bytes that follow;
    where zeros stand for a flat colour, it depends on its last bytes, which damage leaves over.

    tables : the JPEG with the tables that the tiles of a file share.
    """
    start = _scan(data)
    end = data.find(_END, start)
    hole = data.find(_HOLE, start, end if end >= 0 else None) >= 0
    if start < 0 or (end >= 0 and not hole and len(data) <= end + len(_END) + _PADDING):
        return
    if hole and not _zeros_are_flat(tables + data[:start], data[start:]):
        raise DamagedTileError("the JPEG data have a hole")
    if end < 0 and data.endswith(_SECTOR):
        raise DamagedTileError("the JPEG data end before the picture does")
    picture = decode(data)
    if not np.ptp(picture):
        return
    coded = (data[:end] if end >= 0 else data).rstrip(b"\xff")
    if not np.array_equal(picture, decode(coded + _OTHER + _END)):
        raise DamagedTileError("the JPEG data end before the picture does")
    kept = coded[:-_LAST].rstrip(b"\xff")
    left = hole and not coded.endswith(bytes(_LAST))
    if left and np.array_equal(picture, decode(kept + _OTHER[:_LAST] + _END)):
        raise DamagedTileError("the JPEG data have a hole")


def _scan(data: bytes) -> int:
    """Where a JPEG's first scan begins, past segments that may hold a thumbnail; -1 for nowhere."""
    at = 2
    while data[at : at + 1] == b"\xff":
        if data[at : at + 2] == _SCAN:
            return at
        at += 2 + int.from_bytes(data[at + 2 : at + 4], "big")
    return -1


def _zeros_are_flat(header: bytes, scan: bytes) -> bool:
    """Whether many zeros in a row can be the data of a flat colour.

    That is where code 0 ends a block. With other tables, the standard ones among them, it is a coefficient,
    and no picture has all of them alike.
    """
    table = scan[6] & 15 | 0x10  # for the AC coefficients of the first component
    found = True  # progressive JPEGs, and what is not known
    for mark in re.finditer(rb"\xff\xc4(..)", header, re.DOTALL):
        at, stop = mark.end(), mark.start() + 2 + int.from_bytes(mark[1], "big")
        while at + 17 <= stop <= len(header):
            if header[at] == table:
                found = header[at + 17] == 0
            at += 17 + sum(header[at + 1 : at + 17])
    return found or _PROGRESSIVE in header


def check_jpeg2000(data: bytes) -> None:
    """Raise DamagedTileError if zeros are where a JPEG 2000 has its end."""
    if data.endswith(_HOLE[:16]) and _END not in data:
        raise DamagedTileError("the JPEG 2000 data end before the picture does")


def check_webp(data: bytes) -> None:
    """Raise DamagedTileError if the picture of a WebP has a hole."""
    if re.match(rb"RIFF....WEBPVP8[ L]", data, re.DOTALL):
        end = 8 + int.from_bytes(data[4:8], "little")
        if _HOLE in data[:end]:
            raise DamagedTileError("the WebP data have a hole")
