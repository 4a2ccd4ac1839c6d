"""What is withheld from training: windows that are held out, and other images of the slide."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

import numpy as np
import pytest
import shapely
from hypothesis import given
from hypothesis import strategies as st

from cellgennet_qupath.annotations import same_slide
from cellgennet_qupath.annotations.same_slide import moved, same_slides
from cellgennet_qupath.core.progress import Silent
from cellgennet_qupath.qupath.project import ImageEntry
from cellgennet_qupath.slides.view import View
from cellgennet_qupath.training.data import SlideTile
from cellgennet_qupath.training.slide_windows import SlideWindow
from tests.helpers import Recorder, annotation

from .test_data import CONFIG, Folder, load, region


@pytest.mark.parametrize("background", [False, True])
def test_what_is_held_out_of_a_large_region_is_not_trained_on(tmp_path: Path, background: bool) -> None:
    discs = [shapely.Point(40 + 60 * i, 40 + 60 * j).buffer(9) for i in range(22) for j in range(4)]
    project = Folder(tmp_path, size=(1400, 300))
    project.add(annotation(shapely.box(5, 5, 1395, 295), "Training"), *map(annotation, discs))
    if background:
        project.add(*region(), annotation(shapely.box(700, 100, 900, 200), "Background"))
        project.drawn["1"].append(annotation(shapely.box(0, 0, 1400, 5), "Background"))
    data = load(project, CONFIG, None, Silent())
    (held,) = data.validation
    assert isinstance(held, SlideWindow)
    known = np.zeros((2, 1400, 1800), int)
    for row, windows in enumerate((data.training, data.validation)):
        for w in windows:
            if w.source == "slide 1":
                box = cast(SlideWindow, w).where.box
                known[row, box.y0 + 100 : box.y1 + 100, box.x0 + 100 : box.x1 + 100] += w.known
    assert known[1].max() == 1 and not (known[0] * known[1]).any(), "nothing is known to both"
    core = held.where.core
    assert not known[0, core.y0 + 100 : core.y1 + 100, core.x0 + 100 : core.x1 + 100].any()
    total = 1390 * 290 + background * 1400 * 5
    assert (known.sum(axis=0) > 0).sum() == total, "no label is lost"
    assert held.n_nuclei + sum(w.n_nuclei for w in data.training if w.source == "slide 1") >= len(discs) - 8
    usable = np.zeros((428, 1528), bool)
    for tile in cast(list[SlideTile], data.tiles):
        if tile.slide.entry.id == "1":
            usable[tile.box.y0 : tile.box.y1, tile.box.x0 : tile.box.x1] |= tile.read().usable
    assert not usable[5:295, 5:1395].any(), "all is labelled or held out"


def test_scattered_nuclei_are_held_out_with_their_window(tmp_path: Path) -> None:
    project = Folder(tmp_path)
    for x in (60, 340):
        project.add(annotation(shapely.Point(x, 150).buffer(8), "Nucleus"), seed=x)
    data = load(project, CONFIG, None, Silent())
    assert [w.n_nuclei for w in (*data.training, *data.validation)] == [1, 1]
    assert all(w.known.sum() == pytest.approx(201, abs=12) for w in (*data.training, *data.validation))


class TestOneSlideTwice:
    """A slide that was added twice, or duplicated for another observer, or copied to another file."""

    def project(self, folder: Path, kind: str) -> Folder:
        project = Folder(folder)
        project.add(*region(), *region(200, 150), seed=7)
        second = project.add(*region(200, 150, "Validation"), seed=7)
        turned = View(mirrored=(True, True))
        if kind == "copy":
            return project
        project.entries[1] = replace(second, slide=project.entries[0].slide)
        if kind == "turned":
            project.entries[1] = replace(project.entries[1], view=turned)
            project.drawn["2"] = [
                replace(one, geometry=shapely.transform(one.geometry, lambda xy: np.array([400, 300]) - xy))
                for one in project.drawn["2"]
            ]
        return project

    @pytest.mark.parametrize("kind", ["copy", "same file", "turned"])
    def test_what_is_for_validation_in_one_is_not_trained_on_in_the_other(
        self, tmp_path: Path, kind: str
    ) -> None:
        listener = Recorder()
        data = load(self.project(tmp_path, kind), CONFIG, None, listener)
        facts = data.describe()
        assert (facts["training_nuclei"], facts["validation_nuclei"]) == (3, 3)
        assert len({window.place.slide for window in (*data.training, *data.validation)}) == 1
        (said,) = [line for line in listener.warnings if "same slide" in line]
        assert "slide 1, slide 2 show the same slide" in said
        for tile in cast(list[SlideTile], data.tiles):
            if tile.slide.entry.id == "1":
                usable = np.zeros((428, 528), bool)
                usable[tile.box.y0 : tile.box.y1, tile.box.x0 : tile.box.x1] = tile.read().usable
                assert not usable[150:210, 200:300].any()

    def test_files_are_compared_once(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        compared: list[int] = []
        real = same_slide._copies

        def counting(files: Sequence[Path]) -> dict[Path, Path]:
            compared.append(len(files))
            return real(files)

        monkeypatch.setattr(same_slide, "_copies", counting)
        load(self.project(tmp_path, "copy"), CONFIG, None, Silent())
        assert compared == [2]

    @pytest.mark.parametrize("change", [{"series": 1}, {"slide": None}])
    def test_other_pictures_are_not_the_same_slide(self, tmp_path: Path, change: dict[str, Any]) -> None:
        entries = self.project(tmp_path, "same file").entries
        assert len(same_slides(entries)) == 1
        assert not same_slides([entries[0], replace(entries[1], **change)])

    def test_files_of_one_size_are_not_the_same_slide(self, tmp_path: Path) -> None:
        for number, content in enumerate((b"abc", b"abe", b"abc")):
            (tmp_path / f"{number}.tif").write_bytes(content * 1_000_000)
        entries = [ImageEntry(n, n, "", tmp_path / f"{n}.tif", (9, 9), None) for n in "012"]
        assert [[entry.id for entry in group] for group in same_slides(entries)] == [["0", "2"]]

    def test_what_is_held_out_in_one_is_not_trained_on_in_the_other(self, tmp_path: Path) -> None:
        project = Folder(tmp_path, size=(900, 300))
        project.add(*region(), *region(600, 150), seed=7)
        project.add(*region(600, 150), seed=7)
        data = load(project, CONFIG, None, Silent())
        facts = data.describe()
        assert (facts["training_nuclei"], facts["validation_nuclei"]) == (3, 3)
        (held,) = cast(list[SlideWindow], data.validation)
        assert held.where.core.x0 > 500, "the median"

    def test_where_coordinates_begin_elsewhere_the_user_is_told(self, tmp_path: Path) -> None:
        project, listener = self.project(tmp_path, "same file"), Recorder()
        project.entries[1] = replace(project.entries[1], view=View(frame="canvas"))
        load(project, CONFIG, None, listener)
        assert any("other coordinates" in line for line in listener.warnings)


@given(st.lists(st.booleans(), min_size=6, max_size=6))
def test_shapes_of_one_view_are_where_another_view_shows_them(turns: list[bool]) -> None:
    first = View(transposed=turns[0], mirrored=(turns[1], turns[2]))
    second = View(transposed=turns[3], mirrored=(turns[4], turns[5]))
    stored = np.zeros((40, 60, 3), np.uint8)
    stored[5:11, 20:24] = 255
    entries, places = [], []
    for view in (first, second):
        shown = stored.transpose(1, 0, 2) if view.transposed else stored
        shown = shown[:: -1 if view.mirrored[1] else 1, :: -1 if view.mirrored[0] else 1]
        rows, columns = np.nonzero(shown[..., 0])
        places.append(shapely.box(columns.min(), rows.min(), columns.max() + 1, rows.max() + 1))
        entries.append(ImageEntry("1", "", "", None, (shown.shape[1], shown.shape[0]), None, view=view))
    (there,) = moved(places[:1], *entries) or []
    assert shapely.equals(there, places[1])
