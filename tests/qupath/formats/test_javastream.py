"""Streams built by hand, from the grammar of the serialization specification."""

from __future__ import annotations

import struct
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cellgennet_qupath.qupath.formats.javastream import MAX_DEPTH, STREAM_MAGIC, ObjectStream
from cellgennet_qupath.qupath.formats.javavalues import JavaEnum, JavaObject, JavaStreamError

from .javawriter import (
    END,
    ENUM,
    EXTERNALIZABLE,
    NULL,
    RESET,
    SERIALIZABLE,
    WITH_METHOD,
    array,
    block,
    described,
    new,
    reference,
    string,
    utf,
)


def read(*items: bytes, **options: Any) -> list[Any]:
    return list(ObjectStream(STREAM_MAGIC + b"".join(items), **options))


def test_primitive_data_strings_and_null() -> None:
    long = b"\x7c" + struct.pack(">q", 70_000) + b"d" * 70_000
    longer_block = b"\x7a" + struct.pack(">i", 300) + b"b" * 300
    assert read(block(b"abc"), string("µ"), NULL, long, longer_block) == [
        b"abc",
        "µ",
        None,
        "d" * 70_000,
        b"b" * 300,
    ]


@pytest.mark.parametrize("text", ["", "a\0b", "🙂", "naïve ünï", "\ud800"])
def test_modified_utf8(text: str) -> None:
    raw = b"".join(
        b"\xc0\x80" if unit == 0 else chr(unit).encode("utf-8", "surrogatepass")
        for unit in struct.unpack(f"<{len(text.encode('utf-16-le', 'surrogatepass')) // 2}H",
                                  text.encode("utf-16-le", "surrogatepass"))
    )  # fmt: skip
    expected = text if text.isprintable() or "\0" in text else "�"
    assert read(b"\x74" + struct.pack(">H", len(raw)) + raw) == [expected]


def test_an_object_has_the_fields_of_its_whole_line() -> None:
    above = described("Base", SERIALIZABLE, b"I" + utf("x"), 1)
    fields = b"D" + utf("d") + b"Z" + utf("yes") + b"L" + utf("name") + string("Ljava/lang/String;")
    item = new(
        described("Sub", SERIALIZABLE, fields, 3, above),
        struct.pack(">i", 7) + struct.pack(">d?", 0.5, True) + string("n"),
    )
    (found,) = read(item)
    assert isinstance(found, JavaObject)
    assert found.class_name == "Sub"
    assert found.fields == {"x": 7, "d": 0.5, "yes": True, "name": "n"}
    assert [part.name for part in found.java_class.line] == ["Base", "Sub"]


def test_what_a_class_writes_by_hand_follows_its_own_fields() -> None:
    above = described("Base", WITH_METHOD)
    item = new(
        described("Sub", WITH_METHOD, b"B" + utf("b"), 1, above),
        block(b"base") + END + b"\xff" + string("sub") + NULL + END,
    )
    (found,) = read(item)
    assert found.fields == {"b": -1}
    assert found.contents == [b"base", "sub", None]


def test_an_externalizable_is_written_once_whatever_its_superclasses() -> None:
    above = described("Base", EXTERNALIZABLE, above=described("Root", EXTERNALIZABLE))
    item = new(described("Sub", EXTERNALIZABLE, above=above), string("only") + block(b"once") + END)
    found, after = read(item, string("after"))
    assert found.contents == ["only", b"once"]
    assert after == "after"


def test_an_externalizable_of_protocol_one_is_refused() -> None:
    with pytest.raises(JavaStreamError, match="protocol 1"):
        read(new(described("Old", 4), b"\x00" * 10))


def test_arrays() -> None:
    floats = array("[F", 3, struct.pack(">3f", 1, 2.5, -3))
    empty = array("[I", 0, b"")
    objects = array("[Ljava.lang.Object;", 2, string("a") + NULL)
    nested = array("[[B", 1, array("[B", 2, b"\x01\xff"))
    a, b, c, d = read(floats, empty, objects, nested)
    np.testing.assert_array_equal(a, [1, 2.5, -3])
    assert len(b) == 0
    assert c == ["a", None]
    np.testing.assert_array_equal(d[0], [1, -1])


def test_enums_classes_and_proxies() -> None:
    kind = described("Kind", ENUM, above=described("java.lang.Enum", ENUM))
    proxy = b"\x7d" + struct.pack(">i", 2) + utf("A") + utf("B") + END + NULL
    constant, described_class, item = read(
        b"\x7e" + kind + string("BIG"), b"\x76" + described("C", SERIALIZABLE), new(proxy)
    )
    assert constant == JavaEnum("Kind", "BIG")
    assert described_class.name == "C"
    assert item.fields == {}


