"""Detections as columns are read exactly as their GeoJSON, and only while they are the same."""

from __future__ import annotations

import gzip
import os
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import shapely

from cellgennet_qupath.core.errors import EntryDataError
from cellgennet_qupath.nuclei import Nuclei
from cellgennet_qupath.qupath.formats import detections
from cellgennet_qupath.qupath.formats.columns import confirm_columns
from cellgennet_qupath.qupath.formats.detections import PROBABILITY, detection_chunks, write_detections

HOLED = shapely.Polygon([(0, 0), (90, 0), (90, 90), (0, 90)], [[(20, 20), (40, 20), (40, 40)]])
TWO = shapely.MultiPolygon([shapely.box(0, 0, 5, 5), shapely.box(10, 10, 15.5, 15.25)])
FAR = shapely.Polygon([(200_000.123, 1), (200_010.7, 1), (200_010.3, 9.01)])
ROUND = shapely.buffer(shapely.Point(33.333, 44.444), 7.1)
SHAPES = [ROUND, HOLED, TWO, FAR, shapely.box(1, 1, 1.2, 1.2), ROUND]


def everything(cells: bool = False, probability: bool = True, measured: bool = True) -> Nuclei:
    """Nuclei of each kind; one has no area, and is not written."""
    n = len(SHAPES)
    nuclei = Nuclei.from_polygons(SHAPES, np.linspace(0.1, 0.7, n) if probability else None)
    table = pd.DataFrame({"Area µm^2": np.full(n, 1 / 3), 'Odd "': [np.nan, 1e-300, 1e39, -0.0, 2, np.inf]})
    if not probability:
        table[PROBABILITY] = np.arange(n) / 7
    outlines = None
    if cells:
        outlines = np.array([*shapely.buffer(np.array(SHAPES[:5]), 3), None], dtype=object)
    return Nuclei(
        polygons=nuclei.polygons,
        probability=nuclei.probability,
        classes=np.array(["Nucleus", "Tumor: Positive", "", " A :B", "x", "Nucleus"], dtype=object),
        ids=np.array([*nuclei.ids[:5], "no uuid"], dtype=object),
        z=np.array([0, 1, 0, 0, 0, 2], np.int32),
        t=np.array([0, 0, 3, 0, 0, 0], np.int32),
        measurements=table if measured else pd.DataFrame(index=pd.RangeIndex(n)),
        cells=outlines,
    )


def parents(nuclei: Nuclei) -> np.ndarray:
    return np.array(["", "p1", "", "p2", "", ""][: len(nuclei)], dtype=object)


def write(folder: Path, nuclei: Nuclei) -> tuple[Path, Path]:
    """A file of detections and its columns, in their places."""
    geojson, columns = folder / "detections" / "1.geojson.gz", folder / "columns" / "1.parquet"
    write_detections(geojson, nuclei, parents=parents, columns_file=columns)
    return geojson, columns


def assert_same(first: tuple[Nuclei, np.ndarray], second: tuple[Nuclei, np.ndarray]) -> None:
    (one, ours), (two, theirs) = first, second
    assert shapely.to_wkb(one.polygons).tolist() == shapely.to_wkb(two.polygons).tolist()
    assert (one.cells is None) == (two.cells is None)
    if one.cells is not None and two.cells is not None:
        assert shapely.to_wkb(one.cells).tolist() == shapely.to_wkb(two.cells).tolist()
    for name in ("classes", "ids", "z", "t", "probability"):
        assert getattr(one, name).dtype == getattr(two, name).dtype
        np.testing.assert_array_equal(getattr(one, name), getattr(two, name))
    pd.testing.assert_frame_equal(one.measurements, two.measurements, check_exact=True)
    assert ours.tolist() == theirs.tolist()


@pytest.mark.parametrize("cells", [False, True])
@pytest.mark.parametrize("probability", [False, True])
@pytest.mark.parametrize("measured", [False, True])
def test_columns_are_read_as_their_geojson(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, cells: bool, probability: bool, measured: bool
) -> None:
    geojson, columns = write(tmp_path, everything(cells, probability, measured))
    (expected,) = detection_chunks(geojson)
    assert len(expected[0]) == len(SHAPES) - 1
    monkeypatch.setattr(detections, "parse_lines", _not_to_be_called)
    (found,) = detection_chunks(geojson, columns)
    assert_same(found, expected)


def _not_to_be_called(*arguments: object) -> None:
    raise AssertionError("the GeoJSON was parsed")


def test_no_nuclei(tmp_path: Path) -> None:
    geojson, columns = write(tmp_path, everything().take(np.array([4])))
    assert list(detection_chunks(geojson, columns)) == list(detection_chunks(geojson)) == []


def test_the_geojson_is_the_same_with_and_without_columns(tmp_path: Path) -> None:
    geojson, _ = write(tmp_path, everything(cells=True))
    write_detections(tmp_path / "plain.geojson.gz", everything(cells=True), parents=parents)
    assert geojson.read_bytes() == (tmp_path / "plain.geojson.gz").read_bytes()


@pytest.mark.parametrize("fault", ["cut", "gone", "no note", "cut note", "pipe", "edited", "replaced"])
def test_columns_that_are_not_those_of_the_geojson_are_not_read(tmp_path: Path, fault: str) -> None:
    geojson, columns = write(tmp_path, everything())
    note = columns.with_suffix(".json")
    if fault == "cut":
        columns.write_bytes(columns.read_bytes()[:-1])
    elif fault == "gone":
        columns.unlink()
    elif fault == "no note":
        note.unlink()
    elif fault == "cut note":
        note.write_bytes(note.read_bytes()[:-5])
    elif fault == "pipe":
        if not hasattr(os, "mkfifo"):
            pytest.skip("no pipes on this system")
        columns.unlink()
        os.mkfifo(columns)
    elif fault == "edited":
        text = gzip.decompress(geojson.read_bytes()).replace(b"Nucleus", b"Changed")
        geojson.write_bytes(gzip.compress(text))
    else:
        write_detections(geojson, everything().take(np.array([0])), parents=parents)
    (expected,), (found,) = detection_chunks(geojson), detection_chunks(geojson, columns)
    assert_same(found, expected)
    assert ("Changed" in found[0].classes) == (fault == "edited")


@pytest.mark.parametrize(
    "outline",
    [
        shapely.to_wkb(shapely.Point(1, 2)),
        shapely.to_wkb(shapely.GeometryCollection([ROUND])),
        b"\x01\x07\x00\x00\x00\x01\x00\x00\x00" * 10_000,
        b"\x01\x03\x00\x00\x00\xff\xff\xff\xff",
        b"",
    ],
    ids=["point", "collection", "nested", "count", "empty"],
)
def test_crafted_outlines_are_refused_in_one_line(tmp_path: Path, outline: bytes) -> None:
    geojson, columns = write(tmp_path, everything())
    table = pq.read_table(columns)
    wkb = [outline, *table["outline"].to_pylist()[1:]]
    number = table.column_names.index("outline")
    crafted = table.set_column(number, "outline", pa.array(wkb, pa.binary()))
    pq.write_table(crafted, columns)
    confirm_columns(columns, geojson, tmp_path)
    with pytest.raises(EntryDataError, match="damaged"):
        list(detection_chunks(geojson, columns))
