"""A run that was killed or interrupted resumes and ends with the same result."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import cv2
import numpy as np
import pytest

from .fakes import draw

ROOT = Path(__file__).parents[2]


def start(folder: Path, seconds: float = 0.05) -> subprocess.Popen[str]:
    """A run that has started its first tile; each tile takes so many seconds."""
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    process = subprocess.Popen(
        [sys.executable, "-m", "tests.segmentation.killing", str(folder), str(seconds)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=environment,
    )
    assert process.stdout is not None
    process.stdout.readline()
    return process


def ended(process: subprocess.Popen[str]) -> tuple[int, str]:
    _, errors = process.communicate(timeout=120)
    return process.returncode, errors


def finished(folder: Path) -> set[str]:
    return {file.name for file in folder.glob("cellgennet/runs/*/1/tile_*.parquet")}


def slide(folder: Path) -> Path:
    folder.mkdir()
    generator = np.random.default_rng(7)
    discs = [
        (generator.uniform(0, 600), generator.uniform(0, 500), generator.uniform(5, 13)) for _ in range(150)
    ]
    assert cv2.imwrite(str(folder / "slide.png"), draw(600, 500, discs)[..., ::-1])
    return folder


@pytest.mark.slow
@pytest.mark.skipif(os.name == "nt", reason="Windows has no SIGKILL")
def test_killed_at_random_moments(tmp_path: Path) -> None:
    whole, killed = slide(tmp_path / "whole"), slide(tmp_path / "killed")
    process = start(whole)
    begin = time.monotonic()
    assert ended(process) == (0, "")
    duration = time.monotonic() - begin
    generator = np.random.default_rng()
    done: set[str] = set()
    interrupted = 0
    for _ in range(8):
        process = start(killed)
        time.sleep(generator.uniform(0, duration / 2))
        process.kill()
        interrupted += ended(process)[0] == -signal.SIGKILL
        assert done <= finished(killed) or (killed / "result.json").exists()
        done = finished(killed)
    assert interrupted
    assert ended(start(killed)) == (0, "")
    assert (killed / "result.json").read_bytes() == (whole / "result.json").read_bytes()
    assert not list(killed.rglob("*.part"))


@pytest.mark.skipif(os.name == "nt", reason="a console's Ctrl-C cannot be sent to one process alone")
def test_ctrl_c_ends_within_seconds_and_says_how_to_continue(tmp_path: Path) -> None:
    folder = slide(tmp_path / "one")
    process = start(folder, 0.3)
    while not finished(folder):
        assert process.poll() is None
        time.sleep(0.02)
    begin = time.monotonic()
    process.send_signal(signal.SIGINT)
    code, errors = ended(process)
    assert code == 130
    assert time.monotonic() - begin < 10
    assert errors.strip() == (
        "segment: stopped; 0 of 1 images are done, the next one in part. "
        "Run the same command again to continue."
    )
    kept = finished(folder)
    assert kept
    assert ended(start(folder))[0] == 0
