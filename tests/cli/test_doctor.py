"""``doctor``: what is installed, what each command still needs, and a report without private data."""

from __future__ import annotations

import getpass
import json
import platform
import sys
import tomllib
from importlib import util
from pathlib import Path

import pytest

from cellgennet_qupath import __version__
from cellgennet_qupath.cli import run
from cellgennet_qupath.core import extras

ROOT = Path(__file__).resolve().parents[2]


def output(capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, str]:
    code = run(["doctor", *arguments])
    return code, capsys.readouterr().out


def without(monkeypatch: pytest.MonkeyPatch, *modules: str) -> None:
    """Let these modules look as if they were not installed."""
    real = util.find_spec
    monkeypatch.setattr(util, "find_spec", lambda name: None if name in modules else real(name))


def test_a_missing_extra_is_a_note_with_its_install_line(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    without(monkeypatch, "stardist")
    code, out = output(capsys)
    assert code == 0
    assert "[note] train --init none, teachers: not installed: stardist" in out
    assert 'pip install "cellgennet-qupath[train]"' in out
    assert "[ok  ] inspect, segment, export, evaluate, suggest, train, demo: ready" in out


def test_without_a_needed_package_the_exit_code_is_1(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    without(monkeypatch, "openvino")
    code, out = output(capsys, "--json")
    document = json.loads(out)
    assert code == 1
    assert document["ready"] is False
    assert document["commands"][0] == {
        "commands": "inspect, segment, export, evaluate, suggest, train, demo",
        "extra": "",
        "ready": False,
        "missing": ["openvino"],
        "remedy": "pip install cellgennet-qupath",
    }
    assert "[MISS] openvino: not installed" in output(capsys)[1]


def test_the_document_keeps_its_keys(capsys: pytest.CaptureFixture[str]) -> None:
    document = json.loads(output(capsys, "--json")[1])
    assert set(document) == {"ready", "version", "checks", "commands"}
    assert all(set(check) == {"what", "status", "found", "remedy"} for check in document["checks"])
    assert [row["extra"] for row in document["commands"]] == ["", *extras.EXTRAS]


def test_the_report_has_versions_and_nothing_private(capsys: pytest.CaptureFixture[str]) -> None:
    code, out = output(capsys, "--report")
    assert code == 0
    assert f"cellgennet_qupath: {__version__}" in out
    assert platform.python_version() in out
    assert "torch " in out
    for private in (str(Path.home()), sys.prefix, str(ROOT), platform.node()):
        assert private not in out
    assert getpass.getuser() not in out.split()


def test_report_and_json_exclude_each_other(capsys: pytest.CaptureFixture[str]) -> None:
    assert output(capsys, "--report", "--json")[0] == 2


def test_the_extras_are_those_of_the_package() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    declared = project["optional-dependencies"]
    assert set(extras.EXTRAS) == set(declared) - {"all", "docs", "dev"}
    assert declared["all"] == [f"cellgennet-qupath[{','.join(extras.EXTRAS)}]"]


def test_all_installs_every_library_that_the_project_builds_on() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    every = [
        *project["dependencies"],
        *(r for e in extras.EXTRAS for r in project["optional-dependencies"][e]),
    ]
    names = {requirement.split(">")[0].split("[")[0] for requirement in every}
    assert names >= {
        "paquo", "torch", "stardist", "tensorflow", "shapely", "tiffslide", "numpy", "scikit-image", "click",
        "pyyaml",
    }  # fmt: skip
