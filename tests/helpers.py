"""Helpers that several test modules use."""

from __future__ import annotations

import csv
import hashlib
import io
import os
import re
import subprocess
from pathlib import Path
from typing import Any

import pytest
import shapely

from cellgennet_qupath.cli import run
from cellgennet_qupath.core.progress import Silent
from cellgennet_qupath.qupath.project import Annotation


class Recorder(Silent):
    """A reporter that keeps all messages (``lines``) and, of these, the warnings."""

    def __init__(self) -> None:
        self.lines: list[str] = []
        self.warnings: list[str] = []

    def say(self, line: str) -> None:
        self.lines.append(line)

    def warn(self, line: str) -> None:
        self.lines.append(line)
        self.warnings.append(line)


def invoke(capsys: pytest.CaptureFixture[str], *arguments: object) -> tuple[int, str, str]:
    """Run ``cellgennet`` with these arguments: exit code, standard output, standard error."""
    code = run([str(argument) for argument in arguments])
    captured = capsys.readouterr()
    return code, captured.out, captured.err


def messages(err: str) -> list[str]:
    """The lines of standard error without those of progress, which come by the clock."""
    return [line for line in err.splitlines() if not re.match(r"[a-z ]+: [\d.]+( of [\d.]+)? \w+", line)]


def project_hashes(project: Path, times: bool = False) -> dict[str, str]:
    """SHA-256 of each file of a project outside its ``cellgennet/`` folder, with ``times`` also its mtime."""
    files = [path for path in sorted(project.rglob("*")) if path.is_file()]
    return {
        path.relative_to(project).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest()
        + (f" {path.stat().st_mtime_ns}" if times else "")
        for path in files
        if path.relative_to(project).parts[0] != "cellgennet"
    }


def csv_rows(file: Path) -> list[dict[str, str]]:
    """The rows of a CSV file, by column name."""
    return list(csv.DictReader(io.StringIO(file.read_text(encoding="utf-8"))))


def annotation(geometry: shapely.Geometry, path_class: str = "", **more: Any) -> Annotation:
    """An annotation with this outline and class."""
    return Annotation(id="", geometry=geometry, roi="Polygon", path_class=path_class, **more)


def run_tools(script: str, *arguments: object, folder: Path | None = None) -> str:
    """Run Python code where the tools of docs/tools.md are installed; returns what it prints.

    The interpreter is named by CELLGENNET_TOOLS_PYTHON, as some tools need an environment of their own. Skips
    the test without it, or if a library that the code imports is missing there.
    """
    interpreter = os.environ.get("CELLGENNET_TOOLS_PYTHON")
    if not interpreter:
        pytest.skip("CELLGENNET_TOOLS_PYTHON names no interpreter with the tools of docs/tools.md")
    done = subprocess.run(
        [interpreter, "-X", "utf8", "-W", "ignore", "-c", script, *map(str, arguments)],
        cwd=folder,
        capture_output=True,
        text=True,
        encoding="utf-8",
        timeout=500,
        env={name: value for name, value in os.environ.items() if name != "PYTHONPATH"},
    )
    missing = re.search(r"ModuleNotFoundError: No module named '([\w.]+)'", done.stderr)
    if missing:
        pytest.skip(f"{missing[1]} is not installed in {interpreter}")
    assert done.returncode == 0, done.stderr
    return done.stdout
