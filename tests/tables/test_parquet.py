"""GeoParquet, read with other libraries."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
import shapely

from cellgennet_qupath.nuclei import Nuclei
from cellgennet_qupath.qupath.formats.detections import read_detections

from .projects import CALIBRATED, TWO, Images, entry, export, nuclei


def with_cells() -> Nuclei:
    detected = nuclei((2, 2, 6, 6), (20, 20, 26, 26))
    return replace(detected, cells=np.array([shapely.Point(5, 4).buffer(7), None], object))


def test_parquet_keeps_numbers_and_outlines(tmp_path: Path) -> None:
    table = pq.read_table(export(tmp_path, "t.parquet", CALIBRATED))
    assert table.column_names[-1] == "geometry"
    assert json.loads(table.schema.metadata[b"geo"])["primary_column"] == "geometry"
    outlines = shapely.from_wkb(table["geometry"].to_pylist())
    assert shapely.equals(outlines[:2], TWO[0][1].polygons).all()
    assert table["Area µm^2"].to_pylist() == pytest.approx([50, 19.5 * 20.32 / 16, 22])
    assert not [name for name in table.column_names if name.endswith((" px", " px^2"))]
    about = json.loads(table.schema.metadata[b"cellgennet"])
    assert (about["unit"], about["qupath_version"]) == ("µm", "0.5.1")


def test_cells_have_both_outlines(tmp_path: Path) -> None:
    table = pq.read_table(export(tmp_path, "t.parquet", [(entry(5, "a"), with_cells()), TWO[0]]))
    assert table.column_names[-2:] == ["geometry", "cell_geometry"]
    geo = json.loads(table.schema.metadata[b"geo"])
    assert {name: column["crs"] for name, column in geo["columns"].items()} == {
        "geometry": None,
        "cell_geometry": None,
    }
    nucleus = shapely.from_wkb(table["geometry"].to_pylist())
    assert shapely.area(nucleus[:2]).tolist() == [16, 36]
    cell = shapely.from_wkb(table["cell_geometry"].to_pylist())
    assert [outline is None for outline in cell] == [False, True, True, True]
    assert table["Centroid X µm"][0].as_py() == pytest.approx(cell[0].centroid.x / 4, abs=0.01)


@pytest.mark.parametrize("column", ["geometry", "cell_geometry"])
def test_outlines_are_those_of_geojson_vertex_by_vertex(tmp_path: Path, column: str) -> None:
    images = [(entry(5, "a"), with_cells())]
    written = read_detections(export(tmp_path, "t.geojson", images))
    table = pq.read_table(export(tmp_path, "t.parquet", images))
    ours = shapely.from_wkb(np.array(table[column].to_pylist(), object))
    theirs = written.polygons if column == "geometry" else written.cells
    assert theirs is not None
    assert shapely.get_num_coordinates(ours[0]) > 4
    for one, other in zip(ours, theirs, strict=True):
        assert (one is None) == (other is None)
        assert np.array_equal(shapely.get_coordinates(one), shapely.get_coordinates(other))


def test_an_outline_that_encloses_nothing_is_missing(tmp_path: Path) -> None:
    line = shapely.Polygon([(0, 0), (5, 0), (0, 0)])
    detected = Nuclei.from_polygons([shapely.box(0, 0, 4, 4), line])
    table = pq.read_table(export(tmp_path, "t.parquet", [(entry(1, "a"), detected)]))
    assert [outline is None for outline in table["geometry"].to_pylist()] == [False, True]


def test_geopandas_reads_both_outlines_without_a_coordinate_system(tmp_path: Path) -> None:
    geopandas = pytest.importorskip("geopandas")
    images: Images = [(entry(5, "a"), with_cells())]
    frame = geopandas.read_parquet(export(tmp_path, "t.parquet", images))
    assert frame.crs is None
    assert frame.active_geometry_name == "geometry"
    assert frame.area.tolist() == [16, 36]
    assert frame.set_geometry("cell_geometry").area[0] == pytest.approx(np.pi * 49, rel=0.01)
