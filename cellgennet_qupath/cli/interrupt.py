"""Ctrl-C: the first one stops the work in order, a second one ends the process at once and quietly."""

from __future__ import annotations

import os
import signal
import threading
from types import FrameType

from ..core.files import remove_open_parts

INTERRUPTED = 130
"""Exit code of a run that the user stopped."""


class Interrupts:
    """A handler of Ctrl-C, in force within a ``with`` block.

    The first Ctrl-C raises KeyboardInterrupt, as Python does. While the work is still being stopped (a
    process is waited for, a slide is closed), a second one removes the files that are being written and ends
    the process.
    """

    def __init__(self) -> None:
        self._count = 0
        self._installed = False

    def __enter__(self) -> Interrupts:
        # A program in the background ignores Ctrl-C, and an embedding program may have a handler of its own.
        usual = signal.getsignal(signal.SIGINT) is signal.default_int_handler
        if usual and threading.current_thread() is threading.main_thread():
            signal.signal(signal.SIGINT, self._handle)
            self._installed = True
        return self

    def __exit__(self, *_: object) -> None:
        if self._installed:
            signal.signal(signal.SIGINT, signal.default_int_handler)

    def _handle(self, number: int, frame: FrameType | None) -> None:
        self._count += 1
        if self._count == 1:
            raise KeyboardInterrupt
        remove_open_parts()
        os._exit(INTERRUPTED)
