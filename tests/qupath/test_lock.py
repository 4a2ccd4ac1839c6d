"""One run at a time."""

from __future__ import annotations

import errno
import getpass
import json
import os
import socket
import subprocess
import sys
from pathlib import Path

import filelock
import pytest

from cellgennet_qupath.core.errors import LockedError, ProjectError
from cellgennet_qupath.qupath.lock import ProjectLock
from tests.helpers import Recorder

HOLD = (
    "import sys, pathlib\n"
    "from cellgennet_qupath.qupath.lock import ProjectLock\n"
    "lock = ProjectLock(pathlib.Path(sys.argv[1]), 'cellgennet segment')\n"
    "lock.acquire()\n"
    "print('locked', flush=True)\n"
    "sys.stdin.read()\n"
)


def files(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def holding(folder: Path) -> subprocess.Popen[bytes]:
    """A process that holds the lock until it is ended."""
    process = subprocess.Popen(
        [sys.executable, "-c", HOLD, str(folder)], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    assert process.stdout is not None
    assert process.stdout.readline().strip() == b"locked"
    return process


def end(process: subprocess.Popen[bytes]) -> None:
    process.kill()
    process.communicate()


def test_a_lock_is_held_and_released(tmp_path: Path) -> None:
    folder = tmp_path / "project" / "cellgennet"
    with ProjectLock(folder, "cellgennet train") as lock:
        record = json.loads(lock.record.read_text(encoding="utf-8"))
        assert record["pid"] == os.getpid()
        assert record["host"] == socket.gethostname()
        assert record["user"] == getpass.getuser()
        assert record["command"] == "cellgennet train"
        with pytest.raises(LockedError) as raised:
            ProjectLock(folder).acquire()
        line = str(raised.value)
        assert str(tmp_path / "project") in line
        assert "`cellgennet train`" in line
        assert str(os.getpid()) in line
        assert getpass.getuser() in line
        assert record["since"] in line
    assert files(folder) == ["project.lock"]
    with ProjectLock(folder):
        pass
    lock.release()
    assert files(folder) == ["project.lock"]


def test_another_process_is_named_and_its_death_ends_the_lock(tmp_path: Path) -> None:
    owner = holding(tmp_path)
    try:
        with pytest.raises(LockedError, match=rf"`cellgennet segment`.*process {owner.pid} on"):
            ProjectLock(tmp_path).acquire()
    finally:
        end(owner)
    assert files(tmp_path) == ["lock.json", "project.lock"], "a killed process leaves its record"
    listener = Recorder()
    with ProjectLock(tmp_path, reporter=listener):
        assert len(listener.warnings) == 1
        assert f"process {owner.pid}" in listener.warnings[0]
    assert files(tmp_path) == ["project.lock"]


@pytest.mark.parametrize("content", [b"", b"{", b"[1]", b"\xff"])
def test_an_unreadable_record_still_locks_and_never_blocks(tmp_path: Path, content: bytes) -> None:
    with ProjectLock(tmp_path) as lock:
        lock.record.write_bytes(content)
        with pytest.raises(LockedError, match="in use by another run of this tool"):
            ProjectLock(tmp_path).acquire()
    (tmp_path / "lock.json").write_bytes(content)
    with ProjectLock(tmp_path) as lock:
        assert json.loads(lock.record.read_text(encoding="utf-8"))["pid"] == os.getpid()


@pytest.mark.parametrize("damage", ["empty", "binary", "nested", "folder", "pipe", "missing"])
def test_a_run_keeps_its_lock_whatever_happens_to_its_record(tmp_path: Path, damage: str) -> None:
    owner = holding(tmp_path)
    record = tmp_path / "lock.json"
    record.unlink()
    if damage == "folder":
        record.mkdir()
    elif damage == "pipe":
        if os.name == "nt":
            pytest.skip("no named pipes in folders")
        os.mkfifo(record)
    elif damage != "missing":
        content = {"empty": b"", "binary": bytes(range(256)), "nested": b"[" * 5000}
        record.write_bytes(content[damage])
    try:
        with pytest.raises(LockedError, match="in use by another run of this tool"):
            ProjectLock(tmp_path).acquire()
    finally:
        end(owner)


@pytest.mark.skipif(os.name == "nt", reason="Windows locks the content itself")
def test_a_run_keeps_its_lock_when_somebody_writes_into_the_lock_file(tmp_path: Path) -> None:
    owner = holding(tmp_path)
    (tmp_path / "project.lock").write_text("{", encoding="utf-8")
    (tmp_path / "project.lock").chmod(0o444)
    try:
        with pytest.raises((LockedError, ProjectError)):
            ProjectLock(tmp_path).acquire()
    finally:
        end(owner)


@pytest.mark.skipif(os.name == "nt", reason="links need a privilege on Windows")
@pytest.mark.parametrize(
    "link", ["", "project.lock", "lock.json", "runs", "detections", "detections/1.geojson.gz", "runs/a/tile"]
)
def test_a_project_with_a_link_in_its_work_folder_is_not_opened_for_writing(
    tmp_path: Path, link: str
) -> None:
    outside, folder = tmp_path / "outside", tmp_path / "project" / "cellgennet"
    outside.write_text("kept", encoding="utf-8")
    place = folder / link
    place.parent.mkdir(parents=True)
    place.symlink_to(outside)
    with pytest.raises(ProjectError, match="is a link") as raised:
        ProjectLock(folder).acquire()
    assert str(place) in str(raised.value)
    assert outside.read_text(encoding="utf-8") == "kept"
    place.unlink()
    with ProjectLock(folder):
        pass


def test_what_a_killed_run_left_half_written_is_deleted(tmp_path: Path) -> None:
    left = tmp_path / "detections" / ".1.geojson.gz.0a1b2c3d.part"
    left.parent.mkdir()
    left.write_bytes(b"half")
    with pytest.raises(LockedError), ProjectLock(tmp_path):
        left.write_bytes(b"of the run that holds the lock")
        ProjectLock(tmp_path).acquire()
    assert left.exists()
    with ProjectLock(tmp_path):
        assert not left.exists()


def test_a_lock_file_that_is_none(tmp_path: Path) -> None:
    (tmp_path / "project.lock").mkdir()
    with pytest.raises(ProjectError, match="not a regular file"):
        ProjectLock(tmp_path).acquire()


@pytest.mark.parametrize("host", [socket.gethostname(), "elsewhere"])
def test_the_lock_file_of_an_older_version_does_not_lock(tmp_path: Path, host: str) -> None:
    left = {"pid": os.getpid(), "host": host, "since": "noon", "command": "c", "token": "t"}
    (tmp_path / "lock.json").write_text(json.dumps(left), encoding="utf-8")
    listener = Recorder()
    with ProjectLock(tmp_path, reporter=listener):
        assert "noon" in listener.warnings[0]
        assert host in listener.warnings[0]
    assert files(tmp_path) == ["project.lock"]


def test_many_at_once_are_let_in_one_by_one(tmp_path: Path) -> None:
    """Each process counts up a file, reading and writing it slowly."""
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


def test_where_the_folder_is_a_file(tmp_path: Path) -> None:
    (tmp_path / "cellgennet").write_text("x", encoding="utf-8")
    with pytest.raises(ProjectError, match="cannot be written"):
        ProjectLock(tmp_path / "cellgennet").acquire()


@pytest.mark.parametrize(
    ("code", "reason"),
    [
        (errno.EROFS, "cannot be written"),
        (errno.EACCES, "cannot be written"),
        (errno.ENOLCK, "file system without file locks"),
        (errno.ENOSYS, "file system without file locks"),
    ],
)
def test_where_nothing_can_be_locked(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, code: int, reason: str
) -> None:
    def fail(*_: object, **__: object) -> None:
        raise OSError(code, os.strerror(code))

    monkeypatch.setattr(filelock.FileLock, "acquire", fail)
    with pytest.raises(ProjectError, match=reason) as raised:
        ProjectLock(tmp_path).acquire()
    assert "\n" not in str(raised.value)


def test_a_full_disk_does_not_leave_the_project_locked(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object, **__: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with monkeypatch.context() as patch, pytest.raises(ProjectError, match="No space left"):
        patch.setattr(json, "dumps", fail)
        ProjectLock(tmp_path).acquire()
    with ProjectLock(tmp_path):
        pass
