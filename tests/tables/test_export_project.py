"""Tables as QuPath writes them, and the other export formats."""

from __future__ import annotations

import csv
import gzip
import io
import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest
import shapely

from cellgennet_qupath.core.errors import EntryDataError, ExportError, MissingExtraError, UsageError
from cellgennet_qupath.measure.shape import shape_measurements
from cellgennet_qupath.nuclei import Nuclei, empty
from cellgennet_qupath.qupath.formats.detections import read_detections
from cellgennet_qupath.qupath.formats.outlines import drawn, roi_names
from cellgennet_qupath.qupath.project import ROOT, Annotation, DetectionChunk, ImageEntry, Plane
from cellgennet_qupath.tables import formats
from cellgennet_qupath.tables.project import export_project
from tests.helpers import Recorder, csv_rows

Images = Sequence[tuple[ImageEntry, Nuclei]]


def entry(number: int, name: str, mpp: tuple[float, float] | None = (0.25, 0.25)) -> ImageEntry:
    return ImageEntry(str(number), name, "", None, (100, 100), mpp)


def nuclei(
    *boxes: tuple[float, float, float, float], mpp: tuple[float, float] | None = (0.25, 0.25)
) -> Nuclei:
    detected = Nuclei.from_polygons([shapely.box(*box) for box in boxes], np.linspace(0.5, 0.9, len(boxes)))
    return detected.with_measurements(shape_measurements(detected.polygons, mpp))


@dataclass
class MemoryProject:
    """A project whose detections are read in chunks of two."""

    path: Path
    images: Images
    drawn: dict[str, list[Annotation]] = field(default_factory=dict)
    parent: str = ROOT
    backend: str = "qupath"

    @property
    def work_folder(self) -> Path:
        return self.path / "cellgennet"

    @property
    def entries(self) -> list[ImageEntry]:
        return [e for e, _ in self.images]

    def annotations(self, entry: ImageEntry) -> list[Annotation]:
        return self.drawn.get(entry.id, [])

    def detection_chunks(self, entry: ImageEntry) -> Iterator[DetectionChunk]:
        (detected,) = (n for e, n in self.images if e.id == entry.id)
        for start in range(0, len(detected), 2):
            part = detected.take(np.arange(start, min(start + 2, len(detected))))
            plain = np.full(len(part), "", dtype=object)
            yield DetectionChunk(
                part, plain, roi_names(drawn(part)), np.full(len(part), self.parent, dtype=object)
            )


def export(folder: Path, name: str, images: Images, **options: Any) -> Path:
    project = MemoryProject(folder / "project", images)
    count = export_project(project, folder / name, **options)  # type: ignore[arg-type]
    assert count == sum(len(n) for _, n in images)
    return folder / name


TWO: Images = (
    (entry(1, "a, b.svs"), nuclei((0, 0, 40, 20), (10.5, 20, 30, 40.32))),
    (entry(2, "none"), empty()),
    (entry(3, "uncalibrated", None), nuclei((8000, 4, 8011, 12), mpp=None)),
)


def test_detections_with_equal_outlines_are_reported(tmp_path: Path) -> None:
    once, twice = nuclei((0, 0, 9, 5), (20, 0, 29, 5)), nuclei((0, 0, 9, 5), (20, 0, 29, 5), (0, 0, 9, 5))
    elsewhere = replace(twice, z=np.array([0, 0, 1], np.int32))
    for name, detected, said in (("once", once, 0), ("twice", twice, 1), ("planes", elsewhere, 0)):
        recorder = Recorder()
        export(tmp_path, f"{name}.csv", [(entry(1, "a"), detected)], reporter=recorder)
        assert sum("1 detection has exactly the outline" in line for line in recorder.warnings) == said


