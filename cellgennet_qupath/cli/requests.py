"""Ids of images that another program, such as a script in QuPath, writes to standard input one by one."""

from __future__ import annotations

import io
import queue
import sys
import threading
from collections.abc import Iterable, Iterator

PATIENCE = 60.0
"""Seconds without a request after which the run ends and releases the project."""


def requested_ids(source: Iterable[bytes] | None = None, patience: float = PATIENCE) -> Iterator[str]:
    """Lines of standard input without blanks around them, as they come.

    Ends with the input, or when no line has come for ``patience`` seconds, so that a program that was
    stopped does not keep the project locked.
    """
    # Unbuffered: Python cannot end while another thread holds the lock of a buffer.
    given: Iterable[bytes] = io.FileIO(sys.stdin.fileno(), closefd=False) if source is None else source
    lines: queue.Queue[bytes | None] = queue.Queue()
    threading.Thread(target=_read, args=(given, lines), daemon=True).start()
    while True:
        try:
            line = lines.get(timeout=patience)
        except queue.Empty:
            return
        if line is None:
            return
        text = line.decode("utf-8", "replace").strip()
        if text:
            yield text


def _read(source: Iterable[bytes], lines: queue.Queue[bytes | None]) -> None:
    try:
        for line in source:
            lines.put(line)
    finally:
        lines.put(None)
