"""Which files are written, and what is reported."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterator
from contextlib import AbstractContextManager
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import shapely

from cellgennet_qupath.core.errors import ExportError, UsageError
from cellgennet_qupath.core.progress import Task
from cellgennet_qupath.nuclei import empty
from cellgennet_qupath.qupath.loose import open_loose
from cellgennet_qupath.qupath.project import DetectionChunk, ImageEntry
from cellgennet_qupath.qupath.search import find_images
from cellgennet_qupath.tables import formats
from cellgennet_qupath.tables.project import export_project
from tests.helpers import Recorder, csv_rows
from tests.projects import drawn_slide

from .projects import TWO, Images, MemoryProject, entry, export, nuclei, segmented


def test_an_unknown_ending_lists_the_known(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"\.csv, .*\.parquet, .*\.h5ad"):
        export(tmp_path, "t.ods", TWO)


def test_nothing_to_export_leaves_an_older_file_alone(tmp_path: Path) -> None:
    (tmp_path / "t.csv").write_text("older", encoding="utf-8")
    with pytest.raises(ExportError, match="cellgennet segment"):
        export(tmp_path, "t.csv", [(entry(1, "a"), empty())])
    assert (tmp_path / "t.csv").read_text(encoding="utf-8") == "older"


def test_a_failed_export_leaves_an_older_file_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "t.csv").write_text("older", encoding="utf-8")

    def full(file: Path, images: object) -> int:
        file.write_text("half", encoding="utf-8")
        raise OSError(28, "No space left on device")

    monkeypatch.setitem(formats.FORMATS, ".csv", formats.Format(full))
    with pytest.raises(ExportError, match="No space left"):
        export(tmp_path, "t.csv", TWO)
    assert (tmp_path / "t.csv").read_text(encoding="utf-8") == "older"
    assert [file.name for file in tmp_path.iterdir()] == ["t.csv"]


def test_one_file_for_each_image(tmp_path: Path) -> None:
    images = [*TWO, (entry(4, "a/b?"), nuclei((0, 0, 9, 9))), (entry(5, "a_b_"), nuclei((0, 0, 9, 9)))]
    export(tmp_path / "out", "{image}.geojson", images)
    names = sorted(file.name for file in (tmp_path / "out").iterdir())
    assert names == ["a, b.svs.geojson", "a_b_-5.geojson", "a_b_.geojson", "uncalibrated.geojson"]
    content = json.loads((tmp_path / "out" / names[0]).read_text(encoding="utf-8"))
    assert len(content["features"]) == 2


def test_neighbours_are_those_of_the_whole_image(tmp_path: Path) -> None:
    spaced = nuclei(*((x, 10, x + 4, 14) for x in (0, 20, 60, 61, 90)))
    rows = csv_rows(export(tmp_path, "t.csv", [(entry(1, "a"), spaced)], neighbours=True))
    assert [float(row["Nearest nucleus µm"]) for row in rows] == [5, 5, 0.25, 0.25, 7.25]
    assert [row["Nuclei within 50 µm"] for row in rows] == ["4"] * 5
    # Every disc contains the whole image of 25 x 25 µm.
    assert float(rows[0]["Nuclei per mm^2 within 50 µm"]) == pytest.approx(4 / 625e-6, rel=1e-3)
    content = export(tmp_path, "t.geojson", [(entry(1, "a"), spaced)], neighbours=True).read_text("utf-8")
    assert json.loads(content)["features"][2]["properties"]["measurements"]["Nearest nucleus µm"] == 0.25
    (row,) = csv_rows(export(tmp_path, "u.csv", [TWO[2]], neighbours=True))
    assert row["Nearest nucleus px"] == ""
    assert "Nuclei within 50 µm" not in row


@pytest.mark.parametrize("size", [0.00025, 25400 / 72, 250.0])
def test_an_impossible_pixel_size_is_reported(tmp_path: Path, size: float) -> None:
    listener = Recorder()
    images: Images = (
        (entry(1, "good"), nuclei((0, 0, 9, 9))),
        (entry(2, "odd", (size, size)), nuclei((0, 0, 9, 9))),
    )
    export(tmp_path, "t.csv", images, reporter=listener)
    (warning,) = listener.warnings
    assert warning.startswith("odd: has pixels of")
    assert "Correct the pixel size in QuPath" in warning


def test_detections_of_others_are_counted_and_reported(tmp_path: Path) -> None:
    mixed = nuclei((0, 0, 9, 9), (20, 0, 29, 9), (40, 0, 49, 9))
    mixed.ids[1:] = ["7c9e6679-7425-40de-944b-e07fc1f90ae7", "0b1c2d3e-7425-40de-944b-e07fc1f90ae7"]
    for options in ({}, {"summary": True}):
        listener = Recorder()
        export(tmp_path, "t.csv", [(entry(5, "a"), mixed), TWO[0]], reporter=listener, **options)
        (warning,) = listener.warnings
        assert warning.startswith("a: 2 of 3 detections were not made by this tool")


def test_images_of_one_name_are_told_apart(tmp_path: Path) -> None:
    twins: Images = ((entry(1, "a"), nuclei((0, 0, 9, 9))), (entry(2, "a"), nuclei((0, 0, 9, 9))))
    listener = Recorder()
    export(tmp_path, "t.csv", twins, reporter=listener)
    assert listener.warnings == [
        "a: several images have this name. Add --columns image-id to tell them apart."
    ]
    listener = Recorder()
    rows = csv_rows(export(tmp_path, "u.csv", twins, reporter=listener, columns=["image-id"]))
    assert [row["Image ID"] for row in rows] == ["1", "2"]
    assert list(rows[0])[-1] == "Image ID", "QuPath's columns stay where they are"
    assert listener.warnings == []


def test_columns_on_request(tmp_path: Path) -> None:
    one, two = entry(1, "a"), replace(entry(2, "b"), metadata=(("Patient", "P1"), ("Stain", "HE")))
    project = MemoryProject(tmp_path / "project", [(one, nuclei((0, 0, 9, 9))), (two, nuclei((0, 0, 9, 9)))])
    segmented(project, one, 1)
    wanted = ["model", "checksum", "metadata"]
    for options in ({}, {"summary": True}):
        export_project(project, tmp_path / "t.csv", columns=wanted, **options)  # type: ignore[arg-type]
        first, second = csv_rows(tmp_path / "t.csv")
        assert (first["Model"], first["Model checksum"], first["Metadata: Patient"]) == (
            "m",
            "m-checksum",
            "",
        )
        assert (second["Model"], second["Metadata: Patient"], second["Metadata: Stain"]) == ("", "P1", "HE")


def test_unknown_columns_and_those_of_summaries(tmp_path: Path) -> None:
    with pytest.raises(
        UsageError, match=r"--columns modell: is not known\. Choose from image-id, slide, model"
    ):
        export(tmp_path, "t.csv", TWO, columns=["modell"])
    with pytest.raises(UsageError, match=r"--columns tissue: is a column of summaries\. Add --summary"):
        export(tmp_path, "t.csv", TWO, columns=["tissue"])


def test_planes_have_columns_in_stacks_only(tmp_path: Path) -> None:
    stack = replace(entry(1, "a"), size_z=3, size_t=2)
    detected = replace(nuclei((0, 0, 9, 9)), z=np.array([2], np.int32))
    for version, names in (("0.5.1", ["Z index", "Time index"]), ("0.7.0", ["Z-slice", "Timepoint"])):
        project = MemoryProject(tmp_path, [(stack, detected)], version=version)
        export_project(project, tmp_path / "t.csv")  # type: ignore[arg-type]
        (row,) = csv_rows(tmp_path / "t.csv")
        assert list(row)[7:11] == ["Centroid X µm", "Centroid Y µm", *names]
        assert [row[name] for name in names] == ["2", "0"]


def test_reading_and_writing_are_counted_in_nuclei(tmp_path: Path) -> None:
    class Counting(Recorder):
        def track(self, what: str, total: float | None, unit: str = "") -> AbstractContextManager[Task]:
            self.lines.append(f"{what} {total} {unit}")
            return super().track(what, total, unit)

    project = MemoryProject(tmp_path, [(entry(1, "a"), nuclei((0, 0, 9, 9), (20, 0, 29, 9)))])
    listener = Counting()
    export_project(project, tmp_path / "t.csv", reporter=listener)  # type: ignore[arg-type]
    assert listener.lines == ["reading None nuclei", "writing 2 nuclei"]
    segmented(project, project.entries[0], 2)
    listener = Counting()
    export_project(project, tmp_path / "t.csv", neighbours=True, reporter=listener)  # type: ignore[arg-type]
    assert listener.lines == ["reading 4 nuclei", "writing 2 nuclei"]


def test_excel_marks_the_encoding_and_keeps_texts(tmp_path: Path) -> None:
    names = {
        "1-2": "'1-2",
        "3.7": "'3.7",
        "12 Jan": "'12 Jan",
        "MAR1": "'MAR1",
        "1e5": "'1e5",
        "true": "'true",
    }
    names |= {name: name for name in ("slide 1", "20.svs", "1-2.tif", "e5", "Jan's slide", "a1")}
    images = [(entry(number, name), nuclei((0, 0, 9, 9))) for number, name in enumerate(names)]
    content = export(tmp_path, "t.csv", images, excel=True).read_bytes()
    assert content.startswith(b"\xef\xbb\xbfImage,")
    rows = csv.DictReader(io.StringIO(content.decode("utf-8-sig")))
    assert [row["Image"] for row in rows] == list(names.values())
    plain = export(tmp_path, "p.csv", images).read_text(encoding="utf-8")
    assert "'" not in plain.replace("Jan's", "")
    assert content.decode("utf-8-sig").replace("'", "") == plain.replace("'", "")
    with pytest.raises(UsageError, match="--excel: is for csv and tsv"):
        export(tmp_path, "t.parquet", images, excel=True)


def test_detections_with_equal_outlines_are_reported(tmp_path: Path) -> None:
    once, twice = nuclei((0, 0, 9, 5), (20, 0, 29, 5)), nuclei((0, 0, 9, 5), (20, 0, 29, 5), (0, 0, 9, 5))
    elsewhere = replace(twice, z=np.array([0, 0, 1], np.int32))
    for name, detected, said in (("once", once, 0), ("twice", twice, 1), ("planes", elsewhere, 0)):
        recorder = Recorder()
        export(tmp_path, f"{name}.csv", [(entry(1, "a"), detected)], reporter=recorder)
        assert sum("1 detection has exactly the outline" in line for line in recorder.warnings) == said


def test_neighbours_are_measured_without_reading_detections_twice(tmp_path: Path) -> None:
    """What is buffered meanwhile is what was read, and nothing of it is left beside the table."""

    class Once(MemoryProject):
        def detection_chunks(self, entry: ImageEntry) -> Iterator[DetectionChunk]:
            reads.append(entry.name)
            for chunk in super().detection_chunks(entry):
                yield replace(chunk, order=tuple(map(str, chunk.nuclei.measurements.columns[::-1])))

    plain = nuclei((0, 0, 9, 9), (20, 0, 29, 9), (50, 50, 59, 59))
    cells = np.array([shapely.box(-2, -2, 11, 11), None, shapely.box(40, 40, 70, 70)], dtype=object)
    odd = plain.measurements.assign(Odd=[np.nan, 1e-300, -0.0])
    many = replace(plain, cells=cells, z=np.array([0, 0, 1], np.int32), measurements=odd)
    many.probability[1] = np.nan
    stack = replace(entry(2, "b"), size_z=2)
    rows: list[list[dict[str, str]]] = []
    for neighbours in (False, True):
        reads: list[str] = []
        project = Once(tmp_path, [(entry(1, "a"), plain), (stack, many)])
        place = tmp_path / str(neighbours) / "t.csv"
        export_project(project, place, neighbours=neighbours)  # type: ignore[arg-type]
        assert reads == ["a", "b"]
        assert list(place.parent.iterdir()) == [place]
        rows.append(csv_rows(place))
    near = ("Nearest nucleus µm", "Nuclei within 50 µm", "Nuclei per mm^2 within 50 µm")
    assert [row[near[0]] for row in rows[1]] == ["5", "5", "14.5774", "5", "5", ""]
    without = [{name: text for name, text in row.items() if name not in near} for row in rows[1]]
    assert without == rows[0]


def test_no_file_of_an_image_replaces_that_of_another(tmp_path: Path) -> None:
    one = nuclei((0, 0, 9, 9))
    names = ["a-2", "a", "a", "A", "e\u0301", "\u00e9"]
    images = [(entry(n, name), one) for n, name in zip([1, 3, 2, 4, 5, 6], names, strict=True)]
    (tmp_path / "out").mkdir()
    export(tmp_path / "out", "{image}.csv", images)
    written = sorted(file.name for file in (tmp_path / "out").glob("*.csv"))
    assert written == ["A-4.csv", "a-2-2.csv", "a-2.csv", "a.csv", "e\u0301.csv", "\u00e9-6.csv"]
    assert [row["Image"] for row in csv_rows(tmp_path / "out" / "a-2.csv")] == ["a-2"]


def test_the_place_of_the_image_is_the_name_of_the_file(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="in the name of a folder"):
        export(tmp_path, "{image}/nuclei.csv", [TWO[0]])
    assert list(tmp_path.iterdir()) == []


def test_no_table_replaces_the_files_of_this_tool(tmp_path: Path) -> None:
    for name in ("project/cellgennet/detections/1.geojson.gz", "project/cellgennet/{image}.csv"):
        with pytest.raises(UsageError, match="among this tool's files"):
            export(tmp_path, name, [TWO[0]])


def test_no_table_replaces_the_nuclei_that_it_is_made_of(tmp_path: Path) -> None:
    found, _ = find_images([drawn_slide(tmp_path / "a.png")], [])
    with open_loose(found, tmp_path / "out") as loose:
        loose.write_detections(loose.entries[0], nuclei((0, 0, 9, 9)))
        kept = loose.detections_file(loose.entries[0])
        before = kept.read_bytes()
        for file in (kept, tmp_path / "out" / ".." / "out" / "a.geojson"):
            with pytest.raises(UsageError, match="is where the nuclei of an image are kept"):
                export_project(loose, file)
        assert kept.read_bytes() == before
        assert export_project(loose, tmp_path / "out" / "b.geojson") == 1


@pytest.mark.parametrize("ending", ["csv", "xlsx", "parquet", "h5ad", "zarr", "geojson"])
def test_measurements_named_like_other_columns_are_kept(tmp_path: Path, ending: str) -> None:
    if ending in ("h5ad", "zarr"):
        pytest.importorskip("anndata")
    names = ["Image", "Parent", "TMA Core", "geometry", "cell_geometry", "Slide", "Metadata: age"]
    one = nuclei((0, 0, 9, 9))
    odd = one.with_measurements(pd.DataFrame({name: [7.0] for name in names}))
    images: Images = ((entry(1, "a"), odd), (entry(2, "b"), one))
    file = export(tmp_path, f"t.{ending}", images, columns=["slide"])
    if ending == "csv":
        first, second = csv_rows(file)
        assert (first["Image"], second["Image"]) == ("a", "b")
        assert [first[f"{name} (measurement)"] for name in names] == ["7"] * len(names)
        assert second["Image (measurement)"] == ""