def test_the_table_is_qupaths_own(shared: Path, tmp_path: Path) -> None:
    theirs = shared / "qupath" / "table_v0.5" / "detections.csv"
    expected = theirs.read_text(encoding="utf-8")
    name = expected.splitlines()[1].split(",")[0]
    images: list[tuple[ImageEntry, Nuclei]] = []
    for file in sorted((shared / "qupath" / "expected_v0.5").glob("*.geojson")):
        detected = read_detections(file)
        if len(detected):
            images.append((entry(int(file.stem), name), detected))
    assert len(images) == 1
    written = export(tmp_path, "d.csv", images).read_text(encoding="utf-8")
    assert written == expected


@pytest.mark.parametrize(("name", "delimiter"), [("t.csv", ","), ("t.tsv", "\t"), ("T.CSV.GZ", ",")])
def test_text_tables(tmp_path: Path, name: str, delimiter: str) -> None:
    content = export(tmp_path, name, TWO).read_bytes()
    text = (gzip.decompress(content) if name.endswith("GZ") else content).decode("utf-8")
    assert "\r" not in text
    rows = list(csv.DictReader(io.StringIO(text), delimiter=delimiter))
    assert list(rows[0]) == [
        "Image",
        "Object ID",
        "Object type",
        "Name",
        "Classification",
        "Parent",
        "ROI",
        "Centroid X µm",
        "Centroid Y µm",
        "Centroid X px",
        "Centroid Y px",
        "Detection probability",
        "Area µm^2",
        "Length µm",
        "Circularity",
        "Solidity",
        "Max diameter µm",
        "Min diameter µm",
        "Area px^2",
        "Length px",
        "Max diameter px",
        "Min diameter px",
    ]
    assert [row["Image"] for row in rows] == ["a, b.svs", "a, b.svs", "uncalibrated"]
    first = rows[0]
    assert (first["Object type"], first["Classification"], first["ROI"]) == (
        "Detection",
        "Nucleus",
        "Rectangle",
    )
    assert (first["Centroid X µm"], first["Centroid Y µm"]) == ("5", "2.5")
    assert (first["Area µm^2"], first["Centroid X px"], first["Detection probability"]) == ("50", "", "0.5")
    assert (rows[1]["Centroid Y µm"], rows[1]["Circularity"]) == ("7.54", "0.7851")
    assert (rows[2]["Centroid X px"], rows[2]["Centroid X µm"], rows[2]["Area px^2"]) == ("8005.5", "", "88")


def test_missing_measurements_are_empty(tmp_path: Path) -> None:
    detected = nuclei((0, 0, 4, 4), (5, 5, 9, 9))
    detected = detected.with_measurements(pd.DataFrame({"Hematoxylin: Mean": [np.nan, 0.123456]}))
    rows = csv_rows(export(tmp_path, "t.csv", [(entry(1, "a"), detected)]))
    assert [row["Hematoxylin: Mean"] for row in rows] == ["", "0.1235"]
    unknown = Nuclei.from_polygons([shapely.box(0, 0, 4, 4)])
    header = export(tmp_path, "u.csv", [(entry(1, "a"), unknown)]).read_text(encoding="utf-8").splitlines()[0]
    assert header.endswith("Centroid Y µm")


def test_numbers_are_written_as_qupath_writes_them(tmp_path: Path) -> None:
    detected = nuclei((0, 0, 4, 4), (5, 5, 9, 9))
    detected = detected.with_measurements(pd.DataFrame({"Eosin: Min": [-0.00001, 1234567.0]}))
    rows = csv_rows(export(tmp_path, "t.csv", [(entry(1, "a"), detected)]))
    assert [row["Eosin: Min"] for row in rows] == ["-0", "1234567"]


