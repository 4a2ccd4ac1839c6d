"""Restored detections come with what is known of the run that made them: model, and the area it looked at."""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import replace
from pathlib import Path

import shapely

from cellgennet_qupath.qupath.files import FilesBackend
from cellgennet_qupath.qupath.project import ROOT
from cellgennet_qupath.qupath.replaced import MOST_KEPT, kept_detections, record_beside
from cellgennet_qupath.segmentation.covered import covered_area
from cellgennet_qupath.segmentation.record import Record, measured_in, read_record
from cellgennet_qupath.segmentation.restore import restore_image

from ..projects import annotate, feature
from .fakes import model
from .test_records import edit, run
from .test_records import folder as folder

WHOLE = 440 * 300


def restored(folder: Path) -> tuple[int, Record | None]:
    with FilesBackend(folder, writable=True) as project:
        written = restore_image(project, project.entries[0])
        assert written is not None
        return written.count, read_record(project, project.entries[0])


def area(record: Record | None) -> float:
    return float(shapely.area(covered_area(record, (440, 300), [])))


def test_restored_nuclei_have_the_area_and_the_model_of_their_own_run(folder: Path) -> None:
    annotate(folder, 1, [feature(shapely.box(0, 0, 220, 300), "Tumor")])
    everything = run(folder)[0].count
    part = run(folder, replace(model(), fingerprint="newer"), within="Tumor")[0].count
    assert 0 < part < everything
    for count, covered, within, checksum in 2 * [
        (everything, WHOLE, None, model().fingerprint),
        (part, WHOLE / 2, "Tumor", "newer"),
    ]:
        number, record = restored(folder)
        assert record is not None
        assert (number, area(record), record.within) == (count, covered, within)
        assert (record.count, record.model["checksum"]) == (count, checksum)


def test_restored_nuclei_know_the_pixel_size_that_they_were_measured_in(folder: Path) -> None:
    file = folder / "project.qpproj"
    content = json.loads(file.read_text(encoding="utf-8"))
    for size in (0.25, 0.26):
        side = {"value": size, "unit": "µm"}
        calibration = {"pixelWidth": side, "pixelHeight": side}
        content["images"][0]["serverBuilder"]["metadata"]["pixelCalibration"] = calibration
        file.write_text(json.dumps(content), encoding="utf-8")
        run(folder)
    for size in 2 * [0.25, 0.26]:
        _, record = restored(folder)
        assert record is not None
        assert measured_in(record) == [(size, size)]


def test_the_command_that_replaced_restored_nuclei_keeps_them_when_it_is_given_again(folder: Path) -> None:
    run(folder)
    run(folder, cells=2.0)
    restored(folder)
    _, warnings, calls = run(folder, cells=2.0)
    assert calls == 0
    assert "restored nuclei are kept" in warnings[0]


def test_restored_nuclei_are_not_called_edited_unless_they_were(folder: Path) -> None:
    run(folder)
    run(folder, cells=2.0)
    restored(folder)
    _, warnings, _ = run(folder, cells=3.0)
    assert "restored nuclei will be replaced; a copy is kept" in warnings[0]
    restored(folder)
    edit(folder)
    _, warnings, _ = run(folder, cells=3.0)
    assert "edited since (5 now" in warnings[0]


def test_of_nuclei_without_a_record_nothing_is_claimed(folder: Path) -> None:
    annotate(folder, 1, [feature(shapely.box(0, 0, 220, 300), "Tumor")])
    run(folder)
    run(folder, within="Tumor")
    with FilesBackend(folder) as project:
        record_beside(kept_detections(project, project.entries[0])[-1]).unlink()
    _, record = restored(folder)
    assert record is not None
    assert (record.model, record.within, area(record)) == ({}, None, WHOLE)


def test_records_are_deleted_with_the_copies_that_they_are_about(folder: Path) -> None:
    for number in range(MOST_KEPT + 3):
        run(folder, cells=1.0 + number)
    with FilesBackend(folder) as project:
        kept = kept_detections(project, project.entries[0])
        assert len(kept) == MOST_KEPT
        assert {file.name for file in kept[0].parent.iterdir()} == {
            name for file in kept for name in (file.name, record_beside(file).name)
        }
    restored(folder)
    assert not record_beside(kept[-1]).exists()


def parents(folder: Path) -> Counter[str]:
    with FilesBackend(folder) as project:
        (entry,) = project.entries
        return Counter(str(one) for chunk in project.detection_chunks(entry) for one in chunk.parents)


def test_nuclei_that_are_kept_or_restored_keep_their_parents(folder: Path) -> None:
    boxes = {"Tumor": shapely.box(0, 0, 220, 300), "Stroma": shapely.box(230, 0, 440, 300)}
    annotate(folder, 1, [feature(box, name) for name, box in boxes.items()])
    tumour = run(folder, within="Tumor")[0].count
    both = run(folder, within="Stroma", existing="keep")[0].count
    assert parents(folder) == {"Annotation (Tumor)": tumour, "Annotation (Stroma)": both - tumour}
    run(folder)
    assert set(parents(folder)) == {ROOT}
    restored(folder)
    assert parents(folder) == {"Annotation (Tumor)": tumour, "Annotation (Stroma)": both - tumour}
    # Nuclei of an annotation that is gone are the image's.
    annotate(folder, 1, [feature(boxes["Tumor"], "Tumor")])
    assert parents(folder) == {"Annotation (Tumor)": tumour, ROOT: both - tumour}
