"""``segment FOLDER -o OUT``: nuclei, table and page without a project, with the rules of one."""

from __future__ import annotations

import json
from pathlib import Path

import pandas as pd
import pytest

from cellgennet_qupath.bundle import Bundle
from cellgennet_qupath.cli import run

from ..helpers import invoke
from ..projects import drawn_slide, write_project


@pytest.fixture
def slides(tmp_path: Path) -> Path:
    """Three images, two of one name, and a file that is none."""
    folder = tmp_path / "my slides"
    for number, name in enumerate(("a.png", "b.png", "more/a.png")):
        drawn_slide(folder / name, seed=number)
    (folder / "notes.txt").write_text("x", encoding="utf-8")
    return folder


def test_nuclei_table_and_page_in_one_command(
    slides: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out_folder = tmp_path / "results"
    line = ("segment", slides, "-o", out_folder, "-m", "pretrained", "--mpp", 0.4)
    code, out, err = invoke(capsys, *line)
    assert code == 0
    assert "3 of 3 images done." in out
    assert f"Table: {out_folder / 'nuclei.csv'}" in out
    assert f"Page: {out_folder / 'segment.html'}" in out
    assert "Passed over: notes.txt (not an image)." in err
    assert "Next: open an image in QuPath" in err
    files = sorted(file.name for file in out_folder.glob("*.geojson"))
    assert files == ["a.geojson", "b.geojson", "more_a.png.geojson"]
    numbers = [len(json.loads((out_folder / name).read_text("utf-8"))["features"]) for name in files]
    table = pd.read_csv(out_folder / "nuclei.csv")
    assert set(table["Image"]) == {"a.png", "b.png", "more/a.png"}
    assert sum(numbers) == len(table) > 0
    assert "Area µm^2" in table.columns
    assert "Hematoxylin: Mean" in table.columns
    assert "more/a.png" in (out_folder / "segment.html").read_text(encoding="utf-8")
    # The same command again does nothing, and says so.
    code, out, _ = invoke(capsys, *line)
    assert (code, out.count("unchanged")) == (0, 3)
    # What works on a project works on the results.
    code, out, _ = invoke(capsys, "export", out_folder, "-o", tmp_path / "t.parquet")
    assert (code, out) == (0, f"{len(table)} nuclei: {tmp_path / 't.parquet'}\n")
    code, out, _ = invoke(capsys, "inspect", out_folder, "--json")
    assert [(i["name"], i["problem"]) for i in json.loads(out)["images"]] == [
        ("a.png", None), ("b.png", None), ("more/a.png", None),
    ]  # fmt: skip


def test_what_a_run_replaced_comes_back_into_the_table(
    slides: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    line = ("segment", slides / "a.png", "-o", tmp_path / "r", "--mpp", 0.4)
    assert invoke(capsys, *line)[0] == 0
    before = (tmp_path / "r" / "nuclei.csv").read_bytes()
    assert invoke(capsys, *line, "--threshold", 1)[0] == 0
    assert not (tmp_path / "r" / "nuclei.csv").exists()
    code, out, _ = invoke(capsys, "restore", tmp_path / "r", "--image", "a.png")
    assert (code, "1 images restored." in out) == (0, True)
    assert (tmp_path / "r" / "nuclei.csv").read_bytes() == before


def test_one_document_of_json(slides: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code, out, _ = invoke(
        capsys, "segment", slides / "b.png", slides, "-o", tmp_path / "r", "--mpp", 0.4,
        "--image", "*a.png", "--json",
    )  # fmt: skip
    document = json.loads(out)
    assert code == 0
    assert [image["name"] for image in document["images"]] == ["a.png", "more/a.png"]
    assert document["passed_over"] == [{"path": str(slides / "notes.txt"), "reason": "not an image"}]
    assert (document["backend"], document["output"]) == ("images", str(tmp_path / "r"))
    assert Path(document["table"]).is_file()
    assert Path(document["page"]).is_file()


def test_a_reason_for_which_all_fail_is_printed_once(
    slides: Path, tmp_path: Path, untrained: Bundle, capsys: pytest.CaptureFixture[str]
) -> None:
    code, out, err = invoke(capsys, "segment", slides, "-o", tmp_path / "r", "-m", untrained.path)
    assert code == 3
    assert (out + err).count("has no pixel size") == 1
    assert "a.png: FAILED: has no pixel size" in out
    assert "b.png: FAILED, like a.png\nmore/a.png: FAILED, like a.png\n0 of 3 images done, 3 failed." in out
    assert "Table" not in out
    # The missing number is all that has to be added.
    assert (
        run(["segment", str(slides), "-o", str(tmp_path / "r"), "-m", str(untrained.path), "--mpp", "1"]) == 0
    )


def test_a_broken_image_does_not_cost_the_others(
    slides: Path, tmp_path: Path, untrained: Bundle, capsys: pytest.CaptureFixture[str]
) -> None:
    broken = slides / "b.png"
    broken.write_bytes(broken.read_bytes()[:100])
    code, out, _ = invoke(
        capsys, "segment", slides / "a.png", broken, "-o", tmp_path / "r", "-m", untrained.path, "--mpp", 0.5
    )
    assert code == 3
    assert "b.png: FAILED: " in out
    assert "1 of 2 images done, 1 failed." in out
    assert (tmp_path / "r" / "a.geojson").is_file()


@pytest.mark.parametrize(
    ("more", "words"),
    [
        (["--within", "Tumour"], "--within is for projects"),
        (["--existing", "keep"], "--existing is for projects"),
        (["--backend", "qupath"], "--backend is for projects"),
    ],
)
def test_options_of_projects_are_refused(
    slides: Path, tmp_path: Path, more: list[str], words: str, capsys: pytest.CaptureFixture[str]
) -> None:
    code, _, err = invoke(capsys, "segment", slides, "-o", tmp_path / "r", *more)
    assert code == 2
    assert words in err
    assert not (tmp_path / "r").exists()


def test_projects_and_images_are_told_apart(
    slides: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for place in (slides, slides / "a.png"):
        code, _, err = invoke(capsys, "segment", place)
        assert code == 1
        assert "is not a QuPath project" in err
        assert "for images without a project, add -o RESULTS" in err
    assert invoke(capsys, "segment", slides / "a.png", slides / "b.png")[0] == 2
    project = write_project(tmp_path / "p", [slides / "a.png"])
    code, _, err = invoke(capsys, "segment", project, "-o", tmp_path / "r")
    assert (code, "is a QuPath project" in err) == (2, True)
    code, _, err = invoke(capsys, "segment", slides, "-o", project)
    assert (code, "is a QuPath project" in err) == (1, True)


def test_what_needs_a_project_says_so_before_any_work(
    slides: Path, tmp_path: Path, untrained: Bundle, capsys: pytest.CaptureFixture[str]
) -> None:
    results = tmp_path / "r"
    invoke(capsys, "segment", slides, "-o", results, "-m", untrained.path, "--mpp", 0.5)
    code, _, err = invoke(capsys, "suggest", results)
    assert code == 1
    assert f"Make one: cellgennet project create {results} -o PROJECT" in err
    code, _, err = invoke(capsys, "train", results, "-o", tmp_path / "m.cgn")
    assert (code, "no annotation to train on" in err) == (1, True)
