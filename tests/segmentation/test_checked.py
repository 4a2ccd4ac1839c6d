"""Regions of class Corrected: their user has checked every detection, so segmenting again changes none."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest
import shapely

from cellgennet_qupath.core.errors import EntryDataError
from cellgennet_qupath.nuclei import Nuclei, NucleiChunks, collect, concat
from cellgennet_qupath.qupath.checked import in_area
from cellgennet_qupath.qupath.files import FilesBackend
from cellgennet_qupath.qupath.project import (
    WRITE_DEFAULTS,
    Annotation,
    ImageEntry,
    WriteOptions,
    WrittenDetections,
)
from cellgennet_qupath.segmentation.batch import segment_project
from cellgennet_qupath.segmentation.covered import covered_area
from cellgennet_qupath.segmentation.options import SegmentOptions
from cellgennet_qupath.segmentation.present import present_nuclei
from cellgennet_qupath.segmentation.record import read_record
from cellgennet_qupath.segmentation.result import ImageResult

from ..helpers import Recorder
from ..projects import annotate, feature
from ..qupath.test_kept import make_project
from .fakes import model
from .projects import DISCS, MemoryProject, picture, segment

CHECKED = shapely.box(0, 0, 130, 300)
INSIDE = sum(x <= 130 for x, _, _ in DISCS)
PIXEL = 0.0625 / 1e6


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A project of one slide, for the backend without QuPath."""
    slide = tmp_path / "slide.png"
    assert cv2.imwrite(str(slide), picture()[..., ::-1])
    return make_project(tmp_path / "project", slide, (440, 300))


def draw(folder: Path, *areas: tuple[shapely.Geometry, str]) -> Path:
    features = [
        {
            "type": "Feature",
            "geometry": json.loads(shapely.to_geojson(area)),
            "properties": {"objectType": "annotation", "classification": {"name": name}},
        }
        for area, name in areas
    ]
    file = folder / "cellgennet" / "annotations" / "1.geojson"
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(json.dumps(features), encoding="utf-8")
    return file


def run(folder: Path, **options: object) -> tuple[ImageResult, Nuclei, list[str]]:
    """Segment: the result, what the project then holds, and the warnings."""
    listener = Recorder()
    with FilesBackend(folder, writable=True, reporter=listener) as project:
        chosen = SegmentOptions(tile=128, mpp=0.25, **options)  # type: ignore[arg-type]
        (result,) = segment_project(project, model(), chosen, reporter=listener)
        return result, project.detections(project.entries[0]), listener.warnings


def corrected_by_hand(folder: Path) -> Nuclei:
    """Delete two nuclei of the region, reclassify one, and redraw one under an id of QuPath's."""
    with FilesBackend(folder, writable=True) as project:
        entry = project.entries[0]
        nuclei = project.detections(entry)
        rows = np.flatnonzero(in_area(nuclei, CHECKED))
        nuclei.classes[rows[2]] = "Tumor"
        nuclei.polygons[rows[3]] = shapely.Point(60.5, 60.25).buffer(12)
        nuclei.ids[rows[3]] = "7c9e6679-7425-40de-944b-e07fc1f90ae7"
        left = nuclei.take(~np.isin(np.arange(len(nuclei)), rows[:2]))
        project.write_detections(entry, left)
        return left


@pytest.mark.parametrize("options", [{}, {"existing": "replace-all"}, {"cells": 2.0}, {"existing": "keep"}])
def test_what_a_user_checked_stays_and_nothing_is_added(folder: Path, options: dict[str, object]) -> None:
    assert run(folder)[0].count == len(DISCS)
    by_hand = corrected_by_hand(folder)
    draw(folder, (CHECKED, "Corrected"))
    result, now, warnings = run(folder, **options)
    expected, found = by_hand.take(in_area(by_hand, CHECKED)), now.take(in_area(now, CHECKED))
    assert set(found.ids) == set(expected.ids)
    assert len(expected) == INSIDE - 2
    assert dict(zip(found.ids, found.classes, strict=True)) == dict(
        zip(expected.ids, expected.classes, strict=True)
    )
    assert result.count == len(now) == len(DISCS) - 2
    assert f"{INSIDE - 2} of them were there before, in Corrected regions" in result.sentence()
    # The others are those of the new run.
    others = now.take(~in_area(now, CHECKED))
    assert len(others) == len(DISCS) - INSIDE
    if options.get("cells"):
        assert now.cells is not None
        assert shapely.is_missing(now.cells).sum() == INSIDE - 2
        measured = found.measurements["Area px^2"]
        assert measured.notna().sum() == len(found)
    assert not [line for line in warnings if "cannot be read" in line]
    # Nothing changed since, so nothing is done.
    again, _, _ = run(folder, **options)
    assert "in an earlier run; unchanged" in again.sentence()


@pytest.mark.parametrize("had_cells", [False, True])
def test_new_cells_leave_those_that_stay_free(folder: Path, had_cells: bool) -> None:
    run(folder, **({"cells": 30.0} if had_cells else {}))
    draw(folder, (CHECKED, "Corrected"))
    _, now, _ = run(folder, cells=30.0)
    assert now.cells is not None
    stay = in_area(now, CHECKED)
    own = np.where(shapely.is_missing(now.cells), now.polygons, now.cells)
    assert shapely.is_missing(now.cells[stay]).all() == (not had_cells)
    between = shapely.intersection(shapely.union_all(own[~stay]), shapely.union_all(own[stay]))
    assert shapely.area(between) < 1e-3
    # They end half-way to a checked nucleus without a cell, not at its outline.
    if not had_cells:
        gap = shapely.distance(shapely.union_all(own[~stay]), now.polygons[stay])
        assert (gap > 1).all()


