"""One StarDist process for many tests: importing TensorFlow takes longer than training the networks of tests.

What is tested of the process itself is in ``tests/networks/test_stardist_process.py``, without this.
"""

from __future__ import annotations

import subprocess
import tempfile
from collections.abc import Iterator
from typing import IO

import pytest

from cellgennet_qupath.networks import stardist_process


class _Shared:
    """The process that is kept; a model is opened in it after the one before was closed."""

    def __init__(self) -> None:
        self.start, self.end = stardist_process._start, stardist_process._end
        self._log = tempfile.TemporaryFile()  # noqa: SIM115
        self._process: subprocess.Popen[bytes] | None = None
        self._free = True

    def lend(self, log: IO[bytes]) -> subprocess.Popen[bytes]:
        if not self._free:
            return self.start(log)
        if self._process is None or self._process.poll() is not None:
            self._process = self.start(self._log)
        self._free = False
        return self._process

    def take_back(self, process: subprocess.Popen[bytes], log: IO[bytes]) -> None:
        if process is not self._process:
            self.end(process, log)
            return
        log.close()
        self._free = True

    def close(self) -> None:
        if self._process is not None:
            self.end(self._process, self._log)


@pytest.fixture(scope="session")
def _shared_stardist() -> Iterator[_Shared]:
    shared = _Shared()
    yield shared
    shared.close()


@pytest.fixture(scope="module")
def one_stardist(_shared_stardist: _Shared) -> Iterator[None]:
    """Models of a module's tests open in one process, one after another; give all of them ``threads=1``."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(stardist_process, "_start", _shared_stardist.lend)
        patch.setattr(stardist_process, "_end", _shared_stardist.take_back)
        yield
