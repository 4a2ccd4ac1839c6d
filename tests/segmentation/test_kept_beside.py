"""Nuclei that ``keep`` leaves beside new ones are of another run: an image of both is reported as mixed."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import shapely

from cellgennet_qupath.qupath.files import FilesBackend
from cellgennet_qupath.segmentation.model import Model
from cellgennet_qupath.segmentation.record import mixed_settings, models_of, read_record
from cellgennet_qupath.segmentation.restore import restore_image
from cellgennet_qupath.tables.about import image_facts

from ..helpers import invoke
from ..projects import annotate, feature
from .fakes import model
from .test_records import detections, edit, run
from .test_records import folder as folder

STRICT = replace(model(min_area_um2=5.0), fingerprint="fake")
OTHER = replace(model(), fingerprint="other")
COARSE = replace(model(), mpp=0.26, fingerprint="fake")


@pytest.fixture
def halves(folder: Path) -> Path:
    """A project of one slide with two annotations, of which each has nuclei."""
    boxes = {"Tumor": shapely.box(0, 0, 220, 300), "Stroma": shapely.box(230, 0, 440, 300)}
    annotate(folder, 1, [feature(box, name) for name, box in boxes.items()])
    return folder


def mixed(folder: Path) -> str:
    with FilesBackend(folder) as project:
        return mixed_settings(project)


def ways(folder: Path) -> int:
    with FilesBackend(folder) as project:
        record = read_record(project, project.entries[0])
    return 0 if record is None else len(models_of(record.model))


@pytest.mark.parametrize(
    ("second", "what"),
    [(STRICT, "rule "), (OTHER, "checksum other"), (COARSE, "0.26 µm per pixel")],
    ids=["rule", "model", "scale"],
)
def test_an_image_of_two_ways_is_reported(
    halves: Path, second: Model, what: str, capsys: pytest.CaptureFixture[str]
) -> None:
    run(halves, within="Tumor")
    _, warnings, calls = run(halves, second, within="Stroma", existing="keep")
    assert calls
    assert warnings[-1] == mixed(halves)
    assert what in warnings[-1]
    assert "Nuclei of more than one run (--existing keep) are in slide" in warnings[-1]
    assert "segmented in different ways" in invoke(capsys, "inspect", halves)[2]
    assert "segmented in different ways" in invoke(capsys, "export", halves, "-o", halves / "t.csv")[2]
    # The same command again does nothing, and says it again.
    _, warnings, calls = run(halves, second, within="Stroma", existing="keep")
    assert calls == 0
    assert warnings[-1] == mixed(halves)


def test_one_way_in_two_places_is_not_mixed(halves: Path) -> None:
    run(halves, within="Tumor")
    run(halves, within="Stroma", existing="keep")
    assert (mixed(halves), ways(halves)) == ("", 1)


def test_all_ways_are_remembered_until_their_nuclei_are_replaced(halves: Path) -> None:
    run(halves, within="Tumor")
    run(halves, STRICT, within="Stroma", existing="keep")
    assert ways(halves) == 2
    run(halves, OTHER, existing="keep")
    assert ways(halves) == 3
    run(halves, STRICT, within="Tumor", existing="keep")
    assert ways(halves) == 3
    run(halves, STRICT, within="Tumor", existing="keep", resume=False)
    assert ways(halves) == 3
    with FilesBackend(halves) as project:
        facts = image_facts(project, project.entries[0])
    assert facts["Model checksum"] == "fake, other"
    run(halves)
    assert (mixed(halves), ways(halves)) == ("", 1)
    with FilesBackend(halves, writable=True) as project:
        restore_image(project, project.entries[0])
    assert ways(halves) == 3


@pytest.mark.parametrize("change", ["gone", "none found", "damaged"])
def test_a_run_of_which_no_nucleus_is_there_does_not_count(halves: Path, change: str) -> None:
    nothing: dict[str, Any] = {"min_area": 1e6} if change == "none found" else {}
    run(halves, within="Tumor", **nothing)
    if change == "gone":
        detections(halves).unlink()
    elif change == "damaged":
        detections(halves).write_bytes(b"x")
    run(halves, STRICT, within="Stroma", existing="keep")
    assert (mixed(halves), ways(halves)) == ("", 1)


def test_edited_nuclei_count(halves: Path) -> None:
    run(halves, within="Tumor")
    edit(halves)
    run(halves, STRICT, within="Stroma", existing="keep")
    assert ways(halves) == 2


def test_nuclei_of_a_run_without_a_record_are_of_an_unknown_way(halves: Path) -> None:
    run(halves, within="Tumor")
    (halves / "cellgennet" / "segmented" / "1.json").unlink()
    run(halves, within="Stroma", existing="keep")
    assert "an unknown model" in mixed(halves)
    # Where none was there, nothing is unknown.
    for name in ("segmented/1.json", "detections/1.geojson.gz"):
        (halves / "cellgennet" / name).unlink()
    run(halves, within="Stroma", existing="keep")
    assert mixed(halves) == ""
