"""Tables as QuPath writes them, and the other formats."""

from __future__ import annotations

import csv
import gzip
import io
import json
from collections.abc import Sequence
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest
import shapely

from cellgennet_qupath.errors import ExportError, UsageError
from cellgennet_qupath.export import formats
from cellgennet_qupath.export.project import export_project
from cellgennet_qupath.measure.shape import shape_measurements
from cellgennet_qupath.nuclei import Nuclei, empty
from cellgennet_qupath.qupath.detections import read_detections
from cellgennet_qupath.qupath.project import ImageEntry

Images = Sequence[tuple[ImageEntry, Nuclei]]


def entry(number: int, name: str, mpp: tuple[float, float] | None = (0.25, 0.25)) -> ImageEntry:
    return ImageEntry(str(number), name, "", None, (100, 100), mpp)


def nuclei(
    *boxes: tuple[float, float, float, float], mpp: tuple[float, float] | None = (0.25, 0.25)
) -> Nuclei:
    found = Nuclei.from_polygons([shapely.box(*box) for box in boxes], np.linspace(0.5, 0.9, len(boxes)))
    return found.with_measurements(shape_measurements(found.polygons, mpp))


def export(folder: Path, name: str, images: Images) -> Path:
    found = {e.id: n for e, n in images}
    project = SimpleNamespace(
        path=folder / "project", entries=[e for e, _ in images], detections=lambda e: found[e.id]
    )
    count = export_project(project, folder / name)  # type: ignore[arg-type]
    assert count == sum(len(n) for _, n in images)
    return folder / name


def rows_of(file: Path) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(file.read_text(encoding="utf-8"))))


TWO: Images = (
    (entry(1, "a, b.svs"), nuclei((0, 0, 40, 20), (10.5, 20, 30, 40.32))),
    (entry(2, "none"), empty()),
    (entry(3, "uncalibrated", None), nuclei((8000, 4, 8011, 12), mpp=None)),
)


def test_the_table_is_qupaths_own(shared: Path, tmp_path: Path) -> None:
    theirs = shared / "qupath" / "table_v0.5" / "detections.csv"
    expected = theirs.read_text(encoding="utf-8")
    name = expected.splitlines()[1].split(",")[0]
    images = []
    for file in sorted((shared / "qupath" / "expected_v0.5").glob("*.geojson")):
        found = read_detections(file)
        if len(found):
            images.append((entry(int(file.stem), name), found))
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
        "Polygon",
    )
    assert (first["Centroid X µm"], first["Centroid Y µm"]) == ("5", "2.5")
    assert (first["Area µm^2"], first["Centroid X px"], first["Detection probability"]) == ("50", "", "0.5")
    assert (rows[1]["Centroid Y µm"], rows[1]["Circularity"]) == ("7.54", "0.7851")
    assert (rows[2]["Centroid X px"], rows[2]["Centroid X µm"], rows[2]["Area px^2"]) == ("8005.5", "", "88")


def test_missing_measurements_are_empty(tmp_path: Path) -> None:
    found = nuclei((0, 0, 4, 4), (5, 5, 9, 9))
    found = found.with_measurements(pd.DataFrame({"Hematoxylin: Mean": [np.nan, 0.123456]}))
    rows = rows_of(export(tmp_path, "t.csv", [(entry(1, "a"), found)]))
    assert [row["Hematoxylin: Mean"] for row in rows] == ["", "0.1235"]
    unknown = Nuclei.from_polygons([shapely.box(0, 0, 4, 4)])
    header = export(tmp_path, "u.csv", [(entry(1, "a"), unknown)]).read_text(encoding="utf-8").splitlines()[0]
    assert header.endswith("Centroid Y µm")


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


def test_h5ad(tmp_path: Path) -> None:
    anndata = pytest.importorskip("anndata")
    data = anndata.read_h5ad(export(tmp_path, "t.h5ad", TWO))
    assert data.shape == (3, 11)
    assert data.var_names[0] == "Detection probability"
    assert data.obs["Image"].tolist() == ["a, b.svs", "a, b.svs", "uncalibrated"]
    assert data.obsm["spatial"][:, 0] == pytest.approx([20, 20.25, 8005.5])


def test_h5ad_without_anndata(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def absent(name: str) -> None:
        raise ImportError(name)

    monkeypatch.setattr(formats.importlib, "import_module", absent)
    with pytest.raises(ExportError, match="pip install anndata"):
        export(tmp_path, "t.h5ad", TWO)
    assert list(tmp_path.iterdir()) == []


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
    found = Nuclei.from_polygons([ring, pair, shapely.box(0, 0, 1, 1)])
    rows = rows_of(export(tmp_path, "t.csv", [(entry(1, "a"), found)]))
    assert [row["ROI"] for row in rows] == ["Geometry", "Geometry", "Polygon"]
