"""Regions of class Corrected in a project: what counts is what their user saw last in QuPath."""

from __future__ import annotations

import json
import os
from pathlib import Path

import numpy as np
import pytest
import shapely

from cellgennet_qupath.annotations.labels import Split
from cellgennet_qupath.annotations.reader import read_supervision
from cellgennet_qupath.core.config import ClassNames
from cellgennet_qupath.core.errors import EntryDataError
from cellgennet_qupath.nuclei import Nuclei
from cellgennet_qupath.qupath.files import FilesBackend

REGION = shapely.box(120, 10, 190, 90)
NUCLEI = [shapely.Point(x, 40).buffer(6) for x in (140, 170)] + [shapely.Point(20, 90).buffer(6)]


def corrected(project: Path, entry: str, *drawn: shapely.Geometry) -> None:
    """Annotations of an image: the region, and outlines without a class."""
    place = project / "cellgennet" / "annotations"
    place.mkdir(parents=True, exist_ok=True)
    features = [
        {
            "type": "Feature",
            "geometry": json.loads(shapely.to_geojson(shape)),
            "properties": {"objectType": "annotation"} | ({"classification": {"name": name}} if name else {}),
        }
        for shape, name in [(REGION, "Corrected"), *((shape, "") for shape in drawn)]
    ]
    (place / f"{entry}.geojson").write_text(json.dumps({"features": features}), encoding="utf-8")


def trained_on(project: Path, row: int, split: Split = Split.TRAINING) -> list[float]:
    """Areas of the nuclei of a split."""
    with FilesBackend(project) as opened:
        found = read_supervision(opened, opened.entries[row], ClassNames(), (200, 100), 0.5)
        return sorted(shapely.area(found.of(split)).round().tolist())


def segmented(project: Path, row: int) -> Path:
    with FilesBackend(project, writable=True) as opened:
        return opened.write_detections(opened.entries[row], Nuclei.from_polygons(NUCLEI)).file


def test_detections_count_inside_and_never_elsewhere(project: Path) -> None:
    segmented(project, 1)
    corrected(project, "2")
    area = round(NUCLEI[0].area)
    assert trained_on(project, 1) == [area, area]
    corrected(project, "2", shapely.Point(141, 40).buffer(8))
    assert trained_on(project, 1) == [area, round(shapely.Point(0, 0).buffer(8).area)]
    assert trained_on(project, 1, Split.VALIDATION) == []


def test_what_was_saved_in_qupath_since_is_not_known_without_it(project: Path) -> None:
    """The user imported the nuclei, deleted one and saved: the file still holds it."""
    file = segmented(project, 0)
    data = project / "data" / "1" / "data.qpdata"
    os.utime(data, ns=(1, file.stat().st_mtime_ns + 10**9))
    corrected(project, "1")
    newer = project / "cellgennet" / "annotations" / "1.geojson"
    os.utime(newer, ns=(1, data.stat().st_mtime_ns + 10**9))
    with pytest.raises(EntryDataError, match=r"only QuPath can read.*cellgennet_correct\.groovy"):
        trained_on(project, 0)
    # What was segmented after the last save is what the user sees next.
    os.utime(file, ns=(1, data.stat().st_mtime_ns + 10**9))
    assert len(trained_on(project, 0)) == 2


def test_without_corrected_regions_detections_do_not_matter(project: Path) -> None:
    file = segmented(project, 0)
    data = project / "data" / "1" / "data.qpdata"
    os.utime(data, ns=(1, file.stat().st_mtime_ns + 10**9))
    assert np.isfinite(trained_on(project, 0)).all()
