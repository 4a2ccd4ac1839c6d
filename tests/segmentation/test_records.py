"""Finished images are skipped only where nothing changed; what a person edited is never lost in silence."""

from __future__ import annotations

import gzip
import json
import os
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import shapely

from cellgennet_qupath.qupath.files import FilesBackend
from cellgennet_qupath.qupath.formats.detections import read_detections
from cellgennet_qupath.qupath.replaced import kept_detections, restore_detections
from cellgennet_qupath.qupath.stains import H_E
from cellgennet_qupath.segmentation.batch import segment_project
from cellgennet_qupath.segmentation.checkpoint import Checkpoint
from cellgennet_qupath.segmentation.model import Model
from cellgennet_qupath.segmentation.options import SegmentOptions
from cellgennet_qupath.segmentation.record import mixed_settings, read_record, waiting_nuclei
from cellgennet_qupath.segmentation.result import ImageResult

from ..helpers import Recorder
from ..qupath.test_kept import make_project
from .fakes import ColourReader, model
from .projects import DISCS, MemoryProject, picture, segment


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A project of one slide, for the backend without QuPath."""
    slide = tmp_path / "slide.png"
    assert cv2.imwrite(str(slide), picture()[..., ::-1])
    return make_project(tmp_path / "project", slide, (440, 300))


def run(folder: Path, fake: Model | None = None, **options: object) -> tuple[ImageResult, list[str], int]:
    """Segment a folder's project: the result, the warnings, and how often the network was called."""
    predictor = ColourReader()
    one = replace(fake or model(), predictor=predictor)
    listener = Recorder()
    with FilesBackend(folder, writable=True, reporter=listener) as project:
        chosen = SegmentOptions(tile=128, mpp=0.25, **options)  # type: ignore[arg-type]
        (result,) = segment_project(project, one, chosen, reporter=listener)
    return result, listener.warnings, predictor.calls


def detections(folder: Path) -> Path:
    return folder / "cellgennet" / "detections" / "1.geojson.gz"


def edit(folder: Path, keep: int = 5) -> None:
    """Delete nuclei and give one another class, as a person would in QuPath."""
    content = json.loads(gzip.decompress(detections(folder).read_bytes()))
    content["features"] = content["features"][:keep]
    content["features"][0]["properties"]["classification"] = {"name": "Tumor", "color": [200, 0, 0]}
    detections(folder).write_bytes(gzip.compress(json.dumps(content).encode()))


def test_a_finished_image_is_skipped_and_named(folder: Path) -> None:
    first, _, calls = run(folder)
    assert calls
    again, warnings, calls = run(folder)
    assert (calls, warnings) == (0, [])
    assert (again.status, again.count) == ("done", first.count)
    assert "in an earlier run; unchanged" in again.sentence()
    # Where the project was moved, its records come along.
    moved = folder.rename(folder.with_name("elsewhere"))
    assert run(moved)[2] == 0


@pytest.mark.parametrize("changed", [False, True])
def test_stains_that_qupath_normalised_again_are_the_same(
    folder: Path, monkeypatch: pytest.MonkeyPatch, changed: bool
) -> None:
    """QuPath reads eight decimals and may save sixteen; a hundredth more eosin is another stain."""
    monkeypatch.setattr(FilesBackend, "stains", lambda *_: H_E)
    run(folder)
    shift = 0.01 if changed else 4e-9
    vectors = tuple((r, g + shift, b) for r, g, b in H_E.vectors)
    monkeypatch.setattr(FilesBackend, "stains", lambda *_: replace(H_E, vectors=vectors))
    assert bool(run(folder)[2]) == changed


@pytest.mark.parametrize("change", ["slide", "model", "cells", "existing", "ignored area", "mpp"])
def test_a_change_of_any_input_is_done_again(folder: Path, change: str) -> None:
    run(folder)
    fake = model()
    options: dict[str, Any] = {}
    if change == "slide":
        file = folder.parent / "slide.png"
        os.utime(file, ns=(1, 1))
    elif change == "model":
        fake = replace(fake, fingerprint="another")
    elif change == "ignored area":
        ignore(folder, shapely.box(0, 0, 130, 300))
    elif change == "mpp":
        fake = replace(fake, mpp=0.26)
        fake = replace(fake, fingerprint="another scale")
    else:
        options = {change: {"cells": 2.0, "existing": "replace-all"}[change]}
    _, _, calls = run(folder, fake, **options)
    assert calls


