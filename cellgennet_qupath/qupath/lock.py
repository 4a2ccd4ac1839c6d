"""One run at a time: an advisory lock on what this tool keeps in a project.

The operating system holds the lock (``filelock``), so it ends with the process, however that ends. A
record beside it names the owner for whoever has to wait. QuPath itself knows nothing of the lock.
"""

from __future__ import annotations

import errno
import getpass
import json
import os
import socket
import sys
from datetime import datetime
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any

from ..core.errors import LockedError, ProjectError
from ..core.files import confined, make_folder, refuse_links, remove_file, replacing
from ..core.lazy import lazy
from ..core.plain_files import NotPlainError, read_text
from ..core.progress import SILENT, Reporter

if TYPE_CHECKING:
    import filelock
else:
    filelock = lazy("filelock")

LOCK_FILE = "project.lock"
RECORD_FILE = "lock.json"

_PATIENCE = 0.5
"""Seconds; long enough for a new owner to write its record before others read it."""

_LARGEST_RECORD = 1 << 20

_UNSUPPORTED = {errno.ENOSYS, errno.ENOLCK, errno.ENOTSUP, errno.EOPNOTSUPP}


class ProjectLock:
    """Holds a lock on ``folder`` from ``acquire`` to ``release``, or in a ``with`` block.

    ``<folder>/project.lock`` is locked; it is empty and stays. ``<folder>/lock.json`` names the owner
    (command, user, process, host) and the time. What is readable of either never decides who holds the
    lock. Once it is held, the folder is known to hold no links, and what killed runs left half-written is
    deleted. Raises LockedError where another process holds the lock.
    """

    def __init__(self, folder: Path, command: str = "", reporter: Reporter = SILENT) -> None:
        self._folder = folder
        self.path = folder / LOCK_FILE
        self.record = folder / RECORD_FILE
        self._command = command
        self._reporter = reporter
        # Without the fallback to a lock by mere existence, which would outlive a killed process.
        self._lock = filelock.FileLock(self.path, thread_local=False, fallback_to_soft=False)

    def acquire(self) -> None:
        """Take the lock. Raises LockedError, or ProjectError where the folder cannot be locked."""
        confined(self._folder, self.path)
        confined(self._folder, self.record)
        if self.path.exists() and not self.path.is_file():
            raise ProjectError(self.path, "is not a regular file", "Move it away")
        try:
            make_folder(self._folder, self._folder)
            self._lock.acquire(timeout=_PATIENCE)
        except filelock.Timeout as error:
            raise LockedError(
                self.path.parent.parent,
                f"is in use by {_owner(_read(self.record))}",
                "Wait until that run has finished, or stop it",
            ) from error
        except OSError as error:
            raise _cannot_lock(self.path, error) from error
        try:
            for left in refuse_links(self._folder):
                remove_file(self._folder, left)
            self._replace_record()
        except OSError as error:
            self._lock.release()
            raise _cannot_lock(self.record, error) from error
        except BaseException:
            self._lock.release()
            raise

    def release(self) -> None:
        """Release the lock; does nothing if it is not held."""
        if self._lock.is_locked:
            try:
                remove_file(self._folder, self.record)
            finally:
                self._lock.release()

    def __enter__(self) -> ProjectLock:
        self.acquire()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.release()

    def _replace_record(self) -> None:
        earlier = _read(self.record)
        if earlier:
            self._reporter.warn(f"An earlier run did not finish: {_owner(earlier)}.")
        with replacing(self.record, self._folder) as part:
            part.write_text(json.dumps(this_process(self._command)), encoding="utf-8")


def this_process(command: str = "") -> dict[str, Any]:
    """Who runs what, where and since when, as plain data; the command is that of this process."""
    try:
        user = getpass.getuser()
    except (ImportError, KeyError, OSError):  # a user without a name, as in some containers
        user = ""
    return {
        "command": command or " ".join([Path(sys.argv[0]).name, *sys.argv[1:]]),
        "user": user,
        "pid": os.getpid(),
        "host": socket.gethostname(),
        "since": datetime.now().astimezone().isoformat(timespec="seconds"),
    }


def _read(record: Path) -> dict[str, Any]:
    """The record of an owner; empty where it is missing or damaged."""
    try:
        content = json.loads(read_text(record, _LARGEST_RECORD))
    except (OSError, ValueError, RecursionError, NotPlainError):
        return {}
    return content if isinstance(content, dict) else {}


def _owner(record: dict[str, Any]) -> str:
    if not record:
        return "another run of this tool"
    by = f" by {record['user']}" if record.get("user") else ""
    process = f"process {record.get('pid')} on {record.get('host')}"
    return f"`{record.get('command')}`, started{by} at {record.get('since')} ({process})"


def _cannot_lock(path: Path, error: OSError) -> ProjectError:
    if error.errno in _UNSUPPORTED:
        return ProjectError(
            path.parent,
            f"is on a file system without file locks ({error.strerror})",
            "Copy the project to another disk",
        )
    return ProjectError(path, f"cannot be written ({error.strerror})", "Free some space or allow writing")
