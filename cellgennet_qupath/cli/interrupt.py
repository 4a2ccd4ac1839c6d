"""Ctrl-C, and a request to end (SIGTERM): the first one stops the work in order, a second one at once."""

from __future__ import annotations

import os
import signal
import threading
from types import FrameType
from typing import Any

from ..core.files import remove_open_parts

INTERRUPTED = 130
"""Exit code of a run that the user stopped."""


class Interrupts:
    """A handler of Ctrl-C and of SIGTERM, in force within a ``with`` block.

    The first one raises KeyboardInterrupt, as Python does on Ctrl-C. While the work is still being stopped (a
    process is waited for, a slide is closed), a second one removes the files that are being written and ends
    the process. QuPath sends SIGTERM when its user stops a script; Windows has no such request.
    """

    _USUAL = ((signal.SIGINT, signal.default_int_handler), (signal.SIGTERM, signal.SIG_DFL))

    def __init__(self) -> None:
        self._count = 0
        self._installed: list[tuple[signal.Signals, Any]] = []

    def __enter__(self) -> Interrupts:
        if threading.current_thread() is threading.main_thread():
            for number, usual in self._USUAL:
                # A program in the background ignores Ctrl-C; an embedding program may have its own handler.
                if signal.getsignal(number) is usual:
                    signal.signal(number, self._handle)
                    self._installed.append((number, usual))
        return self

    def __exit__(self, *_: object) -> None:
        for number, usual in self._installed:
            signal.signal(number, usual)
        self._installed.clear()

    def _handle(self, number: int, frame: FrameType | None) -> None:
        self._count += 1
        if self._count == 1:
            raise KeyboardInterrupt
        remove_open_parts()
        os._exit(INTERRUPTED)