def ignore(folder: Path, area: shapely.Geometry) -> None:
    feature = {
        "type": "Feature",
        "geometry": json.loads(shapely.to_geojson(area)),
        "properties": {"objectType": "annotation", "classification": {"name": "Ignore*"}},
    }
    file = folder / "cellgennet" / "annotations" / "1.geojson"
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(json.dumps([feature]), encoding="utf-8")


def test_edited_nuclei_are_kept_where_nothing_else_changed(folder: Path) -> None:
    run(folder)
    edit(folder)
    before = detections(folder).read_bytes()
    result, (warning,), calls = run(folder)
    assert calls == 0
    assert detections(folder).read_bytes() == before
    assert result.count == 5, "the number on the screen is the number in the file"
    assert f"edited since (5 now, {len(DISCS)} written)" in warning


@pytest.mark.parametrize("options", [{"resume": False}, {"cells": 2.0}, {"existing": "replace-all"}])
def test_edited_nuclei_are_reported_and_kept_before_they_are_replaced(
    folder: Path, options: dict[str, Any]
) -> None:
    run(folder)
    edit(folder)
    before = detections(folder).read_bytes()
    result, warnings, calls = run(folder, **options)
    assert calls
    assert result.count == len(DISCS)
    assert any("were edited since" in line and "copy is kept" in line for line in warnings)
    with FilesBackend(folder, writable=True) as project:
        (entry,) = project.entries
        (kept,) = kept_detections(project, entry)
        assert kept.read_bytes() == before
        assert str(kept) in result.sentence()
        written = restore_detections(project, entry)
        assert written is not None
        assert written.count == len(project.detections(entry)) == 5
        (again,) = kept_detections(project, entry)
        assert len(read_detections(again)) == len(DISCS)
    # What was restored is the user's: it is not replaced by the same command.
    assert run(folder, **{**options, "resume": True})[0].count == 5


