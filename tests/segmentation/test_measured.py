"""Measurements of the nuclei that a run segments."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from cellgennet_qupath.measure.intensity import stain_measurements
from cellgennet_qupath.measure.shape import shape_measurements
from cellgennet_qupath.measure.tile import TOUCHES_EDGE
from cellgennet_qupath.qupath.project import ImageEntry, StainVectors
from cellgennet_qupath.qupath.stains import H_DAB, H_E
from tests.helpers import Recorder

from .fakes import draw, model
from .projects import MemoryProject, segment

DISCS = [(float(x), float(y), 10.0) for x in range(6, 300, 60) for y in range(40, 200, 60)]


class Stained(MemoryProject):
    known: StainVectors | None = H_DAB

    def stains(self, entry: ImageEntry) -> StainVectors | None:
        return self.known


@pytest.fixture
def project(tmp_path: Path) -> Stained:
    found = Stained(tmp_path)
    found.add("one", draw(300, 220, DISCS))
    return found


def test_stains_are_the_entrys_own_whatever_the_tile(project: Stained) -> None:
    image = draw(300, 220, DISCS)
    for tile in (128, 256):
        segment(project, tile=tile, resume=False)
        nuclei = project.found["1"]
        expected = stain_measurements(image, nuclei.polygons, H_DAB)
        table = nuclei.measurements
        assert table[list(expected)].to_numpy() == pytest.approx(expected.to_numpy())
        assert np.isfinite(table.to_numpy()).all()
    project.known = H_E
    segment(project)
    assert "Eosin: Mean" in project.found["1"].measurements
    assert not any(str(name).startswith("DAB") for name in project.found["1"].measurements)


def test_stains_are_measured_at_full_resolution(project: Stained) -> None:
    image = draw(300, 220, DISCS)
    segment(project, replace(model(), mpp=0.5))
    nuclei = project.found["1"]
    assert len(nuclei) > 5
    expected = stain_measurements(image, nuclei.polygons, H_DAB)
    assert nuclei.measurements[list(expected)].to_numpy() == pytest.approx(expected.to_numpy())


def test_nuclei_cut_by_the_images_edge_are_marked(project: Stained) -> None:
    segment(project)
    nuclei = project.found["1"]
    marked = nuclei.measurements[TOUCHES_EDGE].astype(bool)
    left = np.array([polygon.bounds[0] for polygon in nuclei.polygons]) < 2
    assert marked.tolist() == left.tolist()
    assert 0 < marked.sum() < len(nuclei)


@pytest.mark.parametrize(
    "changes", [{"channels": 1}, {"pixel_type": "UINT16"}, {"channels": 4, "pixel_type": "FLOAT32"}]
)
def test_other_than_8_bit_rgb_has_no_stains(project: Stained, changes: dict[str, Any]) -> None:
    project.change(project.entries[0], **changes)
    segment(project)
    names = list(project.found["1"].measurements)
    assert not any(":" in str(name) for name in names)
    assert TOUCHES_EDGE in names


def test_an_image_of_unknown_stains_is_reported(project: Stained) -> None:
    project.known = None
    recorder = Recorder()
    segment(project, reporter=recorder)
    assert "one: stains are not measured" in " ".join(recorder.lines)
    assert not any(":" in str(name) for name in project.found["1"].measurements)


def test_stains_that_cannot_be_separated_are_an_error(project: Stained) -> None:
    project.known = StainVectors(("A", "B"), ((0.6, 0.8, 0.0), (0.6, 0.8, 0.0)))
    (result,) = segment(project)
    assert result.status == "failed"
    assert "stain vectors cannot be separated" in result.reason


def test_an_image_uncalibrated_in_qupath_never_shows_micrometres(project: Stained) -> None:
    project.change(project.entries[0], mpp=None)
    recorder = Recorder()
    (result,) = segment(project, mpp=0.25, reporter=recorder)
    assert "one: is measured in pixels" in " ".join(recorder.lines)
    assert result.count > 5
    nuclei = project.found["1"]
    assert not any("µm" in str(name) for name in nuclei.measurements)
    expected = shape_measurements(nuclei.polygons, None)
    assert nuclei.measurements[list(expected)].to_numpy() == pytest.approx(expected.to_numpy())


def test_a_change_of_stains_or_units_is_not_resumed(project: Stained) -> None:
    project.add("missing", None)  # fails, so that the run is kept
    segment(project)
    project.known = H_E
    segment(project)
    assert "Eosin: Mean" in project.found["1"].measurements
    project.change(project.entries[0], mpp=(0.2501, 0.2501))
    before = project.found["1"].measurements["Area µm^2"].sum()
    segment(project)
    assert project.found["1"].measurements["Area µm^2"].sum() == pytest.approx(before * 1.0004**2, rel=1e-5)


@pytest.mark.parametrize(
    ("version", "name"), [("0.5.1", "DAB: Cytoplasm: Mean"), ("0.7.0", "Cytoplasm: DAB: Mean")]
)
def test_cells_are_measured_by_compartment(project: Stained, version: str, name: str) -> None:
    project.version = version
    segment(project, cells=2.0)
    nuclei = project.found["1"]
    table = nuclei.measurements
    assert nuclei.cells is not None
    assert name in table
    assert "Area µm^2" not in table and "DAB: Mean" not in table
    assert (table["Cell: Area µm^2"] > table["Nucleus: Area µm^2"]).all()
    assert table["Nucleus/Cell area ratio"].between(0.2, 0.9).all()
    assert TOUCHES_EDGE in table
    nucleus = stain_measurements(draw(300, 220, DISCS), nuclei.polygons, H_DAB)
    own = "DAB: Nucleus: Mean" if version == "0.5.1" else "Nucleus: DAB: Mean"
    assert table[own].to_numpy() == pytest.approx(nucleus["DAB: Mean"].to_numpy())