def test_a_region_that_is_drawn_or_removed_is_segmented_again(folder: Path) -> None:
    run(folder)
    draw(folder, (CHECKED, "Corrected"))
    assert run(folder)[0].seconds > 0
    assert run(folder)[0].seconds == 0
    file = draw(folder, (CHECKED, "Training"))
    result, now, _ = run(folder)
    assert result.seconds > 0
    assert len(now) == len(DISCS)
    file.unlink()
    assert "Corrected" not in run(folder)[0].sentence()


def test_a_checked_region_without_nuclei_stays_without(folder: Path) -> None:
    draw(folder, (CHECKED, "Corrected"), (shapely.box(300, 0, 440, 300), "Ignore*"))
    result, now, _ = run(folder)
    assert not in_area(now, CHECKED).any()
    assert result.count == sum(130 < x < 300 for x, _, _ in DISCS)
    # Its user says that it holds none, so it counts; what is ignored does not.
    assert result.mm2 == pytest.approx(300 * 300 * PIXEL)
    with FilesBackend(folder) as project:
        record = read_record(project, project.entries[0])
    area = covered_area(record, (440, 300), [])
    assert shapely.area(area) == pytest.approx(300 * 300)


def test_a_checked_region_outside_the_segmented_class_counts_too(folder: Path) -> None:
    run(folder)
    draw(folder, (CHECKED, "Corrected"), (shapely.box(200, 0, 300, 300), "Tumor"))
    result, now, _ = run(folder, within="Tumor")
    assert in_area(now, CHECKED).sum() == INSIDE
    assert result.count == len(now) == INSIDE + sum(200 <= x <= 300 for x, _, _ in DISCS)
    assert result.mm2 == pytest.approx((130 + 100) * 300 * PIXEL)


def test_nuclei_that_were_saved_in_qupath_are_left_to_qupath(folder: Path) -> None:
    """Without QuPath the corrected nuclei cannot be read; the file must not contradict them."""
    run(folder)
    file = folder / "cellgennet" / "detections" / "1.geojson.gz"
    draw(folder, (CHECKED, "Corrected"))

    class Saved(FilesBackend):
        def checked_detections(self, entry: ImageEntry, area: shapely.Geometry | None = None) -> Nuclei:
            raise EntryDataError("data.qpdata", "contains corrected nuclei that only QuPath can read")

    listener = Recorder()
    with Saved(folder, writable=True, reporter=listener) as project:
        options = SegmentOptions(tile=128, mpp=0.25)
        (result,) = segment_project(project, model(), options, reporter=listener)
        now = project.detections(project.entries[0])
    assert file.is_file()
    assert not in_area(now, CHECKED).any()
    assert result.count == len(now) == len(DISCS) - INSIDE
    assert result.mm2 == pytest.approx((440 - 130) * 300 * PIXEL)
    (warning,) = (line for line in listener.warnings if "Corrected" in line)
    assert "They stay in QuPath" in warning


def test_a_nucleus_is_inside_by_its_centroid_on_the_first_plane() -> None:
    outlines = [shapely.box(120, 0, 140, 20), shapely.box(120.02, 0, 140.02, 20), shapely.box(0, 0, 20, 20)]
    nuclei = Nuclei.from_polygons(outlines)
    assert in_area(nuclei, CHECKED).tolist() == [True, False, True]
    above = replace(nuclei, z=np.array([0, 0, 1], np.int32))
    assert in_area(above, CHECKED).tolist() == [True, False, False]


def test_a_change_in_the_same_file_is_told_from_an_edit(tmp_path: Path) -> None:
    """The digest covers the nuclei that stay."""

    class Keeping(MemoryProject):
        def write_detections(
            self, entry: ImageEntry, nuclei: NucleiChunks, options: WriteOptions = WRITE_DEFAULTS
        ) -> WrittenDetections:
            there = self.found.get(entry.id)
            staying = []
            if there is not None and options.checked is not None:
                staying = [there.take(in_area(there, options.checked))]
            written = super().write_detections(entry, nuclei, options)
            self.found[entry.id] = concat([*staying, collect(self.found[entry.id])])
            return replace(written, count=len(self.found[entry.id]))

    project = Keeping(tmp_path)
    entry = project.add("one", picture())
    segment(project)
    project.drawn[entry.id] = [Annotation("a", CHECKED, "Rectangle", "Corrected")]
    (result,) = segment(project)
    assert result.count == len(DISCS)
    (project.work_folder / "1.written").write_text("an annotation more", encoding="utf-8")
    record = read_record(project, entry)
    assert record is not None
    assert present_nuclei(project, entry, record).state == "unchanged"
    project.found[entry.id].classes[0] = "Tumor"
    assert present_nuclei(project, entry, record).state == "edited"


def test_classes_that_were_meant_to_protect_areas_are_named(folder: Path) -> None:
    names = ["ignore", "IGNORE*", "corrected", "Ignore: pen", "Tumor", "Nuclei"]
    annotate(folder, 1, [feature(shapely.box(10 * k, 0, 10 * k + 8, 8), n) for k, n in enumerate(names)])
    _, _, warnings = run(folder)
    named = [line for line in warnings if "did you mean" in line]
    assert len(named) == 3
    assert 'the class "IGNORE*": did you mean "Ignore"? As it is, their areas are segmented' in named[0]
    assert 'the class "corrected": did you mean "Corrected"? As it is, the detections in them' in named[1]