def test_parquet_keeps_numbers_and_outlines(tmp_path: Path) -> None:
    table = pq.read_table(export(tmp_path, "t.parquet", TWO))
    assert table.column_names[-1] == "geometry"
    assert json.loads(table.schema.metadata[b"geo"])["primary_column"] == "geometry"
    outlines = shapely.from_wkb(table["geometry"].to_pylist())
    assert shapely.equals(outlines[:2], TWO[0][1].polygons).all()
    frame = table.to_pandas()
    assert frame["Area µm^2"].tolist()[:2] == pytest.approx([50, 19.5 * 20.32 / 16])
    assert frame["Area µm^2"].isna().tolist() == [False, False, True]


@pytest.mark.parametrize("name", ["t.geojson", "t.geojson.gz"])
def test_geojson_names_the_image(tmp_path: Path, name: str) -> None:
    content = export(tmp_path, name, TWO).read_bytes()
    features = json.loads(gzip.decompress(content) if name.endswith("gz") else content)["features"]
    assert [f["properties"]["image"] for f in features] == ["a, b.svs", "a, b.svs", "uncalibrated"]
    assert {f["properties"]["objectType"] for f in features} == {"detection"}
    assert features[0]["properties"]["measurements"]["Area µm^2"] == 50


def test_h5ad_of_many_images(tmp_path: Path) -> None:
    anndata = pytest.importorskip("anndata")
    images = [(entry(i, f"image {i}"), nuclei((i, 0, i + 4, 4), (0, i, 4, i + 4))) for i in range(1, 151)]
    data = anndata.read_h5ad(export(tmp_path, "t.h5ad", images))
    assert data.obs["Image"].tolist() == [e.name for e, n in images for _ in range(len(n))]
    assert data.obs["Centroid unit"].cat.categories.tolist() == ["µm"]
    assert data.obs_names.is_unique
    assert data.obsm["spatial"][-1] == pytest.approx([0.5, 38])
    assert (data[:, "Area µm^2"].X == 1).all()