@pytest.mark.parametrize(
    "damage",
    [
        lambda content: content[: len(content) // 2],
        lambda content: content[:300] + bytes([content[300] ^ 4]) + content[301:],
        lambda content: b"",
        lambda content: gzip.compress(gzip.decompress(content)[:-4]),
    ],
)
def test_damaged_detections_are_not_done(folder: Path, damage: Callable[[bytes], bytes]) -> None:
    run(folder)
    whole = detections(folder).read_bytes()
    detections(folder).write_bytes(damage(whole))
    result, warnings, calls = run(folder)
    assert calls
    assert result.count == len(DISCS)
    assert any("is damaged" in line for line in warnings)
    assert detections(folder).read_bytes() == whole


@pytest.mark.parametrize("damage", ["cut", "number", "key", "type", "gone", "of the old slide"])
def test_a_damaged_record_says_nothing(folder: Path, damage: str) -> None:
    run(folder)
    file = folder / "cellgennet" / "segmented" / "1.json"
    content = file.read_text(encoding="utf-8")
    if damage == "gone":
        file.unlink()
    elif damage == "of the old slide":
        record = json.loads(content)
        record["origin"]["size"] = [1, 1]
        file.write_text(json.dumps(record), encoding="utf-8")
    else:
        changed = {
            "cut": content[:-40],
            "number": content.replace(f'"count": {len(DISCS)}', '"count": 7'),
            "key": content.replace('"count"', '"counts"'),
            "type": "[]",
        }
        file.write_text(changed[damage], encoding="utf-8")
    result, _, calls = run(folder)
    assert calls
    assert result.count == len(DISCS)


def test_the_arithmetic_is_recorded_and_another_one_is_another_result(folder: Path) -> None:
    """It is in the record and in the history, and an image is done again in another one."""
    for arithmetic in ("float32", "bfloat16"):
        device = f"cpu, openvino, {arithmetic}"
        predictor = ColourReader(device=device)
        with FilesBackend(folder, writable=True) as project:
            chosen = SegmentOptions(tile=128, mpp=0.25)
            (result,) = segment_project(project, replace(model(), predictor=predictor), chosen)
            record = read_record(project, project.entries[0])
        assert predictor.calls
        assert record is not None
        assert (result.device, record.device, record.inputs["device"]) == (device,) * 3
        assert record.inputs["writing"]["history"]["computed on"] == device


def test_settings_in_turn_never_report_the_number_of_another_file(folder: Path) -> None:
    strict = replace(model(min_area_um2=30.0), fingerprint="strict")
    for fake in (model(), strict, model(), strict):
        result, _, _ = run(folder, fake)
        assert result.count == len(read_detections(detections(folder)))


def test_an_image_whose_nuclei_were_all_deleted_is_done_again(project: MemoryProject) -> None:
    project.add("one", picture())
    segment(project)
    project.found["1"] = project.found["1"].take(np.zeros(0, np.intp))
    (project.work_folder / "1.written").write_text("saved again", encoding="utf-8")
    project.writes.clear()
    (result,) = segment(project)
    assert (project.writes, result.count) == (["1"], len(DISCS))


def test_other_objects_may_change_in_the_same_file(project: MemoryProject) -> None:
    project.add("one", picture())
    segment(project)
    (project.work_folder / "1.written").write_text("an annotation more", encoding="utf-8")
    listener = Recorder()
    (result,) = segment(project, reporter=listener)
    assert (project.writes, result.note, listener.warnings) == (["1"], "unchanged", [])
    project.found["1"] = project.found["1"].take(np.arange(3))
    (result,) = segment(project, reporter=listener)
    assert result.count == 3
    assert "edited since (3 now" in result.note


def test_a_slide_added_later_is_the_only_one_segmented(project: MemoryProject) -> None:
    project.add("one", picture())
    segment(project)
    project.add("two", picture())
    project.writes.clear()
    results = segment(project)
    assert project.writes == ["2"]
    assert ["unchanged" in result.sentence() for result in results] == [True, False]


def test_images_segmented_in_different_ways_are_named(project: MemoryProject) -> None:
    for name in ("one", "two", "three"):
        project.add(name, picture())
    listener = Recorder()
    segment(project, reporter=listener)
    assert mixed_settings(project) == ""
    assert listener.warnings == []
    coarse = replace(model(), mpp=0.5, fingerprint="coarse")
    segment(project, coarse, images=["two"], reporter=listener)
    assert "segmented in different ways" in listener.warnings[-1]
    assert "0.25 µm per pixel: one, three" in listener.warnings[-1]
    assert "0.5 µm per pixel: two" in listener.warnings[-1]
    other_rule = replace(model(min_area_um2=5.0), fingerprint="fake")
    segment(project, other_rule, images=["two"], resume=False, reporter=listener)
    assert "rule " in mixed_settings(project)
    assert "\n" not in mixed_settings(project)
    segment(project, images=["two"], resume=False)
    assert mixed_settings(project) == ""


def test_what_a_version_without_records_finished_is_done_again_and_said(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made: list[Path] = []
    begin = Checkpoint.__init__

    def noting(self: Checkpoint, place: Path, *arguments: Any) -> None:
        made.append(place)
        begin(self, place, *arguments)

    monkeypatch.setattr(Checkpoint, "__init__", noting)
    first, _, _ = run(folder)
    (folder / "cellgennet" / "segmented" / "1.json").unlink()
    made[0].mkdir(parents=True)
    (made[0] / "done.json").write_text("{}", encoding="utf-8")
    listener = Recorder()
    with FilesBackend(folder, writable=True, reporter=listener) as project:
        options = SegmentOptions(tile=128, mpp=0.25)
        (again,) = segment_project(
            project, replace(model(), predictor=ColourReader()), options, reporter=listener
        )
    assert again.count == first.count
    assert any("earlier version" in line and "segmented again" in line for line in listener.lines)


def test_nuclei_that_qupath_has_not_imported_are_counted(folder: Path) -> None:
    result, *_ = run(folder)
    data = folder / "data" / "1" / "data.qpdata"
    with FilesBackend(folder) as project:
        assert waiting_nuclei(project).startswith(
            f"Segmented, and not saved in QuPath since: {result.count} nuclei in "
        )
        data.parent.mkdir(parents=True, exist_ok=True)
        data.touch()
        later = detections(folder).stat().st_mtime_ns + 1_000_000_000
        os.utime(data, ns=(later, later))
        assert waiting_nuclei(project) == ""


def test_waiting_nuclei_of_images_of_one_name_are_added_up(folder: Path) -> None:
    file = folder / "project.qpproj"
    content = json.loads(file.read_text(encoding="utf-8"))
    content["images"].append({**content["images"][0], "entryID": 2})
    file.write_text(json.dumps(content), encoding="utf-8")
    with FilesBackend(folder, writable=True) as project:
        first, second = segment_project(project, model(), SegmentOptions(tile=128, mpp=0.25))
        assert first.name == second.name
        assert f" {first.count + second.count} nuclei in {first.name}." in waiting_nuclei(project)
