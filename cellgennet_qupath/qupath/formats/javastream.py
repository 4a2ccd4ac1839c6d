"""Reads Java object serialization streams, in which QuPath saves the objects of an image.

The grammar is that of the "Java Object Serialization Specification", chapter 6, protocol version 2.
Nothing but plain containers is made of them: no class is looked up, no code is run.
"""

from __future__ import annotations

import struct
from array import array
from collections.abc import Collection, Iterator
from typing import Any

import numpy as np

from .javavalues import JavaClass, JavaEnum, JavaObject, JavaStreamError, modified_utf8

STREAM_MAGIC = b"\xac\xed\x00\x05"

MAX_DEPTH = 150
"""Objects inside objects; far more than any real file, far less than Python's own limit."""

_NULL, _REFERENCE, _CLASSDESC, _OBJECT, _STRING, _ARRAY, _CLASS, _BLOCKDATA = range(0x70, 0x78)
_ENDBLOCKDATA, _RESET, _BLOCKDATALONG, _EXCEPTION, _LONGSTRING, _PROXYCLASSDESC, _ENUM = range(0x78, 0x7F)
_BASE_HANDLE = 0x7E0000

_SC_WRITE_METHOD, _SC_SERIALIZABLE, _SC_EXTERNALIZABLE, _SC_BLOCK_DATA = 0x01, 0x02, 0x04, 0x08

_FIELD_CODES = {"B": "b", "C": "H", "D": "d", "F": "f", "I": "i", "J": "q", "S": "h", "Z": "?"}
_ARRAY_DTYPES = {
    "B": ">i1",
    "C": ">u2",
    "D": ">f8",
    "F": ">f4",
    "I": ">i4",
    "J": ">i8",
    "S": ">i2",
    "Z": "?",
}

_int = struct.Struct(">i").unpack_from
_long = struct.Struct(">q").unpack_from
_ushort = struct.Struct(">H").unpack_from


