"""Ids of images from standard input."""

from __future__ import annotations

import io
import json
import os
import shutil
import subprocess
import sys
import threading
from pathlib import Path

from cellgennet_qupath.cli.requests import requested_ids


def test_lines_come_without_blanks_until_the_end() -> None:
    assert list(requested_ids(io.BytesIO(b"1\n\n  22 \r\n3"))) == ["1", "22", "3"]
    assert list(requested_ids(io.BytesIO(b""))) == []


def test_they_come_while_the_input_is_open_and_end_without_a_request() -> None:
    reading, writing = os.pipe()
    with io.FileIO(reading) as source:
        ids = requested_ids(source, patience=0.2)
        os.write(writing, b"7\n")
        assert next(ids) == "7"
        assert list(ids) == []  # nobody asks any more, and nobody closed the pipe
        os.close(writing)


def test_a_program_segments_images_one_by_one(sample_project: Path, tmp_path: Path) -> None:
    project = tmp_path / "project"
    shutil.copytree(sample_project, project)
    command = [sys.executable, "-m", "cellgennet_qupath", "segment", str(project), "--backend", "files"]
    with subprocess.Popen(
        [*command, "--image-id", "-", "--json", "--threads", "1"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        encoding="utf-8",
    ) as tool:
        assert tool.stdin is not None
        assert tool.stdout is not None
        assert tool.stderr is not None
        drained = threading.Thread(target=tool.stderr.read)
        drained.start()
        for identifier in ("4", "3"):
            tool.stdin.write(identifier + "\n")
            tool.stdin.flush()
            told = json.loads(tool.stdout.readline())
            assert (told["id"], told["status"]) == (identifier, "done")
            assert told["detections"] > 0
            assert (project / "cellgennet" / "detections" / f"{identifier}.geojson.gz").is_file()
        tool.stdin.close()
        assert tool.wait() == 0
        drained.join()
    assert not (project / "cellgennet" / "detections" / "1.geojson.gz").exists()
    assert (project / "cellgennet" / "report" / "segment.html").is_file()
