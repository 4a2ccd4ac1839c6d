"""Files that real QuPath wrote, holding every kind of object and shape once."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.qupath.qpfiles import unpacked


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


CHANNELS = """[{"name": "Red", "color": -65536}, {"name": "Green", "color": -16711936},
        {"name": "Blue", "color": -16776961}]"""

PROJECT = """
{"version": "0.5.1", "createTimestamp": 1795355545385, "modifyTimestamp": 1795355545385,
 "uri": "file:/home/ann/study/project/project.qpproj", "lastID": 2, "images": [
  {"serverBuilder": {"builderType": "uri", "providerClassName": "a.b.C",
      "uri": "file:/home/ann/study/slides/one%20slide.tif", "args": ["--series", "0"],
      "metadata": {"name": "one", "width": 200, "height": 100, "sizeZ": 3, "sizeT": 2,
        "channelType": "DEFAULT", "isRGB": true, "pixelType": "UINT8",
        "levels": [{"downsample": 1.0, "width": 200, "height": 100}], "channels": CHANNELS,
        "pixelCalibration": {"pixelWidth": {"value": 0.5, "unit": "µm"},
                             "pixelHeight": {"value": 0.25, "unit": "µm"},
                             "zSpacing": {"value": 1.0, "unit": "z-slice"},
                             "timeUnit": "SECONDS", "timepoints": []},
        "preferredTileWidth": 64, "preferredTileHeight": 64}},
   "entryID": 1, "randomizedName": "d5ce5d3c-aca6-483b-8902-fd2ae5847004", "imageName": "one"},
  {"serverBuilder": {"builderType": "uri", "providerClassName": "a.b.C",
      "uri": "file:/home/ann/study/slides/two.tif", "args": [],
      "metadata": {"name": "two", "width": 64, "height": 48, "sizeZ": 1, "sizeT": 1,
        "channelType": "DEFAULT", "isRGB": true, "pixelType": "UINT8",
        "levels": [{"downsample": 1.0, "width": 64, "height": 48}], "channels": CHANNELS,
        "pixelCalibration": {"pixelWidth": {"value": 1.0, "unit": "px"},
                             "pixelHeight": {"value": 1.0, "unit": "px"},
                             "zSpacing": {"value": 1.0, "unit": "z-slice"},
                             "timeUnit": "SECONDS", "timepoints": []},
        "preferredTileWidth": 64, "preferredTileHeight": 48}},
   "entryID": 2, "randomizedName": "cb14cdda-abb3-422a-bb53-48aa1b8c2501", "imageName": "two"}
]}
""".replace("CHANNELS", CHANNELS)