def test_h5ad_without_anndata_is_reported_before_any_work(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("cellgennet_qupath.core.extras.missing", lambda extra: ("anndata",))
    project = MemoryProject(tmp_path, [])
    with pytest.raises(MissingExtraError, match=r'pip install "cellgennet-qupath\[h5ad\]"'):
        export_project(project, tmp_path / "t.h5ad")  # type: ignore[arg-type]
    assert not list(tmp_path.iterdir())


def test_h5ad(tmp_path: Path) -> None:
    anndata = pytest.importorskip("anndata")
    data = anndata.read_h5ad(export(tmp_path, "t.h5ad", TWO))
    assert data.shape == (3, 11)
    assert data.X.dtype == np.float32
    assert data.var_names[0] == "Detection probability"
    assert data.obs["Image"].tolist() == ["a, b.svs", "a, b.svs", "uncalibrated"]
    assert data.obs["Classification"].tolist() == ["Nucleus"] * 3
    assert data.obs["Parent"].tolist() == [ROOT] * 3
    assert data.obs["Centroid unit"].tolist() == ["µm", "µm", "px"]
    assert data.obs["Object ID"].tolist() == [i for _, n in TWO for i in n.ids]
    assert data.obs_names.tolist() == ["0", "1", "2"]
    assert data.obsm["spatial"] == pytest.approx(np.array([[5, 2.5], [5.0625, 7.54], [8005.5, 8]]))
    assert np.isnan(data[2, "Area µm^2"].X).all()
    assert data[0, "Area µm^2"].X.item() == pytest.approx(50)
    again = tmp_path / "again.h5ad"
    data.write_h5ad(again)
    assert (anndata.read_h5ad(again).X[:, 0] == data.X[:, 0]).all()


def test_h5ad_without_any_measurement(tmp_path: Path) -> None:
    anndata = pytest.importorskip("anndata")
    unknown = Nuclei.from_polygons([shapely.box(0, 0, 4, 4)])
    data = anndata.read_h5ad(export(tmp_path, "u.h5ad", [(entry(1, "a"), unknown)]))
    assert data.shape == (1, 0)
    assert data.obsm["spatial"].tolist() == [[0.5, 0.5]]


def test_an_unknown_ending_lists_the_known(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"\.csv, .*\.parquet, .*\.h5ad"):
        export(tmp_path, "t.xlsx", TWO)


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

    monkeypatch.setitem(formats.FORMATS, ".csv", full)
    with pytest.raises(ExportError, match="No space left"):
        export(tmp_path, "t.csv", TWO)
    assert (tmp_path / "t.csv").read_text(encoding="utf-8") == "older"
    assert [file.name for file in tmp_path.iterdir()] == ["t.csv"]


def test_geometry_of_several_parts_and_with_holes(tmp_path: Path) -> None:
    ring = shapely.box(0, 0, 9, 9).difference(shapely.box(2, 2, 5, 5))
    pair = shapely.MultiPolygon([shapely.box(20, 0, 22, 2), shapely.box(30, 0, 32, 2)])
    detected = Nuclei.from_polygons([ring, pair, shapely.Point(5, 5).buffer(3), shapely.box(0, 0, 1, 1)])
    rows = csv_rows(export(tmp_path, "t.csv", [(entry(1, "a"), detected)]))
    assert [row["ROI"] for row in rows] == ["Geometry", "Geometry", "Polygon", "Rectangle"]


def test_texts_are_quoted_where_necessary(tmp_path: Path) -> None:
    detected = nuclei((0, 0, 4, 4))
    detected.classes[0] = 'a "b", c'
    images = [(entry(1, "line\nbreak\t"), detected)]
    for name, delimiter in (("t.csv", ","), ("t.tsv", "\t")):
        text = export(tmp_path, name, images).read_text(encoding="utf-8")
        (row,) = csv.DictReader(io.StringIO(text, newline=""), delimiter=delimiter)
        assert row["Image"] == "line\nbreak\t"
        assert row["Classification"] == 'a "b", c'
    plain = export(tmp_path, "p.csv", TWO[2:]).read_text(encoding="utf-8")
    assert '"' not in plain


def test_cells_are_exported_as_by_qupath(tmp_path: Path) -> None:
    detected = nuclei((10, 10, 20, 20), (50, 50, 60, 60))
    around = np.array([shapely.box(10, 10, 30, 40), None], dtype=object)
    rows = csv_rows(export(tmp_path, "t.csv", [(entry(1, "a", None), replace(detected, cells=around))]))
    assert [row["Object type"] for row in rows] == ["Cell", "Detection"]
    assert (rows[0]["Centroid X px"], rows[0]["Centroid Y px"]) == ("20", "25")
    assert rows[1]["Centroid X px"] == "55"


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


def region(path_class: str, box: tuple[float, float, float, float], **more: Any) -> Annotation:
    return Annotation(path_class, shapely.box(*box), "Rectangle", path_class, **more)


@pytest.mark.parametrize("ending", ["csv", "tsv", "parquet", "csv.gz"])
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
    if ending == "parquet":
        table = pd.read_parquet(file)
    else:
        table = pd.read_csv(file, sep="\t" if ending == "tsv" else ",", keep_default_na=False, na_values=[""])
    assert table["Object type"].tolist() == ["Image"] + ["Annotation"] * 4 + ["Image"]
    assert table["Num Detections"].tolist() == [3, 2, 1, 0, 0, 1]
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


def test_images_without_nuclei_have_rows_in_a_summary(tmp_path: Path) -> None:
    class Damaged(MemoryProject):
        def annotations(self, entry: ImageEntry) -> list[Annotation]:
            if entry.id == "9":
                raise EntryDataError("data.qpdata", "is damaged")
            return super().annotations(entry)

    never, damaged = replace(entry(8, "never"), opened=False), entry(9, "damaged")
    images = [(entry(7, "glass"), empty()), *TWO, (never, empty()), (damaged, empty())]
    tumour = [region("Tumor", (0, 0, 20, 20))]
    project = Damaged(tmp_path, images, {"7": tumour, "2": tumour, "8": tumour, "3": tumour})
    listener = Recorder()
    export_project(project, tmp_path / "s.csv", summary=True, reporter=listener)  # type: ignore[arg-type]
    rows = csv_rows(tmp_path / "s.csv")
    names = ["glass"] * 2 + ["a, b.svs"] + ["none"] * 2 + ["uncalibrated"] * 2 + ["never"] * 2 + ["damaged"]
    assert [row["Image"] for row in rows] == names
    counts = [row["Num Detections"] for row in rows]
    assert counts == ["0", "0", "2", "0", "0", "1", "0", "", "", "0"]
    densities = [row["Detections per mm^2"] for row in rows]
    assert densities[0] == densities[1] == "0"
    assert densities[7] == ""
    assert rows[8]["Area mm^2"] == rows[1]["Area mm^2"] != ""
    assert listener.warnings == [
        "never: was never segmented, so its rows have no numbers of nuclei.",
        "damaged: has no rows of annotations, because they cannot be read: data.qpdata: is damaged.",
    ]
    # Without QuPath, what was segmented has a file.
    (project.work_folder / "detections").mkdir(parents=True)
    for number in (7, 1, 3):
        (project.work_folder / "detections" / f"{number}.geojson.gz").touch()
    project.backend = "files"
    export_project(project, tmp_path / "f.csv", summary=True)  # type: ignore[arg-type]
    counts = [row["Num Detections"] for row in csv_rows(tmp_path / "f.csv")]
    assert counts == ["0", "0", "2", "", "", "1", "0", "", "", ""]


def test_a_summary_of_a_project_without_any_nuclei_has_rows(tmp_path: Path) -> None:
    images = [(entry(7, "glass"), empty()), (replace(entry(8, "never"), opened=False), empty())]
    project = MemoryProject(tmp_path, images, {"7": [region("Tumor", (0, 0, 20, 20))]})
    assert export_project(project, tmp_path / "s.csv", summary=True) == 0  # type: ignore[arg-type]
    rows = csv_rows(tmp_path / "s.csv")
    assert [(row["Image"], row["Num Detections"]) for row in rows] == [
        ("glass", "0"),
        ("glass", "0"),
        ("never", ""),
    ]
    with pytest.raises(ExportError, match="no detections"):
        export_project(project, tmp_path / "t.csv")  # type: ignore[arg-type]
    none = MemoryProject(tmp_path, images[1:])
    with pytest.raises(ExportError, match="cellgennet segment"):
        export_project(none, tmp_path / "n.csv", summary=True)  # type: ignore[arg-type]


def test_parquet_with_cells_has_both_outlines(tmp_path: Path) -> None:
    detected = nuclei((2, 2, 6, 6), (20, 20, 26, 26))
    detected = replace(detected, cells=np.array([shapely.box(0, 0, 12, 8), None], object))
    table = pq.read_table(export(tmp_path, "t.parquet", [(entry(5, "a"), detected), TWO[0]]))
    assert table.column_names[-2:] == ["geometry", "nucleus_geometry"]
    geo = json.loads(table.schema.metadata[b"geo"])
    assert list(geo["columns"]) == ["geometry", "nucleus_geometry"]
    outlines = shapely.from_wkb(table["geometry"].to_pylist())
    assert shapely.area(outlines).tolist()[:2] == [96, 36]
    nucleus = shapely.from_wkb(table["nucleus_geometry"].to_pylist())
    assert shapely.area(nucleus[:2]).tolist() == [16, 36]
    assert nucleus[2] is None
    x = np.array(table["Centroid X µm"].to_pylist())
    assert shapely.get_x(shapely.centroid(outlines)) * 0.25 == pytest.approx(x)


def test_a_summary_is_a_table(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"not a summary format.*\.csv"):
        export(tmp_path, "t.h5ad", TWO, summary=True)


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
