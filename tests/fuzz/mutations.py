"""Inputs that are nearly valid: small valid files cut, flipped, spliced, grown; and bytes of any kind."""

from __future__ import annotations

import gzip
from collections.abc import Sequence

from hypothesis import strategies as st

TOKENS = [
    b"", b"null", b"true", b"-1", b"0", b"1e999", b"NaN", b"-0.0", b"9" * 40, b'"', b"\\u0000", b"\x00",
    b"[", b"]", b"{", b"}", b"[" * 60, b",", b":", b"\n", b"\xed\xa0\x80", b"&a ", b"*a", b"<<: ", b"!!int ",
    b"\xff", b"\x80\x00\x00\x00", b"\x7f\xff\xff\xff", b"\xff\xff\xff\xff", b"\x73\x72",
    b"\x71\x00\x7e\x00\x00",
]  # fmt: skip
"""Pieces that parsers of JSON, YAML and Java streams treat specially."""


@st.composite
def mutated(draw: st.DrawFn, seeds: Sequence[bytes]) -> bytes:
    """A seed with one to three changes."""
    data = draw(st.sampled_from(list(seeds)))
    for _ in range(draw(st.sampled_from([1, 1, 1, 2, 3]))):
        at = draw(st.integers(0, max(0, len(data) - 1)))
        kind = draw(st.sampled_from(["cut", "flip", "replace", "insert", "remove", "repeat", "splice"]))
        if kind == "cut":
            data = data[:at]
        elif kind == "flip" and data:
            data = data[:at] + bytes([data[at] ^ (1 << draw(st.integers(0, 7)))]) + data[at + 1 :]
        elif kind == "replace":
            token = draw(st.sampled_from(TOKENS))
            data = data[:at] + token + data[at + len(token) :]
        elif kind == "insert":
            data = data[:at] + draw(st.sampled_from(TOKENS)) + data[at:]
        elif kind == "remove":
            data = data[:at] + data[at + draw(st.integers(1, 64)) :]
        elif kind == "repeat":
            length = draw(st.integers(1, 256))
            data = data[:at] + data[at : at + length] * draw(st.integers(2, 20)) + data[at + length :]
        elif kind == "splice":
            other = draw(st.sampled_from(list(seeds)))
            start = draw(st.integers(0, max(0, len(other) - 1)))
            data = data[:at] + other[start:]
    return data


def inputs(seeds: Sequence[bytes]) -> st.SearchStrategy[bytes]:
    """Mostly mutated seeds; some bytes at random."""
    return st.one_of(mutated(seeds), mutated(seeds), mutated(seeds), st.binary(max_size=2000))


def zipped(seeds: Sequence[bytes]) -> st.SearchStrategy[bytes]:
    """The same for a format inside gzip: the content is mutated, or the file."""
    packed = [gzip.compress(seed, 1, mtime=0) for seed in seeds]
    return st.one_of(inputs(seeds).map(lambda data: gzip.compress(data, 1, mtime=0)), mutated(packed))
