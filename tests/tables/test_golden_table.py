"""The table that real QuPath exported of the objects in ``tests/measure/data``."""

from __future__ import annotations

import gzip
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from cellgennet_qupath.qupath.formats.detections import read_detections
from cellgennet_qupath.qupath.formats.outlines import drawn, roi_names
from cellgennet_qupath.qupath.project import ROOT, DetectionChunk, ImageEntry
from cellgennet_qupath.tables.spool import Export
from cellgennet_qupath.tables.text import write_text_table

DATA = Path(__file__).parent / "data"
MEASURED = Path(__file__).parents[1] / "measure" / "data"


@pytest.mark.parametrize("version", ["0.5", "0.7"])
def test_byte_by_byte(version: str, tmp_path: Path) -> None:
    expected = gzip.decompress((DATA / f"table_v{version}.csv.gz").read_bytes()).decode("utf-8")
    detected = read_detections(MEASURED / f"measured_v{version}.geojson.gz")
    ids = [line.split(",")[1] for line in expected.splitlines()[1:]]
    assert sorted(ids) == sorted(detected.ids)
    detected = detected.take(np.array([detected.ids.tolist().index(identifier) for identifier in ids]))
    # QuPath 0.5 exported without the pixel size that had just been set.
    mpp = (0.5, 0.4) if version == "0.7" else None
    entry = ImageEntry("1", "tissue.png", "", None, (160, 128), mpp)

    def blocks() -> Iterator[tuple[ImageEntry, DetectionChunk]]:
        for rows in np.array_split(np.arange(len(detected)), 3):
            part = detected.take(rows)
            names, parents = (np.full(len(part), text, dtype=object) for text in ("", ROOT))
            order = tuple(expected.splitlines()[0].split(",")[9:])
            yield entry, DetectionChunk(part, names, roi_names(drawn(part)), parents, order)

    file = tmp_path / "t.csv"
    write_text_table(file, Export(blocks()), ",")
    assert file.read_text(encoding="utf-8") == expected
