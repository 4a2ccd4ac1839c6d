"""Commands as a user meets them: results on stdout, one line for a mistake, the right exit code."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from cellgennet_qupath.cli import COMMANDS

from ..helpers import invoke, messages


@pytest.fixture
def project(sample_project: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(sample_project, tmp_path / "projekt äöü 1"))


def one_line(err: str) -> str:
    lines = [line for line in err.splitlines() if line]
    assert len(lines) == 1, err
    return lines[0]


def test_help_names_every_command(capsys: pytest.CaptureFixture[str]) -> None:
    code, out, _ = invoke(capsys, "--help")
    assert code == 0
    assert all(name in out for name in COMMANDS)


@pytest.mark.parametrize("name", list(COMMANDS))
def test_every_command_has_a_help_page(capsys: pytest.CaptureFixture[str], name: str) -> None:
    code, out, _ = invoke(capsys, name, "--help")
    assert code == 0
    assert "Usage" in out


def test_doctor(capsys: pytest.CaptureFixture[str]) -> None:
    code, out, _ = invoke(capsys, "doctor", "--json")
    document = json.loads(out)
    assert code == 0
    assert document["ready"] is True
    assert {check["what"] for check in document["checks"]} >= {"Python", "QuPath", "torch", "sample project"}
    assert invoke(capsys, "doctor")[0] == 0


def test_inspect_prints_one_document_and_nothing_else(
    capsys: pytest.CaptureFixture[str], project: Path
) -> None:
    code, out, err = invoke(capsys, "inspect", project, "--json", "--backend", "files")
    document = json.loads(out)
    assert (code, messages(err)) == (0, [])
    assert document["backend"] == "files"
    assert set(document["images"][0]) >= {
        "id", "name", "slide", "width", "height", "mpp", "annotations", "detections", "regions",
    }  # fmt: skip
    assert all(image["problem"] is None for image in document["images"])
    assert sum(image["trainable"]["nuclei"] for image in document["images"]) > 0


def test_inspect_prints_a_table(capsys: pytest.CaptureFixture[str], project: Path) -> None:
    code, out, _ = invoke(capsys, "inspect", project, "--backend", "files")
    assert code == 0
    assert "Training" in out
    assert "To train on" in out


def test_inspect_reports_a_missing_slide(capsys: pytest.CaptureFixture[str], project: Path) -> None:
    slide = sorted((project / "slides").iterdir())[0]
    slide.unlink()
    _, out, _ = invoke(capsys, "inspect", project, "--json", "--backend", "files")
    problems = [image["problem"] for image in json.loads(out)["images"]]
    assert sum(problem is not None for problem in problems) == 1
    assert any("--slides" in problem for problem in problems if problem)


@pytest.mark.parametrize("version", ["v0.5", "v0.7"])
def test_inspect_counts_a_real_project_as_qupath_does(
    capsys: pytest.CaptureFixture[str], shared: Path, version: str
) -> None:
    code, out, _ = invoke(
        capsys, "inspect", shared / "qupath" / f"project_{version}", "--json", "--backend", "files"
    )
    summary = json.loads(
        (shared / "qupath" / f"expected_{version}" / "summary.json").read_text(encoding="utf-8")
    )["entries"]
    images = json.loads(out)["images"]
    assert code == 0
    assert [image["problem"] for image in images] == [None] * 9
    assert {image["id"]: image["detections"] for image in images} == {
        name: entry["detections"] for name, entry in summary.items()
    }
    assert {image["id"]: sum(image["annotations"].values()) for image in images} == {
        name: entry["annotations"] for name, entry in summary.items()
    }


@pytest.mark.parametrize("command", ["inspect", "train", "export"])
def test_a_missing_project_is_one_line(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, command: str
) -> None:
    more = {"train": ["-o", tmp_path / "m.cgn"], "export": ["-o", tmp_path / "t.csv"]}.get(command, [])
    code, out, err = invoke(capsys, command, tmp_path / "nowhere", *more)
    assert code == 1
    assert out == ""
    assert "nowhere" in one_line(err)


def test_wrong_usage(capsys: pytest.CaptureFixture[str], project: Path) -> None:
    assert invoke(capsys, "segment", project, "--tile", "many")[0] == 2
    assert invoke(capsys, "fly")[0] == 2
    assert invoke(capsys, "train", project)[0] == 2


def test_an_unknown_setting_is_named(
    capsys: pytest.CaptureFixture[str], project: Path, tmp_path: Path
) -> None:
    config = tmp_path / "c.yaml"
    config.write_text("student:\n  widht: 3\n", encoding="utf-8")
    code, _, err = invoke(capsys, "train", project, "-o", tmp_path / "m.cgn", "-c", config)
    assert code == 1
    assert "student.widht" in one_line(err)


def test_a_project_without_annotations_cannot_be_trained_on(
    capsys: pytest.CaptureFixture[str], project: Path, tmp_path: Path
) -> None:
    for data in (project / "data").iterdir():
        shutil.rmtree(data)
    code, _, err = invoke(capsys, "train", project, "-o", tmp_path / "m.cgn", "--backend", "files")
    assert code == 1
    assert "no annotation to train on" in err.splitlines()[-1]


def test_a_missing_bundle_and_a_bundle_with_a_wrong_checksum(
    capsys: pytest.CaptureFixture[str], project: Path, tmp_path: Path
) -> None:
    code, _, err = invoke(capsys, "segment", project, "-m", tmp_path / "none.cgn")
    assert code == 1
    assert "none.cgn" in one_line(err)
    bundle = tmp_path / "m.cgn"
    bundle.mkdir()
    (bundle / "student.safetensors").write_bytes(b"x")
    (bundle / "model.yaml").write_text(
        "name: m\ncreated: now\nchecksums:\n  student.safetensors: abc\n", encoding="utf-8"
    )
    code, _, err = invoke(capsys, "segment", project, "-m", bundle)
    assert code == 1
    assert "wrong checksum" in one_line(err)


def test_an_interruption_has_its_own_code(
    capsys: pytest.CaptureFixture[str], project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def stop(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("cellgennet_qupath.annotations.overview.describe_project", stop)
    assert invoke(capsys, "inspect", project, "--backend", "files")[0] == 130


def test_a_bug_is_reported_as_one(
    capsys: pytest.CaptureFixture[str], project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> None:
        raise RuntimeError("surprise")

    monkeypatch.setattr("cellgennet_qupath.annotations.overview.describe_project", fail)
    code, _, err = invoke(capsys, "inspect", project, "--backend", "files")
    assert code == 1
    assert "internal error (RuntimeError: surprise)" in one_line(err)
    _, _, err = invoke(capsys, "inspect", project, "--backend", "files", "--debug")
    assert "Traceback" in err


def test_the_demo_refuses_a_folder_with_other_files(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    (tmp_path / "thesis.txt").write_text("mine", encoding="utf-8")
    code, _, err = invoke(capsys, "demo", tmp_path)
    assert code == 2
    assert "not empty" in one_line(err)
    assert (tmp_path / "thesis.txt").exists()
