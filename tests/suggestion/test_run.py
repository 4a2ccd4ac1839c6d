"""Suggestions for a project: where they are, that they repeat, and what they never touch."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import shapely

from cellgennet_qupath import api
from cellgennet_qupath.annotations.labels import Split
from cellgennet_qupath.annotations.reader import read_supervision
from cellgennet_qupath.bundle import Bundle
from cellgennet_qupath.core.config import ClassNames
from cellgennet_qupath.core.errors import UsageError
from cellgennet_qupath.geometry.rectangle import Rectangle
from cellgennet_qupath.qupath.files import FilesBackend
from cellgennet_qupath.qupath.formats.geojson import read_annotations
from cellgennet_qupath.suggestion.run import SuggestResult, evenly, unique
from tests.helpers import Recorder, invoke, project_hashes
from tests.projects import annotate, drawn_slide, feature, write_project
from tests.suggestion.test_choose import windows


@pytest.fixture
def project(sample_project: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(sample_project, tmp_path / "project"))


def suggested(
    project: Path, bundle: Bundle, reporter: Recorder | None = None, **options: object
) -> SuggestResult:
    with api.open_project(project, backend="files") as opened:
        return api.suggest(opened, bundle, reporter=reporter or Recorder(), threads=1, **options)  # type: ignore[arg-type]


def boxes(result: SuggestResult) -> list[tuple[str, tuple[int, ...]]]:
    return [(window.entry.id, tuple(window.suggestion.box)) for window in result.windows]


def test_suggestions_keep_clear_of_annotations_repeat_and_are_replaced(
    project: Path, untrained: Bundle
) -> None:
    before = project_hashes(project, times=True)
    first = suggested(project, untrained, count=6, size=128, seed=3)
    assert len(first.windows) == 6
    assert {window.rank for window in first.windows} == set(range(1, 7))
    assert boxes(suggested(project, untrained, count=6, size=128, seed=3)) == boxes(first)
    assert project_hashes(project, times=True) == before

    with FilesBackend(project) as opened:
        for entry in opened.entries:
            mine = [
                shapely.box(*window.suggestion.box) for window in first.windows if window.entry.id == entry.id
            ]
            found = read_supervision(opened, entry, ClassNames(), entry.size)
            taken = [*found.drawn[Split.TRAINING], *found.drawn[Split.VALIDATION], *found.ignored]
            assert (
                not shapely.intersects(np.array(mine)[:, None], np.array(taken)[None]).any() if mine else True
            )
            assert all(shapely.covers(shapely.box(0, 0, *(entry.size or ())), shape) for shape in mine)
            # 128 px of 0.25 µm.
            sides = {round(shapely.area(shape) ** 0.5 * (entry.mpp or (0,))[0]) for shape in mine}
            assert sides <= {32}
    last = suggested(project, untrained, count=1, size=128)
    files = sorted((project / "cellgennet" / "suggestions").glob("*.geojson"))
    assert [file.stem for file in files] == [last.windows[0].entry.id]
    (written,) = read_annotations(files[0])
    assert (written.path_class, written.locked) == ("Suggested", True)
    assert shapely.bounds(written.geometry).tolist() == list(last.windows[0].suggestion.box)
    assert last.page is not None
    assert last.page.is_file()


def test_a_suggestion_in_use_is_not_suggested_again(project: Path, untrained: Bundle) -> None:
    """The user changed its class to Training; nothing overlaps it, and the file of annotations stays."""
    first = suggested(project, untrained, count=4, size=128, images=["*slide3*"])
    place = project / "cellgennet" / "annotations"
    place.mkdir()
    (file,) = (project / "cellgennet" / "suggestions").glob("*.geojson")
    mine = place / file.name
    mine.write_text(file.read_text(encoding="utf-8").replace('"Suggested"', '"Training"'), encoding="utf-8")
    kept = mine.read_bytes()
    again = suggested(project, untrained, count=4, size=128, images=["*slide3*"])
    used, new = (
        shapely.box(*np.array([w.suggestion.box for w in one.windows], float).T) for one in (first, again)
    )
    assert shapely.area(shapely.intersection(used[:, None], new[None])).sum() == 0
    assert mine.read_bytes() == kept


def test_an_image_that_cannot_be_read_does_not_stop_the_others(
    project: Path, untrained: Bundle, capsys: pytest.CaptureFixture[str]
) -> None:
    slide = next((project / "slides").glob("slide1*"))
    slide.write_bytes(slide.read_bytes()[:100])
    code, out, err = invoke(
        capsys,
        "suggest",
        project,
        "-m",
        untrained.path,
        "--backend",
        "files",
        "-n",
        2,
        "--size",
        64,
        "--json",
    )
    assert code == 3
    document = json.loads(out)
    assert [image["status"] for image in document["images"]].count("failed") == 1
    assert "slide1" in err
    assert len(document["windows"]) == 2
    assert all(set(window) >= {"rank", "image", "box", "reason"} for window in document["windows"])


def test_too_little_tissue_is_said(project: Path, untrained: Bundle) -> None:
    said = Recorder()
    result = suggested(project, untrained, said, count=1000, size=1024, images=["*slide3*"])
    assert len(result.windows) < 10
    assert any(f"Only {len(result.windows)} of 1000 windows" in line for line in said.warnings)


def test_an_image_that_is_not_there_is_wrong_usage(project: Path, untrained: Bundle) -> None:
    with pytest.raises(UsageError, match="no image of the project"):
        suggested(project, untrained, images=["nowhere"])


def test_items_are_taken_evenly() -> None:
    a, b, c, d = (Rectangle(number, 0, 9, 9) for number in range(4))
    rows = [[a, b], [], [c, d]]
    assert evenly(rows, 3) == [[a, b], [], [c]]
    assert evenly(rows, 99) == rows


def test_a_window_of_two_blocks_is_looked_at_once() -> None:
    one = windows(images=2)
    twice = replace(one.take(np.r_[np.arange(len(one)), 5, 70]))
    assert unique(twice).boxes.tolist() == one.boxes.tolist()


def test_why_there_are_fewer_windows_than_asked_for(tmp_path: Path, untrained: Bundle) -> None:
    slides = [drawn_slide(tmp_path / "s.png", 0, 120, 120), drawn_slide(tmp_path / "m.png", 1, 200, 200)]
    for name, chosen, why in (
        ("small", slides[:1], "every image is smaller than a window (s.png; choose a smaller --size)"),
        ("both", slides, "found, and some images are smaller than a window (s.png;"),
        ("large", slides[1:], "no more tissue without annotations was found."),
        ("gone", [tmp_path / "gone.png"], "no image could be read"),
    ):
        listener = Recorder()
        suggested(write_project(tmp_path / name, chosen), untrained, listener, count=50)
        assert why in listener.warnings[-1]


def test_windows_reach_the_end_of_a_small_image(tmp_path: Path, untrained: Bundle) -> None:
    project = write_project(tmp_path / "p", [drawn_slide(tmp_path / "m.png", 1, 301, 299)])
    annotate(project, 1, [feature(shapely.box(0, 0, 301, 138), "Background")])
    result = suggested(project, untrained, count=50)
    assert max(box[3] for _, box in boxes(result)) >= 298
