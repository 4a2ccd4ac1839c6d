"""Files that real QuPath wrote, holding every kind of object and shape once."""

from __future__ import annotations

from pathlib import Path

import pytest
from qpfiles import unpacked


@pytest.fixture(scope="session")
def small() -> bytes:
    """A ``data.qpdata`` of some kilobytes."""
    return unpacked("small_v0.5.qpdata")


@pytest.fixture
def project(tmp_path: Path, small: bytes) -> Path:
    """A project of one opened image (id 1, two annotations, a detection) and one never opened (id 2)."""
    folder = tmp_path / "project"
    (folder / "data" / "1").mkdir(parents=True)
    (folder / "data" / "1" / "data.qpdata").write_bytes(small)
    (folder / "project.qpproj").write_text(PROJECT, encoding="utf-8")
    return folder


PROJECT = """
{"version": "0.5.1", "uri": "file:/home/ann/study/project/project.qpproj", "lastID": 2, "images": [
  {"serverBuilder": {"builderType": "uri", "providerClassName": "a.b.C",
      "uri": "file:/home/ann/study/slides/one%20slide.tif", "args": ["--series", "0"],
      "metadata": {"name": "one slide.tif", "width": 200, "height": 100, "sizeZ": 3, "sizeT": 2,
        "pixelType": "UINT8", "channels": [{}, {}, {}],
        "pixelCalibration": {"pixelWidth": {"value": 0.5, "unit": "µm"},
                             "pixelHeight": {"value": 0.25, "unit": "µm"}}}},
   "entryID": 1, "imageName": "one"},
  {"serverBuilder": {"builderType": "uri", "uri": "file:/home/ann/study/slides/two.tif", "args": [],
      "metadata": {"name": "two.tif", "width": 64, "height": 48,
        "pixelCalibration": {"pixelWidth": {"value": 1.0, "unit": "px"},
                             "pixelHeight": {"value": 1.0, "unit": "px"}}}},
   "entryID": 2, "imageName": "two"}
]}
"""
