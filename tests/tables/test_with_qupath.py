"""Export of projects through real QuPath."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import shapely

from cellgennet_qupath.measure.compartments import measure_cells, stain_comes_first
from cellgennet_qupath.measure.shape import shape_measurements
from cellgennet_qupath.measure.tile import MeasureOptions, measure_tile
from cellgennet_qupath.nuclei import Nuclei
from cellgennet_qupath.qupath.open import open_project
from cellgennet_qupath.qupath.project import Within, WriteOptions
from cellgennet_qupath.slides.reader import open_slide
from cellgennet_qupath.tables.project import export_project
from tests.helpers import csv_rows
from tests.qupath.backends import needs_qupath

pytestmark = pytest.mark.qupath


on_both = pytest.mark.parametrize("copied", ["0.5", "0.7"], indirect=True)


@pytest.fixture(autouse=True)
def qupath() -> None:
    needs_qupath()


def test_the_table_is_byte_by_byte_what_qupath_exports(shared: Path, tmp_path: Path) -> None:
    with open_project(shared / "qupath" / "project_v0.5", "qupath") as project:
        assert export_project(project, tmp_path / "d.csv") == 40
    expected = (shared / "qupath" / "table_v0.5" / "detections.csv").read_bytes()
    assert (tmp_path / "d.csv").read_bytes() == expected


@on_both
def test_stains_equal_those_that_qupath_reads(copied: Path, shared: Path) -> None:
    from cellgennet_qupath.qupath.java import jvm
    from cellgennet_qupath.qupath.java import objects as javaobjects

    with open_project(copied, "qupath", shared / "qupath" / "slides") as project:
        images: dict[str, Any] = project._images  # type: ignore[attr-defined]
        for entry in project.entries:
            read = jvm.compiled("ObjectTransfer").read
            data = read(
                jvm.java_class("java.nio.file.Paths").get(str(copied / "data" / entry.id / "data.qpdata")),
                javaobjects.placeholder_server(images[entry.id], entry),
            )
            theirs, ours = data.getColorDeconvolutionStains(), project.stains(entry)
            assert ours is not None
            assert ours.names == tuple(str(stain.getName()) for stain in theirs.getStains(False))
            vectors = [list(stain.getArray()) for stain in theirs.getStains(False)]
            assert np.array(ours.vectors) == pytest.approx(np.array(vectors), abs=1e-8)
            assert ours.background == (theirs.getMaxRed(), theirs.getMaxGreen(), theirs.getMaxBlue())


def some_nuclei(offset: float = 0.0) -> Nuclei:
    outlines = [shapely.Point(100 + 60 * k, 200 + offset).buffer(12 + k) for k in range(6)]
    return Nuclei.from_polygons(outlines, np.linspace(0.5, 1, 6))


@on_both
def test_corrections_made_in_qupath_are_exported(copied: Path, shared: Path, tmp_path: Path) -> None:
    slides = shared / "qupath" / "slides"
    with open_project(copied, "qupath", slides, writable=True, older_qupath=True) as project:
        entry = project.entries[6]
        detected = some_nuclei()
        detected = detected.with_measurements(shape_measurements(detected.polygons, entry.mpp))
        project.write_detections(entry, detected)
        # As a user would: one nucleus deleted, one reclassified, one redrawn.
        kept = detected.take(np.arange(1, 6))
        kept.classes[0] = "Tumor: Positive"
        kept.ids[4] = "7c9e6679-7425-40de-944b-e07fc1f90ae7"
        project.write_detections(entry, kept, WriteOptions("replace-all"))
        export_project(project, tmp_path / "all.csv")
        export_project(project, tmp_path / "{image}.csv", neighbours=True)
    rows = [row for row in csv_rows(tmp_path / "all.csv") if row["Image"] == entry.name]
    assert [row["Object ID"] for row in rows] == kept.ids.tolist()
    assert [row["Classification"] for row in rows] == ["Tumor: Positive", *["Nucleus"] * 4]
    assert float(rows[0]["Area µm^2"]) == pytest.approx(kept.measurements["Area µm^2"][0], abs=1e-3)
    near = csv_rows(tmp_path / f"{entry.name}.csv")
    assert [float(row["Nearest nucleus µm"]) for row in near] == pytest.approx([15] * 5, abs=0.01)


@on_both
def test_cells_and_parents_are_exported_as_by_qupath(copied: Path, shared: Path, tmp_path: Path) -> None:
    slides = shared / "qupath" / "slides"
    with open_project(copied, "qupath", slides, writable=True, older_qupath=True) as project:
        entry = project.entries[0]
        base = some_nuclei()
        cells = np.array([shape.buffer(8) for shape in base.polygons], dtype=object)
        assert entry.slide is not None
        with open_slide(entry.slide, entry.series) as reader:
            how = MeasureOptions(entry.mpp, project.stains(entry))
            first = stain_comes_first(project.version)
            table = measure_cells(reader, base.polygons, cells, how, first)
            plain = measure_tile(reader, base.polygons, how)
        detected = Nuclei(**{**vars(base), "cells": cells, "measurements": table})
        project.write_detections(entry, detected, WriteOptions("replace-all", within=Within("Training")))
        export_project(project, tmp_path / "t.csv")
        version = project.version
    rows = csv_rows(tmp_path / "t.csv")
    assert {row["Object type"] for row in rows} == {"Cell"}
    assert {row["Parent"] for row in rows} == {"Annotation (Training)", "Root object (Image)"}
    name = "Hematoxylin: Nucleus: Mean" if version.startswith("0.5") else "Nucleus: Hematoxylin: Mean"
    measured = {row["Object ID"]: float(row[name]) for row in rows}
    expected = plain["Hematoxylin: Mean"]
    assert [measured[identifier] for identifier in base.ids] == pytest.approx(expected.tolist(), abs=1e-4)
