"""What may reach a terminal, a pipe or a log: every character is printable, and none stops the program.

Names of images, classes and files come from other people. Control characters in them could rewrite lines of a
terminal, and characters that a code page lacks would end the program. Both are written as JSON writes them,
``\\u001b``, so that JSON documents stay valid and equal.
"""

from __future__ import annotations

import io
import re
import sys
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from typing import Any, TextIO, cast

_UNSAFE = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u200e\u200f\u202a-\u202e\u2066-\u2069\ud800-\udfff]")
"""Control characters but tab and line feed, marks that reverse the direction of text, lone surrogates."""


def printable(text: str) -> str:
    """A text in which characters that are not safe to print are written as ``\\uXXXX``."""
    return _UNSAFE.sub(_escaped, text)


def _escaped(match: re.Match[str]) -> str:
    return f"\\u{ord(match[0]):04x}"


def encodable(text: str, encoding: str) -> str:
    """A text in which characters that an encoding lacks are written as ``\\uXXXX``, as JSON writes them."""
    try:
        text.encode(encoding)
    except UnicodeEncodeError:
        return "".join(character if _has(character, encoding) else _units(character) for character in text)
    except LookupError:  # an encoding that Python does not know
        return encodable(text, "ascii")
    return text


def _has(character: str, encoding: str) -> bool:
    try:
        character.encode(encoding)
    except UnicodeEncodeError:
        return False
    return True


def _units(character: str) -> str:
    units = character.encode("utf-16-be", "surrogatepass")
    return "".join(f"\\u{units[i]:02x}{units[i + 1]:02x}" for i in range(0, len(units), 2))


class SafeStream(io.TextIOBase):
    """A text stream for ``print`` and click that writes printable text in the encoding of another stream.

    Closing it leaves the other stream open, as libraries keep and close what they believe to be stderr.
    A reader that has gone (``| head``) does not end the work: the rest of the output is dropped.
    """

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        self._gone = False

    @property
    def encoding(self) -> str:  # type: ignore[override]
        """The encoding of the stream."""
        return self._stream.encoding or "utf-8"

    @property
    def errors(self) -> str | None:  # type: ignore[override]
        """How the stream treats characters that it cannot encode; none reach it."""
        return self._stream.errors

    def write(self, text: str) -> int:
        """Write a text; returns its length."""
        if not self._gone:
            try:
                self._stream.write(encodable(printable(text), self.encoding))
            except BrokenPipeError:
                self._gone = True
        return len(text)

    def flush(self) -> None:
        """Hand on what was written."""
        if not self._gone:
            try:
                self._stream.flush()
            except BrokenPipeError:
                self._gone = True

    def isatty(self) -> bool:
        """Whether the stream is a terminal."""
        return self._stream.isatty()

    def fileno(self) -> int:
        """The stream's file descriptor."""
        return self._stream.fileno()

    def writable(self) -> bool:
        """Whether the stream can be written to."""
        return True


@contextmanager
def safe_output() -> Iterator[None]:
    """Standard output and standard error are safe to print any text to within this context.

    Standard error on a terminal is left to ``reporter``, whose progress bars move the cursor.
    """
    with redirect_stdout(_safe(sys.stdout)):
        if sys.stderr is None or sys.stderr.isatty():
            yield
        else:
            with redirect_stderr(_safe(sys.stderr)):
                yield


def _safe(stream: Any) -> TextIO:
    if stream is None or isinstance(stream, SafeStream):  # programs without a console have no streams
        return cast(TextIO, stream)
    return cast(TextIO, SafeStream(stream))
