"""The contents of a Java object serialization stream, as plain containers."""

from __future__ import annotations

import struct
from collections.abc import Collection
from dataclasses import dataclass, field
from typing import Any


class JavaStreamError(Exception):
    """A stream that is truncated, damaged or not a Java serialization stream; says what and at which byte."""


@dataclass(eq=False, slots=True)
class JavaClass:
    """A class as described in the stream.

    names      : of its own fields, primitive ones first.
    primitives : layout of the primitive ones in the stream; ``references`` objects follow them.
    """

    name: str
    flags: int = 0
    names: tuple[str, ...] = ()
    primitives: struct.Struct = field(default_factory=lambda: struct.Struct(">"))
    references: int = 0
    line: tuple[JavaClass, ...] = ()
    """From the topmost superclass down to the class itself; empty while it is being read."""
    objects: int = 0
    """Number of objects of exactly this class read so far."""
    skim: bool = False
    keep: bool = False

    def is_a(self, names: Collection[str]) -> bool:
        """Whether the class is one of ``names`` or inherits from one."""
        return any(ancestor.name in names for ancestor in self.line)


@dataclass(eq=False, slots=True)
class JavaObject:
    """An object: its fields by name (a subclass's hide a superclass's of the same name) and ``contents``.

    contents : what the class wrote itself (``writeObject`` or ``writeExternal``), in order: objects, and
               runs of primitive data as bytes.
    """

    java_class: JavaClass
    fields: dict[str, Any]
    contents: list[Any]

    @property
    def class_name(self) -> str:
        return self.java_class.name


@dataclass(frozen=True, slots=True)
class JavaEnum:
    """A constant of an enum type."""

    class_name: str
    constant: str


def modified_utf8(raw: memoryview) -> str:
    """Text in Java's own UTF-8, which writes NUL in two bytes and astral characters as two surrogates."""
    try:
        return str(raw, "utf-8")
    except UnicodeDecodeError:
        pass
    try:
        text = bytes(raw).replace(b"\xc0\x80", b"\0").decode("utf-8", "surrogatepass")
    except UnicodeDecodeError as error:
        raise JavaStreamError("damaged text") from error
    return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
