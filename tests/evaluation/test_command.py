"""``cellgennet evaluate`` from the command line."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from cellgennet_qupath.bundle import Bundle
from cellgennet_qupath.report.evaluation_files import REPORT
from tests.helpers import invoke

Writer = Callable[[Path, int], Path]


def evaluate(capsys: pytest.CaptureFixture[str], *arguments: object) -> tuple[int, str, str]:
    return invoke(capsys, "evaluate", *arguments)


def test_a_folder_and_results_of_other_tools(
    tmp_path: Path, labelled_folder: Writer, untrained: Bundle, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = labelled_folder(tmp_path / "d", 2)
    code, out, _ = evaluate(
        capsys, folder, "-m", untrained.path, "-m", untrained.path, "-o", tmp_path / "r", "--mpp", 0.5,
        "--predictions", f"expert={folder / 'labels'}", "--json", "--threads", 1,
    )  # fmt: skip
    document = json.loads(out)
    assert code == 0
    names = [row["method"] for row in document["methods"]]
    assert names == ["untrained", "untrained (2)", "expert", "classical"]
    by_name = {row["method"]: row for row in document["methods"]}
    assert by_name["expert"]["pq"] == 1
    assert by_name["untrained"]["pq"] == by_name["untrained (2)"]["pq"]
    assert by_name["classical"]["f1@0.5"] > 0.9
    assert Path(document["report"]) == tmp_path / "r" / REPORT
    assert (tmp_path / "r" / REPORT).is_file()


@pytest.mark.parametrize("backend", ["files"])
def test_the_sample_project(
    tmp_path: Path,
    sample_project: Path,
    untrained: Bundle,
    capsys: pytest.CaptureFixture[str],
    backend: str,
) -> None:
    project = Path(shutil.copytree(sample_project, tmp_path / "p"))
    code, out, err = evaluate(
        capsys, project, "-m", untrained.path, "-o", tmp_path / "r", "--backend", backend, "--threads", 1
    )
    assert code == 0, err
    assert "not good enough" in out
    assert f"Report: {tmp_path / 'r' / REPORT}" in out
    text = (tmp_path / "r" / REPORT).read_text(encoding="utf-8")
    assert "its thresholds were chosen on these Validation regions" in text


def test_mistakes_are_reported_in_one_line(
    tmp_path: Path, labelled_folder: Writer, untrained: Bundle, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = labelled_folder(tmp_path / "d", 1)
    code, _, err = evaluate(capsys, folder, "-m", untrained.path, "-o", folder)
    assert (code, "Choose another folder" in err) == (2, True)
    code, _, err = evaluate(capsys, folder, "-m", tmp_path / "no.cgn", "-o", tmp_path / "r")
    assert (code, "no such model bundle" in err) == (1, True)
    code, _, err = evaluate(capsys, folder, "-m", untrained.path, "-o", tmp_path / "r", "--predictions", "x")
    assert (code, "NAME=FOLDER" in err) == (2, True)
    code, _, err = evaluate(capsys, tmp_path / "d" / "images", "-m", untrained.path, "-o", tmp_path / "r")
    assert (code, "a folder with images/ and labels/" in err) == (1, True)
    code, _, err = evaluate(capsys, folder, "-m", untrained.path, "-o", tmp_path / "r")
    assert (code, "--mpp" in err) == (1, True)
    shutil.copyfile(folder / "labels" / "field 0.png", tmp_path / "field 1.png")
    code, _, err = evaluate(
        capsys,
        folder,
        "-m",
        untrained.path,
        "-o",
        tmp_path / "r",
        "--predictions",
        f"x={tmp_path}",
        "--mpp",
        1,
    )
    assert (code, "no result for the image field 0.png" in err) == (1, True)
    assert "Traceback" not in err
    assert not (tmp_path / "r").exists()


def test_without_a_model_the_pretrained_one_is_used(
    tmp_path: Path,
    labelled_folder: Writer,
    untrained: Bundle,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    folder = labelled_folder(tmp_path / "d", 1)
    monkeypatch.setattr("cellgennet_qupath.bundle.PRETRAINED", tmp_path / "pretrained")
    code, _, err = evaluate(capsys, folder, "-o", tmp_path / "r")
    assert (code, "name it with -m" in err) == (1, True)
    shutil.copytree(untrained.path, tmp_path / "pretrained" / "nuclei-he.cgn")
    code, out, _ = evaluate(capsys, folder, "-o", tmp_path / "r", "--mpp", 0.5, "--no-classical", "--json")
    assert code == 0
    assert [row["method"] for row in json.loads(out)["methods"]] == ["untrained"]