def test_references_and_reset() -> None:
    first, again = read(string("a"), reference(0))
    assert first == again == "a"
    assert read(string("a"), RESET, string("b"), reference(0)) == ["a", None, "b", "b"]
    with pytest.raises(JavaStreamError, match="reference to nothing"):
        read(string("a"), RESET, reference(0))


def test_an_object_may_refer_to_itself() -> None:
    fields = b"L" + utf("me") + string("LNode;")
    (found,) = read(new(described("Node", SERIALIZABLE, fields, 1), reference(2)))
    assert found.fields["me"] is found


def test_skimmed_objects_are_counted_and_what_they_hold_can_still_be_referred_to() -> None:
    # handles: 0 class Spot, 1 object, 2 string, 3 class [F, 4 array, 5 class Mark, ...
    spot = new(
        described("Spot", EXTERNALIZABLE),
        string("shared") + array("[F", 1, struct.pack(">f", 4.5)) + END,
    )
    mark = new(described("Mark", EXTERNALIZABLE), reference(2) + reference(4) + reference(1) + END)
    stream = ObjectStream(STREAM_MAGIC + spot + mark + string("end"), skim=["Spot"], keep=["Mark"])
    first, second, last = stream
    assert first is None
    assert second.contents[0] == "shared"
    np.testing.assert_array_equal(second.contents[1], [4.5])
    assert second.contents[2] is None
    assert last == "end"
    assert stream.count("Spot") == 1
    assert stream.kept == [second]


def test_kept_objects_are_found_inside_skimmed_ones_and_subclasses_count() -> None:
    mark = new(described("Mark", EXTERNALIZABLE), string("m") + END)
    spot = new(
        described("Special", EXTERNALIZABLE, above=described("Spot", EXTERNALIZABLE)),
        NULL + mark + block(b"x") + END,
    )
    stream = ObjectStream(STREAM_MAGIC + spot, skim=["Spot"], keep=["Mark"])
    assert list(stream) == [None]
    assert [kept.contents for kept in stream.kept] == [["m"]]
    assert stream.count("Spot") == stream.count("Special") == stream.count("Mark") == 1


def test_nothing_is_counted_or_kept_twice_when_it_is_read_again() -> None:
    inner = new(described("Mark", EXTERNALIZABLE), END)
    # handles: 0 class Spot, 1 spot, 2 class Box, 3 box, 4 class Mark, 5 mark
    spot = new(described("Spot", EXTERNALIZABLE), new(described("Box", EXTERNALIZABLE), inner + END) + END)
    stream = ObjectStream(STREAM_MAGIC + spot + reference(3), skim=["Spot"], keep=["Mark"])
    _, box = stream
    assert box.class_name == "Box"
    assert len(stream.kept) == stream.count("Mark") == stream.count("Box") == 1


def deep(levels: int) -> bytes:
    box = described("[Ljava.lang.Object;", SERIALIZABLE)
    one = struct.pack(">i", 1)
    return b"\x75" + box + one + (b"\x75" + reference(0) + one) * (levels - 1) + NULL


def test_nesting_up_to_the_limit_is_read_and_beyond_it_refused() -> None:
    assert read(deep(MAX_DEPTH))
    with pytest.raises(JavaStreamError, match="nested too deeply"):
        read(deep(MAX_DEPTH + 1))
    with pytest.raises(JavaStreamError, match="nested too deeply"):
        read(deep(100_000))


