"""One run at a time."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest

from cellgennet_qupath.core.errors import LockedError, ProjectError
from cellgennet_qupath.core.progress import Silent
from cellgennet_qupath.qupath import lock as locks
from cellgennet_qupath.qupath.lock import ProjectLock, is_running


class Told(Silent):
    def __init__(self) -> None:
        self.lines: list[str] = []

    def warn(self, line: str) -> None:
        self.lines.append(line)


def dead_process() -> int:
    process = subprocess.Popen([sys.executable, "-c", ""])
    process.wait()
    return process.pid


def left_behind(folder: Path, **content: object) -> Path:
    path = folder / "lock.json"
    path.write_text(json.dumps(content), encoding="utf-8")
    return path


def test_a_lock_is_held_and_given_back(tmp_path: Path) -> None:
    folder = tmp_path / "project" / "cellgennet"
    with ProjectLock(folder, "cellgennet train") as lock:
        told = json.loads(lock.path.read_text(encoding="utf-8"))
        assert told["pid"] == os.getpid()
        assert told["host"] == socket.gethostname()
        assert told["command"] == "cellgennet train"
        with pytest.raises(LockedError) as raised:
            ProjectLock(folder).acquire()
        line = str(raised.value)
        assert str(tmp_path / "project") in line
        assert "`cellgennet train`" in line
        assert str(os.getpid()) in line
        assert told["since"] in line
        assert str(lock.path) in line
    assert list(folder.iterdir()) == []
    ProjectLock(folder).acquire()


def test_the_lock_of_a_dead_process_is_taken_over(tmp_path: Path) -> None:
    left_behind(tmp_path, pid=dead_process(), host=socket.gethostname(), since="noon", command="c")
    told = Told()
    with ProjectLock(tmp_path, reporter=told):
        assert len(told.lines) == 1
        assert "noon" in told.lines[0]
    assert list(tmp_path.iterdir()) == []


def test_the_lock_of_another_host_is_respected(tmp_path: Path) -> None:
    left_behind(tmp_path, pid=dead_process(), host="elsewhere", since="noon", command="c")
    with pytest.raises(LockedError, match="on elsewhere"):
        ProjectLock(tmp_path).acquire()


def test_a_lock_without_content_is_waited_for_and_then_taken(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(locks, "_SETTLED", 0.3)
    (tmp_path / "lock.json").write_bytes(b"")
    began = time.monotonic()
    with ProjectLock(tmp_path):
        assert time.monotonic() - began > 0.2


def test_a_lock_that_is_no_longer_ours_is_left_alone(tmp_path: Path) -> None:
    lock = ProjectLock(tmp_path)
    lock.acquire()
    other = left_behind(tmp_path, pid=1, host="elsewhere")
    lock.release()
    assert other.is_file()


def test_many_at_once_are_let_in_one_by_one(tmp_path: Path) -> None:
    """Each process that finds the lock of a dead one counts up a file, reading and writing it slowly."""
    left_behind(tmp_path, pid=dead_process(), host=socket.gethostname(), since="s", command="c")
    counter = tmp_path / "counter"
    counter.write_text("0", encoding="utf-8")
    script = (
        "import sys, time, pathlib\n"
        "from cellgennet_qupath.core.errors import LockedError\n"
        "from cellgennet_qupath.qupath.lock import ProjectLock\n"
        "folder = pathlib.Path(sys.argv[1])\n"
        "for attempt in range(2000):\n"
        "    try:\n"
        "        with ProjectLock(folder):\n"
        "            n = int((folder / 'counter').read_text())\n"
        "            time.sleep(0.02)\n"
        "            (folder / 'counter').write_text(str(n + 1))\n"
        "        break\n"
        "    except LockedError:\n"
        "        time.sleep(0.01)\n"
    )
    running = [subprocess.Popen([sys.executable, "-c", script, str(tmp_path)]) for _ in range(5)]
    assert [process.wait() for process in running] == [0] * 5
    assert counter.read_text(encoding="utf-8") == "5"


def test_which_processes_run() -> None:
    assert is_running(os.getpid())
    assert not is_running(dead_process())
    assert not is_running(0)


def test_where_the_folder_is_a_file(tmp_path: Path) -> None:
    (tmp_path / "cellgennet").write_text("x", encoding="utf-8")
    with pytest.raises(ProjectError, match="cannot be written"):
        ProjectLock(tmp_path / "cellgennet").acquire()
