"""Nuclei and cells that real QuPath measured, on a small picture made for it.

The outlines have holes and several parts, are cut by the image's edge, overlap, and run exactly through
the centres of pixels; the stains are an H-DAB image's own, on a background that is not white.
"""

from __future__ import annotations

import gzip
from pathlib import Path

import cv2
import numpy as np
import pandas as pd
import pytest

from cellgennet_qupath.measure.compartments import measure_cells, stain_comes_first
from cellgennet_qupath.measure.tile import TOUCHES_EDGE, MeasureOptions, measure_tile
from cellgennet_qupath.nuclei import Nuclei
from cellgennet_qupath.qupath.formats.detections import read_detections
from cellgennet_qupath.qupath.formats.qpdata import parse
from cellgennet_qupath.qupath.stains import stains_of

from .picture import Picture

DATA = Path(__file__).parent / "data"
MPP = (0.5, 0.4)

versions = pytest.mark.parametrize("version", ["0.5", "0.7"])


@pytest.fixture(scope="module")
def tissue() -> Picture:
    image = cv2.imread(str(DATA / "tissue.png"), cv2.IMREAD_COLOR)
    assert image is not None
    return Picture(np.asarray(image[..., ::-1], np.uint8).copy())


def how(version: str) -> MeasureOptions:
    data = parse(gzip.decompress((DATA / f"data_v{version}.qpdata.gz").read_bytes()))
    stains = stains_of(data.image_type, data.stains)
    assert stains is not None
    assert stains.names == ("Hematoxylin", "DAB")
    assert stains.background == (242, 240, 236)
    assert stains.vectors[1] == pytest.approx(np.array([0.25, 0.55, 0.8]) / np.sqrt(1.005), abs=1e-4)
    return MeasureOptions(MPP, stains)


def objects(version: str, cells: bool) -> Nuclei:
    found = read_detections(DATA / f"measured_v{version}.geojson.gz")
    assert found.cells is not None
    chosen = found.take(np.array([(cell is not None) == cells for cell in found.cells]))
    return Nuclei(
        **{**vars(chosen), "measurements": chosen.measurements.dropna(axis=1, how="all")},
    )


def assert_as_qupath(ours: pd.DataFrame, theirs: pd.DataFrame) -> None:
    assert [name for name in ours.columns if name != TOUCHES_EDGE] == list(theirs.columns)
    for name in theirs.columns:
        expected = theirs[name].to_numpy()
        assert ours[name].to_numpy() == pytest.approx(expected, rel=1e-5, abs=1e-7, nan_ok=True), name


@versions
def test_detections(version: str, tissue: Picture) -> None:
    theirs = objects(version, cells=False)
    assert len(theirs) == 17
    ours = measure_tile(tissue, theirs.polygons, how(version))
    assert_as_qupath(ours, theirs.measurements)
    assert 2 <= ours[TOUCHES_EDGE].sum() <= 4
    assert ours["Circularity"].isna().sum() == 1  # of two parts


@versions
def test_cells(version: str, tissue: Picture) -> None:
    theirs = objects(version, cells=True)
    assert len(theirs) == 6
    assert theirs.cells is not None
    first = stain_comes_first(version)
    ours = measure_cells(tissue, theirs.polygons, theirs.cells, how(version), first)
    assert_as_qupath(ours, theirs.measurements)
    assert ("Hematoxylin: Cytoplasm: Mean" in ours) == (version == "0.5")
    assert ("Cytoplasm: Hematoxylin: Mean" in ours) == (version == "0.7")


def test_a_nucleus_without_a_cell_has_no_cytoplasm(tissue: Picture) -> None:
    cells = objects("0.7", cells=True)
    assert cells.cells is not None
    around = cells.cells.copy()
    around[[0, 3]] = None
    whole = measure_cells(tissue, cells.polygons, cells.cells, how("0.7"))
    some = measure_cells(tissue, cells.polygons, around, how("0.7"))
    assert list(some) == list(whole)
    for name in map(str, whole):
        alone = name.startswith("Nucleus: ") or name == TOUCHES_EDGE
        assert some[name].isna().tolist() == [not alone and row in (0, 3) for row in range(6)]
        assert some[name].dropna().tolist() == whole[name][some[name].notna()].tolist()


@pytest.mark.parametrize("stained", [True, False])
def test_no_cells_keep_their_columns(tissue: Picture, stained: bool) -> None:
    cells = objects("0.7", cells=True)
    assert cells.cells is not None
    wanted = how("0.7") if stained else MeasureOptions(None)
    none = measure_cells(tissue, cells.polygons[:0], cells.cells[:0], wanted)
    assert list(none) == list(measure_cells(tissue, cells.polygons, cells.cells, wanted))
    assert len(none) == 0


@pytest.mark.parametrize(
    ("version", "first"),
    [
        ("0.4.4", True),
        ("0.5.1", True),
        ("v0.5.0", True),
        ("0.6.0-rc5", False),
        ("0.7.0", False),
        ("1.0", False),
        ("", False),
    ],
)
def test_which_name_comes_first(version: str, first: bool) -> None:
    assert stain_comes_first(version) is first
