"""Summaries by image and annotation."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import shapely
import tifffile

from cellgennet_qupath.core.errors import EntryDataError, ExportError, UsageError
from cellgennet_qupath.nuclei import empty
from cellgennet_qupath.qupath.project import Annotation, Core, ImageEntry, Plane
from cellgennet_qupath.tables.project import export_project
from tests.helpers import Recorder, csv_rows

from .projects import CALIBRATED, TWO, MemoryProject, entry, export, nuclei, region, segmented


@pytest.mark.parametrize("ending", ["csv", "tsv", "csv.gz"])
def test_summaries(tmp_path: Path, ending: str) -> None:
    detected = nuclei((0, 0, 4, 4), (10, 0, 14, 4), (50, 50, 56, 56))
    detected.classes[2] = "Tumor"
    drawn_there = [
        region("Stroma", (0, 0, 20, 20)),
        region("Nucleus", (0, 0, 4, 4)),
        region("", (0, 0, 4, 4)),
        region("", (40, 40, 60, 60), name="the corner"),
        region("Empty", (80, 80, 90, 90)),
        region("Elsewhere", (0, 0, 90, 90), plane=Plane(z=1)),
    ]
    project = MemoryProject(tmp_path, [(entry(1, "a"), detected), TWO[2]], {"1": drawn_there})
    file = tmp_path / f"s.{ending}"
    assert export_project(project, file, summary=True) == 4  # type: ignore[arg-type]
    table = pd.read_csv(file, sep="\t" if ending == "tsv" else ",", keep_default_na=False, na_values=[""])
    assert table["Object type"].tolist() == ["Image"] + ["Annotation"] * 4 + ["Image"]
    # Nobody looked for nuclei on another plane, so nothing is claimed there.
    assert table["Num Detections"].fillna(-1).tolist() == [3, 2, 1, 0, -1, 1]
    image, stroma, corner = table.iloc[0], table.iloc[1], table.iloc[2]
    assert image["Area mm^2"] == pytest.approx(625e-6, abs=1e-4)
    assert (image["Num Nucleus"], image["Num Tumor"]) == (2, 1)
    assert stroma["Detections per mm^2"] == pytest.approx(2 / 25e-6)
    assert corner["Name"] == "the corner"
    assert image["Mean of Area µm^2"] == pytest.approx((1 + 1 + 2.25) / 3, abs=1e-4)
    assert image["Median of Area µm^2"] == 1
    assert image["95 % of Area µm^2"] == pytest.approx(np.quantile([1, 1, 2.25], 0.95), abs=1e-4)
    assert image["Std.Dev. of Area µm^2"] == pytest.approx(np.std([1, 1, 2.25], ddof=1), abs=1e-4)
    uncalibrated = table.iloc[5]
    assert np.isnan(uncalibrated["Area mm^2"]) and uncalibrated["Area px^2"] == 10000


def test_annotations_on_other_planes_count_what_is_there(tmp_path: Path) -> None:
    detected = nuclei((0, 0, 4, 4), (10, 0, 14, 4), (50, 50, 56, 56))
    detected.z[2] = 1
    places = {"around": (40, 40, 60, 60), "beside": (0, 0, 20, 20)}
    drawn_there = [region("Tumor", box, plane=Plane(z=1), name=name) for name, box in places.items()]
    drawn_there += [region("Tumor", places["beside"], plane=Plane(t=1), name="another time")]
    project = MemoryProject(tmp_path, [(entry(1, "a"), detected)], {"1": drawn_there})
    export_project(project, tmp_path / "s.csv", summary=True)  # type: ignore[arg-type]
    counts = {row["Name"]: row["Num Detections"] for row in csv_rows(tmp_path / "s.csv")}
    assert counts == {"": "3", "around": "1", "beside": "0", "another time": ""}


def test_annotations_of_overlapping_parts_cover_all_of_them(tmp_path: Path) -> None:
    parts = shapely.MultiPolygon([shapely.box(0, 0, 60, 60), shapely.box(40, 40, 100, 100)])
    tumour = replace(region("Tumor", (0, 0, 1, 1)), geometry=parts)
    project = MemoryProject(tmp_path, [(entry(1, "a"), nuclei((50, 50, 56, 56)))], {"1": [tumour]})
    export_project(project, tmp_path / "s.parquet", summary=True)  # type: ignore[arg-type]
    row = pd.read_parquet(tmp_path / "s.parquet").iloc[1]
    assert row["Num Detections"] == 1
    assert row["Area mm^2"] == pytest.approx((2 * 3600 - 400) * 0.0625e-6)


def test_beyond_the_image_there_is_nothing_to_count(tmp_path: Path) -> None:
    boxes = {
        "across an edge": (-50, -10, 50, 40),
        "around the image": (-500, -500, 600, 600),
        "off the image": (200, 200, 300, 300),
        "touching": (-50, 0, 0, 100),
        "inside": (0, 0, 50, 40),
    }
    circle = replace(region("Tumor", (0, 0, 1, 1), name="cut"), geometry=shapely.Point(100, 50).buffer(20))
    core = Core("core", shapely.box(-30, -30, 40, 40), "Ellipse", name="A-1")
    detected = nuclei((0, 0, 4, 4), (10, 0, 14, 4), (96, 50, 100, 54))
    annotations = [*(region("Tumor", box, name=name) for name, box in boxes.items()), circle]
    project = MemoryProject(tmp_path, [(entry(1, "a"), detected)], {"1": annotations}, grid={"1": [core]})
    export_project(project, tmp_path / "s.parquet", summary=True)  # type: ignore[arg-type]
    table = pd.read_parquet(tmp_path / "s.parquet").set_index("Name")
    pixels: dict[str, float] = {
        "": 10000,
        "A-1": 1600,
        "across an edge": 2000,
        "around the image": 10000,
        "inside": 2000,
    }
    pixels |= {"off the image": 0, "touching": 0, "cut": shapely.area(circle.geometry) / 2}
    counts = {"": 3, "A-1": 2, "across an edge": 2, "around the image": 3, "inside": 2, "cut": 1}
    for name, area in pixels.items():
        assert table["Area mm^2"][name] == pytest.approx(area * 0.0625e-6)
        # Where no part is on the image, no number is claimed.
        assert table["Num Detections"].get(name) == pytest.approx(counts.get(name, np.nan), nan_ok=True)
        density = counts[name] / (area * 0.0625e-6) if name in counts else np.nan
        assert table["Detections per mm^2"][name] == pytest.approx(density, nan_ok=True)


@pytest.mark.parametrize("ending", ["csv", "tsv", "xlsx"])
def test_areas_of_small_annotations_are_not_rounded_away(tmp_path: Path, ending: str) -> None:
    if ending == "xlsx":
        pytest.importorskip("openpyxl")
    sides = {"one cell": 12, "a few": 40, "a field": 77}
    drawn_there = [region("Tumor", (1, 1, 1 + side, 1 + side), name=name) for name, side in sides.items()]
    project = MemoryProject(tmp_path, [(entry(1, "a"), nuclei((4, 4, 8, 8)))], {"1": drawn_there})
    file = tmp_path / f"s.{ending}"
    export_project(project, file, summary=True)  # type: ignore[arg-type]
    table = (
        pd.read_excel(file) if ending == "xlsx" else pd.read_csv(file, sep="," if ending == "csv" else "\t")
    )
    for name, side in sides.items():
        row = table[table["Name"] == name].iloc[0]
        assert row["Area mm^2"] == pytest.approx(side**2 * 0.0625e-6, rel=1e-5)
        assert row["Num Detections"] / row["Area mm^2"] == pytest.approx(row["Detections per mm^2"], rel=1e-5)


def test_parquet_keeps_numbers_unrounded(tmp_path: Path) -> None:
    table = pd.read_parquet(export(tmp_path, "s.parquet", CALIBRATED, summary=True))
    assert table["Num Detections"].tolist()[::2] == [2, 1]
    assert table["Mean of Area µm^2"][0] == pytest.approx((50 + 24.765) / 2)


def test_images_without_nuclei_have_rows(tmp_path: Path) -> None:
    class Damaged(MemoryProject):
        def annotations(self, entry: ImageEntry) -> list[Annotation]:
            if entry.id == "9":
                raise EntryDataError("data.qpdata", "is damaged")
            return super().annotations(entry)

    glass, never, damaged, cleared = (
        entry(n, name) for n, name in enumerate(("glass", "never", "damaged", "cleared"), 7)
    )
    images = [(glass, empty()), *TWO, *((one, empty()) for one in (never, damaged, cleared))]
    tumour = [region("Tumor", (0, 0, 20, 20))]
    project = Damaged(tmp_path, images, {"7": tumour, "2": tumour, "8": tumour, "3": tumour})
    for one, count in ((glass, 0), (TWO[1][0], 0), (damaged, 0), (cleared, 5)):
        segmented(project, one, count)
    listener = Recorder()
    export_project(project, tmp_path / "s.csv", summary=True, reporter=listener)  # type: ignore[arg-type]
    rows = csv_rows(tmp_path / "s.csv")
    first = ["glass"] * 2 + ["a, b.svs"] + ["none"] * 2 + ["uncalibrated"] * 2 + ["never"] * 2
    assert [row["Image"] for row in rows] == [*first, "damaged", "cleared"]
    counts = [row["Num Detections"] for row in rows]
    assert counts == ["0", "0", "2", "0", "0", "1", "0", "", "", "0", ""]
    assert [row["Num Nucleus"] for row in rows] == counts
    densities = [row["Detections per mm^2"] for row in rows]
    assert densities[0] == densities[1] == "0"
    assert densities[7] == densities[10] == ""
    assert rows[8]["Area mm^2"] == rows[1]["Area mm^2"] != ""
    assert listener.warnings[1:] == [
        "never: was never segmented, so its rows have no numbers of nuclei.",
        "damaged: has no rows of annotations, because they cannot be read: data.qpdata: is damaged.",
        "cleared: holds none of the 5 nuclei that were found in it, so its rows have no numbers of nuclei.",
    ]


def test_an_image_whose_slide_was_changed_since_is_not_called_unsegmented(tmp_path: Path) -> None:
    now = entry(7, "a")
    project = MemoryProject(tmp_path, [(now, empty()), *TWO[:1]])
    segmented(project, replace(now, size=(50, 50)), 7)
    listener = Recorder()
    export_project(project, tmp_path / "s.csv", summary=True, reporter=listener)  # type: ignore[arg-type]
    assert listener.warnings[-1].startswith(
        "a: has a segmentation that was made from another slide (a, 50 x 50 pixels), so its rows have no"
    )


def test_files_of_versions_without_records_count_as_segmented(tmp_path: Path) -> None:
    project = MemoryProject(tmp_path, [(entry(1, "glass"), empty()), (entry(2, "never"), empty())])
    project.backend = "files"
    (project.work_folder / "detections").mkdir(parents=True)
    (project.work_folder / "detections" / "1.geojson.gz").touch()
    export_project(project, tmp_path / "f.csv", summary=True)  # type: ignore[arg-type]
    assert [row["Num Detections"] for row in csv_rows(tmp_path / "f.csv")] == ["0", ""]


def test_a_summary_of_a_project_without_any_nuclei_has_rows(tmp_path: Path) -> None:
    images = [(entry(7, "glass"), empty()), (entry(8, "never"), empty())]
    project = MemoryProject(tmp_path, images, {"7": [region("Tumor", (0, 0, 20, 20))]})
    segmented(project, images[0][0], 0)
    assert export_project(project, tmp_path / "s.csv", summary=True) == 0  # type: ignore[arg-type]
    counts = [(row["Image"], row["Num Detections"]) for row in csv_rows(tmp_path / "s.csv")]
    assert counts == [("glass", "0"), ("glass", "0"), ("never", "")]
    with pytest.raises(ExportError, match=r"no detections to export\. Run `cellgennet segment` first"):
        export_project(project, tmp_path / "t.csv")  # type: ignore[arg-type]
    none = MemoryProject(tmp_path, images[1:])
    with pytest.raises(ExportError, match="cellgennet segment"):
        export_project(none, tmp_path / "n.csv", summary=True)  # type: ignore[arg-type]


@pytest.mark.parametrize("name", ["n.csv", "n.parquet", "{image}.geojson"])
def test_a_segmented_project_without_nuclei_is_not_told_to_segment(tmp_path: Path, name: str) -> None:
    images = [(entry(7, "glass"), empty()), (entry(8, "ignored"), nuclei((4, 4, 8, 8)))]
    project = MemoryProject(tmp_path, images, {"8": [region("Ignore*", (0, 0, 20, 20))]})
    for one, detected in images:
        segmented(project, one, len(detected))
    with pytest.raises(ExportError, match=r"all images were segmented, and none .* outside ignored areas"):
        export_project(project, tmp_path / name)  # type: ignore[arg-type]


def test_a_nucleus_on_the_border_is_inside(tmp_path: Path) -> None:
    drawn = [region("Tumor", (2, 0, 20, 20))]
    project = MemoryProject(tmp_path, [(entry(1, "a"), nuclei((0, 0, 4, 4)))], {"1": drawn})
    export_project(project, tmp_path / "s.csv", summary=True)  # type: ignore[arg-type]
    assert [row["Num Detections"] for row in csv_rows(tmp_path / "s.csv")] == ["1", "1"]


def test_numbers_by_class_have_qupaths_names(tmp_path: Path) -> None:
    detected = nuclei(*((10 * k, 0, 10 * k + 4, 4) for k in range(8)))
    classes = [
        "Tumor: Positive",
        "Tumor: Negative",
        "Tumor: Negative",
        "Tumor: 2+",
        "Positive",
        "Stroma",
        "",
        "Tumor",
    ]
    detected.classes[:] = classes
    images = [(entry(1, "a"), detected), (entry(2, "b"), nuclei((0, 0, 4, 4)))]
    image, other = csv_rows(export(tmp_path, "s.csv", images, summary=True, columns=["classes"]))
    numbers = {name: image[name] for name in image if name.startswith("Num") or name.endswith("Positive %")}
    mm2 = 625e-6
    assert {name: float(value) for name, value in numbers.items() if "per" not in name} == {
        "Num Detections": 8,
        "Num Tumor (base)": 5,
        "Num Nucleus": 0,
        "Num Positive": 1,
        "Num Stroma": 1,
        "Num Tumor": 1,
        "Num Tumor: 2+": 1,
        "Num Tumor: Negative": 2,
        "Num Tumor: Positive": 1,
        "Positive %": 100,
        "Tumor: Positive %": 50,
    }
    assert float(numbers["Num Tumor: Negative per mm^2"]) == pytest.approx(2 / mm2)
    assert (other["Num Tumor (base)"], other["Positive %"], other["Num Nucleus"]) == ("0", "", "1")
    plain = csv_rows(export(tmp_path, "p.csv", images, summary=True))[0]
    assert not [
        name for name in plain if name.endswith((" per mm^2", "(base)", "%")) and "Detections" not in name
    ]


def test_tissue_areas(tmp_path: Path) -> None:
    slide = np.full((1000, 2000, 3), 243, np.uint8)
    noise = np.random.default_rng(0).integers(-20, 20, (600, 800, 3))
    slide[200:800, 600:1400] = np.array([180, 120, 170]) + noise
    tifffile.imwrite(tmp_path / "slide.tif", slide, photometric="rgb", metadata=None)
    one = replace(entry(1, "slide", (0.5, 0.5)), slide=tmp_path / "slide.tif", size=(2000, 1000))
    left = [Annotation("left", shapely.box(0, 0, 1000, 1000), "Rectangle", "Left", "left")]
    images = [(one, nuclei((0, 0, 4, 4))), (entry(9, "no slide"), nuclei((0, 0, 4, 4)))]
    listener = Recorder()
    options = {"summary": True, "columns": ["tissue", "slide"], "reporter": listener}
    project = MemoryProject(tmp_path, images, {"1": left})
    export_project(project, tmp_path / "s.parquet", **options)  # type: ignore[arg-type]
    image, half, lost = pd.read_parquet(tmp_path / "s.parquet").to_dict("records")
    mm2 = 600 * 800 * 0.25 / 1e6
    assert image["Tissue area mm^2"] == pytest.approx(mm2, rel=0.05)
    assert half["Tissue area mm^2"] == pytest.approx(mm2 / 2, rel=0.05)
    assert image["Detections per mm^2 tissue"] == pytest.approx(1 / image["Tissue area mm^2"])
    assert np.isnan(lost["Tissue area mm^2"]) and lost["Num Detections"] == 1
    assert image["Slide"] == str(tmp_path / "slide.tif")
    (warning,) = listener.warnings
    assert warning.startswith("no slide: its tissue is not measured")


def test_a_class_named_detections_does_not_hide_the_number_of_all(tmp_path: Path) -> None:
    detected = nuclei((0, 0, 4, 4), (10, 0, 14, 4), (50, 50, 56, 56))
    detected.classes[0] = "Detections"
    project = MemoryProject(tmp_path, [(entry(1, "a"), detected)])
    export_project(project, tmp_path / "s.csv", summary=True)  # type: ignore[arg-type]
    (row,) = csv_rows(tmp_path / "s.csv")
    assert (row["Num Detections"], row["Num Detections (class)"], row["Num Nucleus"]) == ("3", "1", "2")


def test_a_summary_is_a_table(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"not a summary format.*\.csv"):
        export(tmp_path, "t.h5ad", TWO, summary=True)