@pytest.mark.parametrize(
    "hostile",
    [
        pytest.param(b"\x75" + described("[D", 2) + b"\x7f\xff\xff\xff", id="array of 16 GB"),
        pytest.param(b"\x75" + described("[LX;", 2) + b"\x7f\xff\xff\xff", id="array of objects"),
        pytest.param(b"\x75" + described("[D", 2) + b"\xff\xff\xff\xff", id="array of negative size"),
        pytest.param(b"\x7c" + b"\x7f" + b"\xff" * 7, id="string of 8 EB"),
        pytest.param(b"\x7c" + b"\xff" * 8, id="string of negative size"),
        pytest.param(b"\x7a\x7f\xff\xff\xff", id="block of 2 GB"),
        pytest.param(b"\x7d\x7f\xff\xff\xff", id="proxy of 2 billion interfaces"),
        pytest.param(b"\x72" + utf("A") + bytes(8) + b"\x02\x00\x00" + END + reference(0), id="own parent"),
        pytest.param(new(b"\x72" + utf("A") + bytes(8) + b"\x02\x00\x01I"), id="cut off"),
        pytest.param(new(NULL), id="object without a class"),
        pytest.param(new(reference(3)), id="class that is nothing"),
        pytest.param(string("a") + new(reference(0)), id="class that is a string"),
        pytest.param(b"\x7b" + NULL, id="exception in the writer"),
        pytest.param(b"\x78", id="end of nothing"),
        pytest.param(b"\x00", id="no code"),
        pytest.param(b"\x7e" + described("K", ENUM) + NULL, id="enum without a name"),
        pytest.param(b"\x7e" + described("K", ENUM) + reference(1), id="enum named by itself"),
        pytest.param(new(described("A", 2, b"L" + utf("f") + NULL, 1)), id="field without a type"),
        pytest.param(new(described("A", 2, b"?" + utf("f"), 1)), id="field of no kind"),
        pytest.param(
            new(described("A", 2, b"L" + utf("a") + string("LA;") + b"I" + utf("b"), 2)), id="field order"
        ),
        pytest.param(b"\x74\x00\x01\xff", id="text that is none"),
    ],
)
def test_hostile_streams_are_refused(hostile: bytes) -> None:
    with pytest.raises(JavaStreamError):
        read(hostile)


def test_many_references_to_skimmed_objects_cost_nothing() -> None:
    spot = new(described("Spot", EXTERNALIZABLE), string("s") * 50_000 + END)
    stream = ObjectStream(STREAM_MAGIC + spot + reference(1) * 50_000, skim=["Spot"])
    assert sum(item is None for item in stream) == 50_001


def test_anything_but_a_stream_is_refused() -> None:
    for data in (b"", b"\xac\xed", b"PK\x03\x04 and so on", b"{}"):
        with pytest.raises(JavaStreamError, match="no Java"):
            ObjectStream(data)


@given(st.binary(max_size=300), st.booleans())
def test_any_bytes_are_read_or_refused(tail: bytes, skim: bool) -> None:
    start = STREAM_MAGIC + new(described("Spot", EXTERNALIZABLE), block(b"abc") + string("x") + END)
    try:
        list(ObjectStream(start + tail, skim=["Spot"] if skim else []))
    except JavaStreamError as error:
        assert str(error)


def test_a_long_line_of_superclasses_is_refused_though_none_is_nested() -> None:
    """Each class names the one before as its superclass, by reference: every line is one longer."""

    def classes(count: int) -> bytes:
        # A class object ("v") takes a handle after that of its description, so descriptions are even.
        above = [b"p", *(reference(2 * number) for number in range(count - 1))]
        return b"".join(b"vr" + utf("C") + bytes(8) + b"\x02\x00\x00" + b"x" + one for one in above)

    assert len(read(classes(MAX_DEPTH))[-1].line) == MAX_DEPTH
    with pytest.raises(JavaStreamError, match="classes nested too deeply"):
        read(classes(MAX_DEPTH + 1))


def outlined(*vertices: float, measured: float = 0.0) -> bytes:
    """An object to skim that has a shape (marked) and a measurement (not marked)."""
    numbers = struct.pack(f">{len(vertices)}f", *vertices)
    shape = new(
        described("shape.Polygon", SERIALIZABLE, b"I" + utf("z") + b"[" + utf("x") + string("[F"), 2),
        struct.pack(">i", 0) + array("[F", len(vertices), numbers),
    )
    values = array("[F", 1, struct.pack(">f", measured))
    return new(described("Detection", EXTERNALIZABLE), shape + values + END)


def test_marks_are_equal_for_equal_shapes_alone() -> None:
    items = [outlined(1, 2, 3), outlined(1, 2, 4), outlined(1, 2, 3, measured=7), outlined(1, 2)]
    stream = ObjectStream(STREAM_MAGIC + b"".join(items), skim=["Detection"], mark="shape.")
    assert list(stream) == [None] * 4
    assert len(stream.marks) == 4
    assert stream.marks[0] == stream.marks[2]
    assert len(set(stream.marks)) == 3


def test_an_object_inside_another_has_a_mark_of_its_own() -> None:
    child = outlined(1, 2, 3)
    shape = new(described("shape.Box", SERIALIZABLE, b"I" + utf("x"), 1), struct.pack(">i", 5))
    parent = new(described("Detection", EXTERNALIZABLE), shape + child + END)
    stream = ObjectStream(STREAM_MAGIC + parent + child, skim=["Detection"], mark="shape.")
    list(stream)
    inner, outer, alone = stream.marks
    assert inner == alone != outer
