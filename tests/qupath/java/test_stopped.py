"""Ctrl-C, and a request to end, stop the work in order also where Java runs in the process."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from cellgennet_qupath.bundle import Bundle
from tests.cli.test_processes import SLOW
from tests.helpers import messages
from tests.qupath.backends import needs_qupath
from tests.qupath.in_qupath import copy_project

pytestmark = pytest.mark.qupath


@pytest.mark.skipif(sys.platform == "win32", reason="sends POSIX signals")
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_stopped_with_java_in_the_process(
    sample_project: Path, tmp_path: Path, untrained: Bundle, number: signal.Signals
) -> None:
    needs_qupath()
    project = tmp_path / "project"
    copy_project(sample_project, project)
    data = [file.read_bytes() for file in sorted(project.glob("data/*/data.qpdata"))]
    words = ["segment", project, "-m", untrained.path, "--backend", "qupath", "--tile", 128, "--threads", 1]
    process = subprocess.Popen(
        [sys.executable, "-c", SLOW, *map(str, words)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        # A process started in the background of a script inherits that Ctrl-C is ignored.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),
    )
    folder = project / "cellgennet"
    while not list(folder.glob("runs/segment-*/1/tile_*")) and process.poll() is None:
        time.sleep(0.05)
    process.send_signal(number)
    out, err = process.communicate()
    assert (process.returncode, out) == (130, ""), err
    assert messages(err)[-1].endswith(
        "0 of 4 images are done, the next one in part. Run the same command again to continue."
    )
    assert "Traceback" not in err
    assert not (folder / "lock.json").exists()
    assert [file.read_bytes() for file in sorted(project.glob("data/*/data.qpdata"))] == data
