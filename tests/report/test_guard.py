"""Pages stand behind one guard: a page that fails costs neither results nor JSON nor exit code."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import pytest

from cellgennet_qupath.bundle import Bundle
from cellgennet_qupath.core.errors import ExportError
from cellgennet_qupath.evaluation.run import Evaluation
from cellgennet_qupath.report import evaluation_page, segmentation_page
from cellgennet_qupath.report.evaluation_page import write_report
from cellgennet_qupath.report.guard import guarded
from cellgennet_qupath.report.guarded_pages import training_page
from tests.helpers import Recorder, invoke


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (ExportError("p.html", "cannot be written (No space left on device)"), "p.html: cannot be written"),
        (
            ValueError("operands could not be\nbroadcast together"),
            "ValueError: operands could not be broadcast",
        ),
        (cv2.error("inv_scale_x > 0"), "error: inv_scale_x > 0"),
        (MemoryError(), "memory: there is not enough"),
        (KeyError("7"), "KeyError: '7'"),
        (RecursionError(), "nested too deeply"),
        (UnicodeEncodeError("utf-8", "\ud800", 0, 1, "surrogates not allowed"), "surrogates not allowed"),
    ],
    ids=lambda value: type(value).__name__,
)
def test_every_error_becomes_one_warning(tmp_path: Path, error: Exception, words: str) -> None:
    def write() -> Path:
        raise error

    listener = Recorder()
    assert guarded(write, listener, "report page") is None
    assert len(listener.warnings) == 1
    assert listener.warnings[0].startswith("No report page was written: ")
    assert words in listener.warnings[0]
    assert "\n" not in listener.warnings[0]
    assert guarded(lambda: tmp_path, listener) == tmp_path


def test_ctrl_c_is_not_an_error_of_the_page() -> None:
    def write() -> Path:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        guarded(write, Recorder())


def _broken(*arguments: object, **options: object) -> Any:
    raise ValueError("operands could not be broadcast together")


@pytest.mark.parametrize("part", ["plots.box_plots", "plots.strata", "picture", "write_page"])
def test_tables_and_json_of_an_evaluation_are_there_without_its_page(
    tmp_path: Path, evaluation: Evaluation, part: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "r"
    write_report(folder, evaluation, "earlier")
    monkeypatch.setattr(f"{evaluation_page.__name__}.{part}", _broken)
    listener = Recorder()
    document = write_report(folder, evaluation, "discs", reporter=listener)
    assert listener.warnings == [
        "No report page was written: ValueError: operands could not be broadcast together."
    ]
    assert json.loads((folder / "report.json").read_text(encoding="utf-8")) == document
    assert document["subject"] == "discs"
    assert (folder / "per_image.csv").is_file()
    assert not (folder / "report.html").exists(), "the page of an earlier report would show other numbers"
    write_report(folder, evaluation, "a folder without a page is that of a report")


def test_evaluate_without_its_page(
    tmp_path: Path,
    labelled_folder: Callable[[Path, int], Path],
    untrained: Bundle,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(f"{evaluation_page.__name__}.write_page", _broken)
    arguments = [labelled_folder(tmp_path / "d", 1), "-m", untrained.path, "-o", tmp_path / "r", "--mpp", 0.5]
    code, out, err = invoke(capsys, "evaluate", *arguments, "--no-classical", "--json")
    document = json.loads(out)
    assert (code, document["report"]) == (0, None)
    assert len(document["images"]) == 1
    assert "Warning: No report page was written" in err
    code, out, _ = invoke(capsys, "evaluate", *arguments, "--no-classical")
    assert code == 0
    assert f"Report: {tmp_path / 'r'}\n" in out


@pytest.mark.parametrize("part", ["write_page", "jpeg", "thumbnail_grid"])
def test_segment_without_its_page(
    tmp_path: Path,
    sample_project: Path,
    untrained: Bundle,
    part: str,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(f"{segmentation_page.__name__}.{part}", _broken)
    project = Path(shutil.copytree(sample_project, tmp_path / "p"))
    code, out, err = invoke(
        capsys, "segment", project, "-m", untrained.path, "--backend", "files", "--image", "slide3*", "--json"
    )
    document = json.loads(out)
    assert code == 0
    assert [image["status"] for image in document["images"]] == ["done"]
    if part == "write_page":
        assert document["page"] is None
        assert "Warning: No page was written: ValueError: operands" in err
    else:
        # One slide that cannot be drawn does not cost the page, which gives the reason.
        text = Path(document["page"]).read_text(encoding="utf-8")
        assert "operands could not be broadcast" in text


def test_a_library_for_plots_that_cannot_be_imported(
    tmp_path: Path, evaluation: Evaluation, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(__import__("sys").modules, "cellgennet_qupath.report.training_page", None)
    listener = Recorder()
    write = training_page(listener)
    assert write(None, tmp_path / "training.html") is None  # type: ignore[arg-type]
    assert listener.warnings[0].startswith("No training page was written: ")
