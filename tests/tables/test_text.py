"""Text tables: QuPath's own, byte by byte."""

from __future__ import annotations

import csv
import gzip
import io
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import shapely

from cellgennet_qupath.nuclei import Nuclei
from cellgennet_qupath.qupath.formats.detections import read_detections
from cellgennet_qupath.qupath.project import ImageEntry
from tests.helpers import csv_rows

from .projects import TWO, entry, export, nuclei


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
