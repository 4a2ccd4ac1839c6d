"""Writes the pieces of Java serialization streams, from the grammar of the specification."""

from __future__ import annotations

import struct

NULL, END, RESET = b"\x70", b"\x78", b"\x79"
SERIALIZABLE, WITH_METHOD, EXTERNALIZABLE, ENUM = 2, 3, 12, 0x12


def utf(text: str) -> bytes:
    raw = text.encode()
    return struct.pack(">H", len(raw)) + raw


def string(text: str) -> bytes:
    return b"\x74" + utf(text)


def reference(handle: int) -> bytes:
    return b"\x71" + struct.pack(">i", 0x7E0000 + handle)


def block(raw: bytes) -> bytes:
    return b"\x77" + bytes([len(raw)]) + raw


def described(name: str, flags: int, fields: bytes = b"", count: int = 0, above: bytes = NULL) -> bytes:
    return b"\x72" + utf(name) + bytes(8) + bytes([flags]) + struct.pack(">H", count) + fields + END + above


def new(class_description: bytes, data: bytes = b"") -> bytes:
    return b"\x73" + class_description + data


def array(kind: str, size: int, data: bytes) -> bytes:
    return b"\x75" + described(kind, SERIALIZABLE) + struct.pack(">i", size) + data