class ObjectStream:
    """The top-level items of a stream, in order: bytes (primitive data), strings and objects.

    Strings become str, null None, arrays of primitives read-only NumPy views, other arrays lists.

    skim : classes whose objects (subclasses' too) are skipped, with all they contain, and appear as
           None: a slide has a million detections. They are counted all the same.
    keep : classes whose objects are collected in ``kept`` in order of appearance, wherever they are,
           inside skimmed ones too.
    mark : beginning of the names of classes whose plain data are marks of the skimmed object that they are
           in: ``marks`` has one number per skimmed object, equal for objects with equal such data.

    Iterate once, to the end; then ``count`` knows all. Raises JavaStreamError.
    """

    def __init__(
        self,
        data: bytes | memoryview,
        skim: Collection[str] = (),
        keep: Collection[str] = (),
        mark: str = "",
    ) -> None:
        self.kept: list[JavaObject] = []
        self.marks = array("q")
        self._mark = mark
        self._marking: list[bytes] = []
        self._marked = False
        self._classes: list[JavaClass] = []
        self._data = memoryview(data).toreadonly()
        self._skim, self._keep = frozenset(skim), frozenset(keep)
        self._at = len(STREAM_MAGIC)
        # A handle maps to its value, or to the position (int) of a skipped item, which is read again if
        # anything refers to it. Integers never occur as values.
        self._handles: list[Any] = []
        self._next = 0
        self._depth = 0
        if bytes(self._data[: self._at]) != STREAM_MAGIC:
            raise JavaStreamError("no Java serialization stream")

    def __iter__(self) -> Iterator[Any]:
        while self._at < len(self._data):
            try:
                item = self._item(keep=True)
            except (IndexError, struct.error) as error:
                raise JavaStreamError(f"cut off or damaged near byte {self._at}") from error
            except RecursionError as error:
                raise JavaStreamError("objects nested too deeply") from error
            yield item

    def count(self, class_name: str) -> int:
        """How many objects of a class, subclasses included, were read so far."""
        return sum(known.objects for known in self._classes if known.is_a((class_name,)))

    def _take(self, size: int) -> memoryview:
        start, end = self._at, self._at + size
        if size < 0 or end > len(self._data):
            raise JavaStreamError(f"cut off or damaged near byte {start}")
        self._at = end
        return self._data[start:end]

    def _remember(self, value: Any) -> int:
        handle = self._next
        if handle == len(self._handles):
            self._handles.append(value)
        else:
            self._handles[handle] = value
        self._next = handle + 1
        return handle

    def _place(self, start: int) -> int:
        """The position of an item for reading it again: its first byte and first handle, in one number."""
        return start << 32 | self._next

    def _item(self, keep: bool) -> Any:
        """The next item of an object's content; None if it is skipped."""
        start = self._at
        code = self._data[start]
        self._at = start + 1
        if code == _NULL:
            return None
        if code == _REFERENCE:
            return self._reference() if keep else self._take(4) and None
        if code == _BLOCKDATA:
            self._at += 1
            return bytes(self._take(self._data[start + 1]))
        if code in (_STRING, _LONGSTRING):
            return self._string(code, keep)
        if code in (_OBJECT, _ARRAY):
            if self._depth >= MAX_DEPTH:
                raise JavaStreamError(f"objects nested too deeply at byte {start}")
            self._depth += 1
            value = self._object(keep) if code == _OBJECT else self._array(keep)
            self._depth -= 1
            return value
        if code == _ENUM:
            place = self._place(start)
            described = self._described_class()
            handle = self._remember(place)
            constant = self._item(keep=True)
            if not isinstance(constant, str):
                raise JavaStreamError(f"an enum without a name at byte {start}")
            self._handles[handle] = value = JavaEnum(described.name, constant)
            return value
        if code == _BLOCKDATALONG:
            (size,) = _int(self._data, start + 1)
            self._at += 4
            return bytes(self._take(size))
        if code == _CLASS:
            described = self._described_class()
            self._remember(described)
            return described
        if code in (_CLASSDESC, _PROXYCLASSDESC):
            self._at = start
            return self._class_description()
        if code == _RESET and self._depth == 0:
            self._handles, self._next = [], 0
            return None
        raise JavaStreamError(f"unexpected code 0x{code:02x} at byte {start}")

    def _reference(self) -> Any:
        handle = _int(self._data, self._at)[0] - _BASE_HANDLE
        self._at += 4
        if not 0 <= handle < self._next:
            raise JavaStreamError(f"a reference to nothing at byte {self._at - 5}")
        value = self._handles[handle]
        if type(value) is not int:
            return value
        here, following, depth = self._at, self._next, self._depth
        self._at, self._next = value >> 32, value & 0xFFFFFFFF
        value = self._item(keep=True)
        self._at, self._next, self._depth = here, following, depth
        return value

    def _string(self, code: int, keep: bool) -> str | None:
        start = self._at
        if code == _STRING:
            (size,) = _ushort(self._data, start)
            self._at += 2
        else:
            (size,) = _long(self._data, start)
            self._at += 8
        raw = self._take(size)
        if not keep:
            self._remember(self._place(start - 1))
            return None
        text = modified_utf8(raw)
        self._remember(text)
        return text

    def _utf(self) -> str:
        (size,) = _ushort(self._data, self._at)
        self._at += 2
        return modified_utf8(self._take(size))

    def _described_class(self) -> JavaClass:
        described = self._class_description()
        if described is None:
            raise JavaStreamError(f"an object without a class near byte {self._at}")
        return described

    def _class_description(self) -> JavaClass | None:
        start = self._at
        code = self._data[start]
        self._at += 1
        if code == _NULL:
            return None
        if code == _REFERENCE:
            known = self._reference()
            if not isinstance(known, JavaClass) or not known.line:
                raise JavaStreamError(f"a reference to no class at byte {start}")
            return known
        if code not in (_CLASSDESC, _PROXYCLASSDESC):
            raise JavaStreamError(f"a class description expected at byte {start}")
        if self._depth >= MAX_DEPTH:
            raise JavaStreamError(f"classes nested too deeply at byte {start}")
        self._depth += 1
        if code == _PROXYCLASSDESC:
            described = JavaClass("(proxy)")
            self._remember(described)
            (interfaces,) = _int(self._data, self._at)
            self._at += 4
            for _ in range(interfaces):
                self._utf()
        else:
            described = JavaClass(self._utf())
            self._at += 8
            self._remember(described)
            described.flags = self._data[self._at]
            self._at += 1
            self._fields(described)
        self._contents(keep=False)
        above = self._class_description()
        described.line = (*(above.line if above else ()), described)
        if len(described.line) > MAX_DEPTH:
            raise JavaStreamError(f"classes nested too deeply at byte {start}")
        described.skim, described.keep = described.is_a(self._skim), described.is_a(self._keep)
        self._classes.append(described)
        self._depth -= 1
        return described

    def _fields(self, described: JavaClass) -> None:
        (count,) = _ushort(self._data, self._at)
        self._at += 2
        names, codes, references = [], ">", 0
        for _ in range(count):
            code = chr(self._data[self._at])
            self._at += 1
            names.append(self._utf())
            if code in "L[":
                references += 1
                if not isinstance(self._item(keep=True), str):
                    raise JavaStreamError(f"a field without a type near byte {self._at}")
            elif code in _FIELD_CODES and references == 0:
                codes += _FIELD_CODES[code]
            else:
                raise JavaStreamError(f"an impossible field near byte {self._at}")
        described.names, described.references = tuple(names), references
        described.primitives = struct.Struct(codes)

    def _object(self, keep: bool) -> JavaObject | None:
        place = self._place(self._at - 1)
        described = self._described_class()
        first = self._next == len(self._handles)
        if first:
            described.objects += 1
        if described.keep:
            keep = True
        elif described.skim:
            keep = False
        if not keep:
            # Objects of a skimmed class are never read again: a million references would take too long.
            self._remember(None if described.skim else place)
            if described.skim and self._mark:
                around, self._marking = self._marking, []
                self._skim_data(described)
                if self._marking:
                    self.marks.append(hash(b"".join(self._marking)))
                self._marking = around
            else:
                self._skim_data(described)
            return None
        value = JavaObject(described, {}, [])
        self._remember(value)
        if first and described.keep:
            self.kept.append(value)
        flags = described.flags
        if flags & _SC_EXTERNALIZABLE:
            # An Externalizable's contents are written once, whatever its superclasses.
            value.contents = self._external(described)
            return value
        for part in described.line:
            names, primitives = part.names, part.primitives
            value.fields.update(zip(names, primitives.unpack(self._take(primitives.size)), strict=False))
            for reference in names[len(names) - part.references :]:
                value.fields[reference] = self._item(keep=True)
            if part.flags & _SC_WRITE_METHOD and part.flags & _SC_SERIALIZABLE:
                value.contents += self._contents(keep=True)
        return value

    def _skim_data(self, described: JavaClass) -> None:
        outside = self._marked
        self._marked = bool(self._mark) and described.name.startswith(self._mark)
        self._skim_content(described)
        self._marked = outside

    def _skim_content(self, described: JavaClass) -> None:
        if described.flags & _SC_EXTERNALIZABLE:
            self._external(described, keep=False)
            return
        for part in described.line:
            plain = self._take(part.primitives.size)
            if self._marked:
                self._marking.append(bytes(plain))
            for _ in range(part.references):
                self._item(keep=False)
            if part.flags & _SC_WRITE_METHOD and part.flags & _SC_SERIALIZABLE:
                self._contents(keep=False)

    def _external(self, described: JavaClass, keep: bool = True) -> list[Any]:
        if not described.flags & _SC_BLOCK_DATA:
            raise JavaStreamError(f"{described.name} is written in protocol 1, which has no boundaries")
        return self._contents(keep)

    def _contents(self, keep: bool) -> list[Any]:
        """What a class wrote itself, up to its end mark; nothing if it is skipped."""
        contents = []
        data = self._data
        while data[self._at] != _ENDBLOCKDATA:
            item = self._item(keep)
            if keep:
                contents.append(item)
        self._at += 1
        return contents

    def _array(self, keep: bool) -> Any:
        start = self._at - 1
        place = self._place(start)
        described = self._described_class()
        handle = self._remember(place)
        (size,) = _int(self._data, self._at)
        self._at += 4
        kind = described.name[1:2]
        dtype = _ARRAY_DTYPES.get(kind)
        if dtype is not None:
            raw = self._take(size * np.dtype(dtype).itemsize if size >= 0 else -1)
            if not keep:
                if self._marked:
                    self._marking.append(bytes(raw))
                return None
            value = np.frombuffer(raw, dtype) if size else np.empty(0, dtype)
            self._handles[handle] = value
            return value
        if not 0 <= size <= len(self._data) - self._at:
            raise JavaStreamError(f"an array of impossible size at byte {start}")
        items: list[Any] = []
        if keep:
            self._handles[handle] = items
        for _ in range(size):
            item = self._item(keep)
            if keep:
                items.append(item)
        return items if keep else None
