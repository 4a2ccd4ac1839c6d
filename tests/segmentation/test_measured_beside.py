"""Nuclei of an image that was calibrated anew between runs were measured in pixels of two sizes: reported."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import shapely

from cellgennet_qupath.qupath.files import FilesBackend
from cellgennet_qupath.segmentation.record import (
    MEASURED_IN,
    measured_in,
    mixed_sizes,
    read_record,
    write_record,
)
from cellgennet_qupath.segmentation.restore import restore_image

from ..helpers import invoke
from ..projects import annotate, feature
from .test_records import folder as folder
from .test_records import run

TUMOR, STROMA = shapely.box(0, 0, 220, 300), shapely.box(230, 0, 440, 300)


@pytest.fixture
def halves(folder: Path) -> Path:
    """A project of one slide with two annotations, of which each has nuclei."""
    annotate(folder, 1, [feature(TUMOR, "Tumor"), feature(STROMA, "Stroma")])
    return folder


def calibrate(folder: Path, x: float, y: float | None = None) -> None:
    """Give the image another size of pixels, as a user does in QuPath's Image tab."""
    file = folder / "project.qpproj"
    content = json.loads(file.read_text(encoding="utf-8"))
    sides = [{"value": value, "unit": "µm"} for value in (x, y or x)]
    calibration = dict(zip(("pixelWidth", "pixelHeight"), sides, strict=True))
    content["images"][0]["serverBuilder"]["metadata"]["pixelCalibration"] = calibration
    file.write_text(json.dumps(content), encoding="utf-8")


def mixed(folder: Path) -> list[str]:
    with FilesBackend(folder) as project:
        return mixed_sizes(project)


def sizes(folder: Path) -> list[tuple[float, float]]:
    with FilesBackend(folder) as project:
        record = read_record(project, project.entries[0])
    assert record is not None
    return measured_in(record)


def test_every_command_names_both_sizes(halves: Path, capsys: pytest.CaptureFixture[str]) -> None:
    calibrate(halves, 0.25)
    run(halves, within="Tumor")
    calibrate(halves, 0.27)
    _, warnings, _ = run(halves, within="Stroma", existing="keep")
    (line,) = mixed(halves)
    assert line.startswith("slide.png: its nuclei were measured in pixels of different sizes (0.27 µm, 0.25 ")
    assert line in warnings
    for command in (["inspect", halves], ["export", halves, "-o", halves.parent / "t.csv"]):
        said = invoke(capsys, *command)[2]
        assert "(0.27 µm, 0.25 µm)" in said
        assert "pixel size was changed" not in said
    # Also where the image has by now the size of the first run again.
    calibrate(halves, 0.25)
    assert "(0.27 µm, 0.25 µm)" in invoke(capsys, "export", halves, "-o", halves.parent / "t.csv")[2]
    run(halves)
    assert mixed(halves) == []


def test_a_size_is_named_once_and_as_long_as_its_nuclei_are_there(halves: Path) -> None:
    for number, size in enumerate([(0.25,), (0.2500001,), (0.25, 0.2524), (0.25,), (0.26,)]):
        calibrate(halves, *size)
        run(halves, within="Tumor" if number % 2 else "Stroma", existing="keep", cells=1.0 + number)
    assert sizes(halves) == [(0.26, 0.26), (0.25, 0.25), (0.25, 0.2524)]
    assert "(0.26 µm, 0.25 µm, 0.25 x 0.2524 µm)" in mixed(halves)[0]
    run(halves)
    assert sizes(halves) == [(0.26, 0.26)]
    with FilesBackend(halves, writable=True) as project:
        restore_image(project, project.entries[0])
    assert len(sizes(halves)) == 3


def test_nuclei_in_corrected_regions_keep_their_measurements(halves: Path) -> None:
    calibrate(halves, 0.25)
    run(halves)
    annotate(halves, 1, [feature(TUMOR, "Corrected")])
    run(halves, cells=2.0)
    assert mixed(halves) == []
    calibrate(halves, 0.27)
    run(halves)
    assert "(0.27 µm, 0.25 µm)" in mixed(halves)[0]
    annotate(halves, 1, [])
    run(halves)
    assert mixed(halves) == []


def test_a_run_of_which_no_nucleus_is_there_does_not_count(halves: Path) -> None:
    calibrate(halves, 0.25)
    run(halves, within="Tumor", min_area=1e6)
    calibrate(halves, 0.27)
    run(halves, within="Stroma", existing="keep")
    assert sizes(halves) == [(0.27, 0.27)]


def test_records_of_earlier_versions_have_the_size_among_their_inputs(halves: Path) -> None:
    calibrate(halves, 0.25)
    run(halves, within="Tumor")
    with FilesBackend(halves, writable=True) as project:
        record = read_record(project, project.entries[0])
        assert record is not None
        del record.model[MEASURED_IN]
        write_record(project, project.entries[0], record)
    assert sizes(halves) == [(0.25, 0.25)]
    calibrate(halves, 0.27)
    run(halves, within="Stroma", existing="keep")
    assert sizes(halves) == [(0.27, 0.27), (0.25, 0.25)]


def test_of_restored_nuclei_without_a_record_the_size_is_not_known(halves: Path) -> None:
    """It is not that of the run that replaced them."""
    calibrate(halves, 0.25)
    run(halves)
    (halves / "cellgennet" / "segmented" / "1.json").unlink()
    calibrate(halves, 0.27)
    run(halves)
    with FilesBackend(halves, writable=True) as project:
        restore_image(project, project.entries[0])
    assert sizes(halves) == []
