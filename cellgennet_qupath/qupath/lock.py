"""One run at a time: an advisory lock on what this tool keeps in a project.

It binds this tool only. QuPath itself knows no locks.
"""

from __future__ import annotations

import ctypes
import json
import os
import socket
import sys
import time
import uuid
from datetime import datetime
from pathlib import Path
from types import TracebackType
from typing import Any

from ..core.errors import LockedError, ProjectError
from ..core.progress import SILENT, Reporter

LOCK_FILE = "lock.json"

_SETTLED = 5.0
"""Seconds after which a lock without content was left by a process that died while writing it."""


class ProjectLock:
    """Holds ``<folder>/lock.json`` from ``acquire`` to ``release``, or in a ``with`` block.

    The file tells process id, host, time and command. A lock left behind by a process of this host that
    no longer runs is taken over, which ``reporter`` is told. Raises LockedError where another process
    holds the lock.
    """

    def __init__(self, folder: Path, command: str = "", reporter: Reporter = SILENT) -> None:
        self.path = folder / LOCK_FILE
        self._command = command or " ".join([Path(sys.argv[0]).name, *sys.argv[1:]])
        self._reporter = reporter
        self._token = ""

    def acquire(self) -> None:
        """Take the lock. Raises LockedError, or ProjectError where nothing may be written there."""
        token = str(uuid.uuid4())
        content = {
            "pid": os.getpid(),
            "host": socket.gethostname(),
            "since": datetime.now().astimezone().isoformat(timespec="seconds"),
            "command": self._command,
            "token": token,
        }
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            while not self._create(json.dumps(content)):
                holder = self._holder()
                if holder is not None:
                    self._take_over(holder)
        except OSError as error:
            raise ProjectError(
                self.path, f"cannot be written ({error.strerror})", "Make the project's folder writable"
            ) from error
        self._token = token

    def release(self) -> None:
        """Give the lock back; a lock that is not ours is left alone."""
        if self._token and (self._holder() or {}).get("token") == self._token:
            self.path.unlink(missing_ok=True)
        self._token = ""

    def __enter__(self) -> ProjectLock:
        self.acquire()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.release()

    def _create(self, content: str) -> bool:
        try:
            descriptor = os.open(self.path, os.O_CREAT | os.O_EXCL | os.O_WRONLY)
        except FileExistsError:
            return False
        with os.fdopen(descriptor, "w", encoding="utf-8") as file:
            file.write(content)
        return True

    def _holder(self) -> dict[str, Any] | None:
        """What the lock says; {} where it was left without content; None where it is gone."""
        while True:
            try:
                content = json.loads(self.path.read_text(encoding="utf-8"))
                return content if isinstance(content, dict) else {}
            except FileNotFoundError:
                return None
            except (ValueError, PermissionError):  # being written, or being deleted (Windows)
                try:
                    age = time.time() - self.path.stat().st_mtime
                except FileNotFoundError:
                    return None
                if age > _SETTLED:
                    return {}
                time.sleep(0.05)

    def _take_over(self, holder: dict[str, Any]) -> None:
        pid, host, since = holder.get("pid"), holder.get("host"), holder.get("since")
        if holder and (host != socket.gethostname() or not isinstance(pid, int) or is_running(pid)):
            raise LockedError(
                self.path.parent.parent,
                f"is in use by `{holder.get('command')}` (process {pid} on {host}) since {since}",
                f"Wait until it has ended; if it no longer runs, delete {self.path}",
            )
        # Renaming decides between two processes that both found the lock left behind.
        aside = self.path.with_name(f"{self.path.name}.{uuid.uuid4().hex}")
        try:
            self.path.rename(aside)
        except FileNotFoundError:
            return
        taken = json.loads(aside.read_text(encoding="utf-8") or "{}") if holder else {}
        if taken != holder:
            aside.rename(self.path)  # another process was quicker: this is its new lock
            return
        aside.unlink()
        self._reporter.warn(f"Took over the lock of process {pid} of {since}, which no longer runs.")


def is_running(pid: int) -> bool:
    """Whether a process of this host runs."""
    if pid <= 0:
        return False
    if sys.platform == "win32":  # os.kill would end it there
        kernel = ctypes.windll.kernel32
        handle = kernel.OpenProcess(0x1000, False, pid)  # PROCESS_QUERY_LIMITED_INFORMATION
        if not handle:
            return bool(kernel.GetLastError() == 5)  # access denied: it runs
        code = ctypes.c_ulong()
        kernel.GetExitCodeProcess(handle, ctypes.byref(code))
        kernel.CloseHandle(handle)
        return code.value == 259  # STILL_ACTIVE
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except (PermissionError, OverflowError):
        return True
    return True
