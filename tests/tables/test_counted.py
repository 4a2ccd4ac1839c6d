"""Ignored areas, and ``--within``, ``--within-id`` and ``--core`` in tables: what counts, in which area."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import shapely

from cellgennet_qupath.core.errors import EntryDataError
from cellgennet_qupath.nuclei import empty
from cellgennet_qupath.qupath.project import Annotation, Core, ImageEntry, Plane
from cellgennet_qupath.segmentation.covered import covered_area, covered_text
from cellgennet_qupath.segmentation.record import Record, write_record
from cellgennet_qupath.tables.project import export_project
from tests.helpers import Recorder, csv_rows

from .projects import MemoryProject, entry, nuclei

BOXES = [(10, 10, 14, 14), (40, 40, 44, 44), (80, 80, 84, 84)]
MM2 = 100.0 * 100.0 / 1e6
"""Of a pixel: large ones, as tables have four decimals."""
FIRST = Plane()


def rows(project: MemoryProject, folder: Path) -> dict[str, dict[str, str]]:
    export_project(project, folder / "s.csv", summary=True)  # type: ignore[arg-type]
    return {row["Object type"] + row["Name"]: row for row in csv_rows(folder / "s.csv")}


def project_with(folder: Path, *annotations: Annotation) -> MemoryProject:
    return MemoryProject(folder, [(entry(1, "a", (100.0, 100.0)), nuclei(*BOXES))], {"1": list(annotations)})


def annotation(shape: shapely.Geometry, path_class: str, name: str, plane: Plane = FIRST) -> Annotation:
    return Annotation(name, shape, "Polygon", path_class, name, plane=plane)


@pytest.mark.parametrize("name", ["n.csv", "n.parquet", "n.geojson"])
def test_ignored_areas_that_cannot_be_read_are_reported(tmp_path: Path, name: str) -> None:
    class Damaged(MemoryProject):
        def annotations(self, entry: ImageEntry) -> list[Annotation]:
            raise EntryDataError("1.geojson", "is cut off")

    images = [(entry(1, "a"), nuclei(*BOXES)), (entry(2, "b"), empty())]
    listener = Recorder()
    project = Damaged(tmp_path, images)
    assert export_project(project, tmp_path / name, reporter=listener) == 3  # type: ignore[arg-type]
    assert [line for line in listener.warnings if "ignored areas" in line] == [
        "a: detections in ignored areas are counted, as these cannot be read: 1.geojson: is cut off."
    ]


@pytest.mark.parametrize("path_class", ["Ignore*", "Ignored", "Ignore pen"])
def test_nuclei_in_ignored_areas_are_not_exported(tmp_path: Path, path_class: str) -> None:
    project = project_with(tmp_path, annotation(shapely.box(0, 0, 42, 42), path_class, "pen"))
    assert export_project(project, tmp_path / "t.csv", neighbours=True) == 1  # type: ignore[arg-type]
    assert len(csv_rows(tmp_path / "t.csv")) == 1, "the centroid (42, 42) is on the border, which is inside"


def test_ignored_areas_are_subtracted(tmp_path: Path) -> None:
    tumor = annotation(shapely.box(0, 0, 50, 50), "Tumor", "tumor")
    table = rows(
        project_with(tmp_path, tumor, annotation(shapely.box(0, 0, 20, 50), "Ignore*", "pen")), tmp_path
    )
    assert float(table["Image"]["Area mm^2"]) == pytest.approx((100 * 100 - 20 * 50) * MM2)
    assert table["Image"]["Num Detections"] == "2"
    assert float(table["Annotationtumor"]["Area mm^2"]) == pytest.approx(30 * 50 * MM2)
    assert float(table["Annotationtumor"]["Detections per mm^2"]) == pytest.approx(
        1 / (30 * 50 * MM2), rel=1e-3
    )
    assert float(table["Annotationpen"]["Area mm^2"]) == pytest.approx(20 * 50 * MM2)
    assert table["Annotationpen"]["Num Detections"] == ""


def test_areas_of_other_planes_and_classes_are_not_ignored(tmp_path: Path) -> None:
    whole = shapely.box(0, 0, 100, 100)
    project = project_with(
        tmp_path, annotation(whole, "Ignore*", "above", Plane(z=1)), annotation(whole, "ignore", "other")
    )
    assert rows(project, tmp_path)["Image"]["Num Detections"] == "3"


def test_the_class_that_the_model_ignored_is_subtracted(tmp_path: Path) -> None:
    project = project_with(
        tmp_path,
        annotation(shapely.box(0, 0, 20, 100), "Exclude pen", "pen"),
        annotation(shapely.box(60, 0, 100, 100), "Ignore*", "other"),
    )
    record = Record({}, {}, {"ignore": "Exclude*"}, None, 3, "x", "", "", "", "", "")
    write_record(project, project.entries[0], record)  # type: ignore[arg-type]
    table = rows(project, tmp_path)
    assert float(table["Image"]["Area mm^2"]) == pytest.approx(80 * 100 * MM2)
    assert table["Image"]["Num Detections"] == "2"
    assert (table["Annotationpen"]["Num Detections"], table["Annotationother"]["Num Detections"]) == ("", "1")
    assert export_project(project, tmp_path / "t.csv") == 2  # type: ignore[arg-type]


def test_a_wholly_ignored_annotation_has_no_density(tmp_path: Path) -> None:
    table = rows(
        project_with(
            tmp_path,
            annotation(shapely.box(0, 0, 20, 20), "Tumor", "tumor"),
            annotation(shapely.box(0, 0, 50, 50), "Ignore*", "pen"),
        ),
        tmp_path,
    )
    assert table["Annotationtumor"]["Detections per mm^2"] == ""


def test_the_density_after_within_is_that_of_the_class(tmp_path: Path) -> None:
    project = project_with(tmp_path, annotation(shapely.box(0, 0, 50, 100), "Tumor", "tumor"))
    plain = rows(project, tmp_path)["Image"]
    assert float(plain["Area mm^2"]) == pytest.approx(100 * 100 * MM2)
    assert float(plain["Detections per mm^2"]) == pytest.approx(3 / (100 * 100 * MM2), rel=1e-3)
    one = project.entries[0]
    record = Record({}, {}, {}, "Tumor", 3, "x", "", "", "", "", "")
    write_record(project, one, record)  # type: ignore[arg-type]
    within = rows(project, tmp_path)["Image"]
    assert float(within["Area mm^2"]) == pytest.approx(50 * 100 * MM2)
    # Two of the three are inside.
    assert float(within["Detections per mm^2"]) == pytest.approx(2 / (50 * 100 * MM2), rel=1e-3)


def microarray(folder: Path, version: str) -> MemoryProject:
    """Three nuclei: one in core A-1, one in the missing core A-2, one in none."""
    cores = [
        Core("c1", shapely.box(0, 0, 30, 30), "Ellipse", name="A-1"),
        Core("c2", shapely.box(30, 30, 60, 60), "Ellipse", name="A-2", missing=True),
    ]
    images = [(entry(1, "tma", (100.0, 100.0)), nuclei(*BOXES)), (entry(2, "slide"), nuclei(*BOXES))]
    return MemoryProject(folder, images, version=version, grid={"1": cores})


@pytest.mark.parametrize(
    ("version", "core", "missing"), [("0.5.1", "TMA core", "Missing"), ("0.7.0", "TMA Core", "Missing core")]
)
def test_cores_are_named_as_by_qupath(tmp_path: Path, version: str, core: str, missing: str) -> None:
    project = microarray(tmp_path, version)
    export_project(project, tmp_path / "t.csv")  # type: ignore[arg-type]
    table = csv_rows(tmp_path / "t.csv")
    assert list(table[0])[4:7] == ["Classification", core, "Parent"]
    assert [row[core] for row in table] == ["A-1", "A-2", "", "", "", ""]
    export_project(project, tmp_path / "s.csv", summary=True)  # type: ignore[arg-type]
    image, first, second, slide = csv_rows(tmp_path / "s.csv")
    assert [row["Object type"] for row in (image, first, second, slide)] == [
        "Image",
        "TMA core",
        "TMA core",
        "Image",
    ]
    assert [row["Num Detections"] for row in (image, first, second, slide)] == ["3", "1", "1", "3"]
    assert [row[missing] for row in (image, first, second, slide)] == ["", "False", "True", ""]
    assert float(first["Detections per mm^2"]) == pytest.approx(1 / (900 * MM2), rel=1e-3)


def looked_in(project: MemoryProject, area: shapely.Geometry, **more: Any) -> None:
    """Record that nuclei were last looked for in this part of the first image."""
    text = covered_text(area, (100, 100), restricted=False)
    record = Record({}, {}, {}, more.pop("within", None), 3, "x", "", "", "", "", "", covered=text, **more)
    write_record(project, project.entries[0], record)  # type: ignore[arg-type]


def test_rows_are_about_the_area_in_which_nuclei_were_looked_for(tmp_path: Path) -> None:
    """Whatever happened to the annotations since: one was moved, one deleted, one drawn later."""
    project = project_with(
        tmp_path,
        annotation(shapely.box(0, 0, 50, 100), "Tumor", "half in it"),
        annotation(shapely.box(0, 20, 10, 30), "Tumor", "in it"),
        annotation(shapely.box(60, 0, 100, 30), "Tumor", "beside it"),
        annotation(shapely.box(60, 60, 100, 100), "Tumor", "beside it, with another tool's nucleus"),
    )
    looked_in(project, shapely.box(0, 0, 40, 50), within="Tumor", inside=["deleted since"])
    table = rows(project, tmp_path)
    image, half, inside, beside, other = table.values()
    # One of the three nuclei is far outside; the centroid (42, 42) is more than a pixel beyond the area.
    assert (image["Num Detections"], half["Num Detections"]) == ("3", "2")
    assert float(image["Area mm^2"]) == float(half["Area mm^2"]) == pytest.approx(40 * 50 * MM2)
    assert float(image["Detections per mm^2"]) == pytest.approx(1 / (40 * 50 * MM2), rel=1e-3)
    assert float(half["Detections per mm^2"]) == pytest.approx(1 / (40 * 50 * MM2), rel=1e-3)
    assert (inside["Num Detections"], inside["Detections per mm^2"]) == ("0", "0")
    assert (beside["Num Detections"], beside["Detections per mm^2"], beside["Num Nucleus"]) == ("", "", "")
    assert float(beside["Area mm^2"]) == pytest.approx(40 * 30 * MM2)
    assert other["Num Detections"] == "1"
    assert float(other["Detections per mm^2"]) == pytest.approx(1 / (40 * 40 * MM2), rel=1e-3)


def test_a_core_that_was_not_segmented_has_no_numbers(tmp_path: Path) -> None:
    project = microarray(tmp_path, "0.7.0")
    project.grid["1"].append(Core("c3", shapely.box(0, 60, 30, 90), "Ellipse", name="A-3"))
    looked_in(project, shapely.box(0, 0, 30, 30), inside=["c1"])
    image, first, _, third = csv_rows_of(project, tmp_path)[:4]
    assert (first["Name"], first["Num Detections"], third["Name"]) == ("A-1", "1", "A-3")
    assert first["Detections per mm^2"] == image["Detections per mm^2"] != ""
    assert (third["Num Detections"], third["Detections per mm^2"]) == ("", "")


def test_an_area_that_is_not_known_has_no_density(tmp_path: Path) -> None:
    """A record of an older version, whose annotation was deleted since."""
    project = project_with(tmp_path)
    record = Record({}, {}, {}, None, 3, "x", "", "", "", "", "", inside=["gone"])
    write_record(project, project.entries[0], record)  # type: ignore[arg-type]
    image = csv_rows_of(project, tmp_path)[0]
    assert image["Num Detections"] == "3"
    assert "Area mm^2" not in image and "Detections per mm^2" not in image


def test_a_class_is_not_looked_for_among_cores(tmp_path: Path) -> None:
    tumor = annotation(shapely.box(0, 0, 50, 100), "Tumor", "tumor")
    project = project_with(tmp_path, tumor)
    project.grid["1"] = [Core("c1", shapely.box(0, 0, 100, 100), "Ellipse", "Tumor", name="A-1")]
    write_record(project, project.entries[0], Record({}, {}, {}, "Tumor", 3, "x", "", "", "", "", ""))  # type: ignore[arg-type]
    assert float(rows(project, tmp_path)["Image"]["Area mm^2"]) == pytest.approx(50 * 100 * MM2)


@pytest.mark.parametrize("text", ["POLYGON ((0 0, 1", "no geometry", "\x00"])
def test_a_damaged_area_is_unknown(text: str) -> None:
    record = Record({}, {}, {}, None, 3, "x", "", "", "", "", "", covered=text)
    assert covered_area(record, (100, 100), []) is None


def csv_rows_of(project: MemoryProject, folder: Path) -> list[dict[str, str]]:
    export_project(project, folder / "s.csv", summary=True)  # type: ignore[arg-type]
    return csv_rows(folder / "s.csv")


def test_the_density_of_chosen_objects_is_that_of_their_area(tmp_path: Path) -> None:
    project = microarray(tmp_path, "0.7.0")
    one = project.entries[0]
    write_record(project, one, Record({}, {}, {}, None, 3, "x", "", "", "", "", "", inside=["c1"]))  # type: ignore[arg-type]
    assert float(rows(project, tmp_path)["TMA coreA-1"]["Area mm^2"]) == pytest.approx(900 * MM2)
    export_project(project, tmp_path / "s.csv", summary=True)  # type: ignore[arg-type]
    assert float(csv_rows(tmp_path / "s.csv")[0]["Area mm^2"]) == pytest.approx(900 * MM2)
