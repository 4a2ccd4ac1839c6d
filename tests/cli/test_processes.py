"""Commands as processes: interrupted at work, and with a scheduler that is not there."""

from __future__ import annotations

import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from cellgennet_qupath.bundle import Bundle
from tests.helpers import invoke, messages
from tests.projects import annotate, drawn_slide, outlined, write_project

SLOW = """
import sys, time
from cellgennet_qupath import cli
from cellgennet_qupath.segmentation import checkpoint
from cellgennet_qupath.training import student
def slowly(real):
    def work(*arguments, **options):
        time.sleep(0.2)
        return real(*arguments, **options)
    return work
checkpoint.TileFiles.__setitem__ = slowly(checkpoint.TileFiles.__setitem__)
student.StudentTrainer.save_checkpoint = slowly(student.StudentTrainer.save_checkpoint)
cli.main(sys.argv[1:])
"""
"""The command line with work that takes its time wherever it is saved."""

STUCK = """
import sys, time
from cellgennet_qupath import cli
from cellgennet_qupath.segmentation import slide
from cellgennet_qupath.training import student_stage
def stuck_after(turns, real):
    def work(*arguments, **options):
        global left
        left -= 1
        if left < 0:
            time.sleep(3600)
        return real(*arguments, **options)
    left = turns
    globals()["left"] = turns
    return work
slide.find_nuclei = stuck_after(3, slide.find_nuclei)
student_stage._batches = stuck_after(3, student_stage._batches)
cli.main(sys.argv[1:])
"""
"""The command line with a step in another thread that takes an hour."""

SETTINGS = (
    "student: {architecture: unet, width: 4, levels: 2, epochs: 500, steps_per_epoch: 1, patch: 64}\n"
    "loss: {distillation: 0.0}\nthreads: 1\n"
)


@pytest.fixture
def project(tmp_path: Path) -> Path:
    folder = write_project(tmp_path / "p", [drawn_slide(tmp_path / "a.png", 0, 640, 640)], 0.25)
    annotate(folder, 1, outlined(0, 5, 5, 630, "Training", 640))
    (tmp_path / "c.yaml").write_text(SETTINGS, encoding="utf-8")
    return folder


def commands(project: Path, bundle: Bundle) -> dict[str, tuple[list[object], str]]:
    """A command, and what is on the disk once it is at work."""
    segment = ["segment", project, "-m", bundle.path, "--tile", 128, "--threads", 1]
    train = [
        "train",
        project,
        "-o",
        project.parent / "m.cgn",
        "-c",
        project.parent / "c.yaml",
        "--init",
        "none",
    ]
    return {
        "segment": (segment, "runs/segment-*/1/tile_*"),
        "train": (train, "runs/train-m/state/*"),
    }


@pytest.mark.skipif(sys.platform == "win32", reason="sends POSIX signals")
@pytest.mark.parametrize("times", [1, 2])
@pytest.mark.parametrize("command", ["segment", "train"])
def test_interrupted_at_work(
    project: Path, untrained: Bundle, command: str, times: int, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments, sign = commands(project, untrained)[command]
    process = subprocess.Popen(
        [sys.executable, "-c", SLOW, *map(str, arguments), "--backend", "files"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        # A process started in the background of a script inherits that Ctrl-C is ignored.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),
    )
    while not list((project / "cellgennet").glob(sign)) and process.poll() is None:
        time.sleep(0.05)
    for _ in range(times):
        process.send_signal(signal.SIGINT)
        time.sleep(0.02)
    out, err = process.communicate(timeout=120)
    # A second one may reach Python while it is ending by itself; a shell calls both 130.
    assert process.returncode in ((130,) if times == 1 else (130, -signal.SIGINT)), err
    assert out == ""
    assert "Traceback" not in err and "nternal" not in err
    assert not list(project.parent.rglob("*.part"))
    if times == 1:
        assert messages(err)[-1].endswith(
            "Run the same command again to continue." if command == "segment" else "Continue with --resume."
        )
    if command == "segment":
        finished = len(list((project / "cellgennet").glob(sign)))
        assert finished > 0
        code, _, _ = invoke(capsys, *arguments, "--backend", "files", "--json")
        assert code == 0


@pytest.mark.skipif(sys.platform == "win32", reason="sends POSIX signals")
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
@pytest.mark.parametrize("command", ["segment", "train"])
def test_stopped_while_a_step_takes_an_hour(
    project: Path, untrained: Bundle, command: str, number: signal.Signals, capsys: pytest.CaptureFixture[str]
) -> None:
    """As Ctrl-C does, and QuPath where its user stops a script."""
    arguments, sign = commands(project, untrained)[command]
    process = subprocess.Popen(
        [sys.executable, "-c", STUCK, *map(str, arguments), "--backend", "files"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),
    )
    record = project / "cellgennet" / "lock.json"
    while not list((project / "cellgennet").glob(sign)) and process.poll() is None:
        time.sleep(0.05)
    assert record.is_file()
    begin = time.monotonic()
    process.send_signal(number)
    out, err = process.communicate(timeout=120)
    assert time.monotonic() - begin < 30
    assert (process.returncode, out) == (130, ""), err
    stopped = [line for line in messages(err) if "stopped" in line]
    assert len(stopped) == 1
    assert "Traceback" not in err and "Error" not in err
    assert not record.exists()
    assert not list(project.parent.rglob("*.part"))
    if command == "segment":
        code, _, err = invoke(capsys, *arguments, "--backend", "files", "--json")
        assert code == 0
        assert "did not finish" not in err


def closed_port() -> str:
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return f"127.0.0.1:{one.getsockname()[1]}"


@pytest.mark.parametrize("address", [closed_port, lambda: "nowhere.invalid:8786", lambda: "not an address"])
def test_a_scheduler_that_is_not_there_is_one_line(
    project: Path,
    untrained: Bundle,
    address: Callable[[], str],
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    pytest.importorskip("distributed")
    monkeypatch.setattr("cellgennet_qupath.segmentation.cluster._PATIENCE", 1.0)
    words = ["segment", project, "-m", untrained.path, "--backend", "files", "--json", "--dask", address()]
    code, out, err = invoke(capsys, *words)
    (line,) = [line for line in messages(err) if line.startswith("Error: ")]
    assert (code, out) == (2, "")
    assert "no scheduler answers there" in line
    assert "Traceback" not in err
