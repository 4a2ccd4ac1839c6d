"""GeoJSON."""

from __future__ import annotations

import gzip
import json
from pathlib import Path

import pytest

from tests.helpers import Recorder

from .projects import CALIBRATED, TWO, export


@pytest.mark.parametrize("name", ["t.geojson", "t.geojson.gz"])
def test_geojson_names_the_image(tmp_path: Path, name: str) -> None:
    content = export(tmp_path, name, TWO).read_bytes()
    features = json.loads(gzip.decompress(content) if name.endswith("gz") else content)["features"]
    assert [f["properties"]["image"] for f in features] == ["a, b.svs", "a, b.svs", "uncalibrated"]
    assert {f["properties"]["objectType"] for f in features} == {"detection"}
    assert features[0]["properties"]["measurements"]["Area µm^2"] == 50


def test_columns_on_request_are_properties(tmp_path: Path) -> None:
    file = export(tmp_path, "t.geojson", CALIBRATED, columns=["image-id", "slide"])
    properties = json.loads(file.read_text(encoding="utf-8"))["features"][2]["properties"]
    assert (properties["image"], properties["Image ID"], properties["Slide"]) == ("third", "3", "")


def test_several_images_in_one_file_are_reported(tmp_path: Path) -> None:
    listener = Recorder()
    export(tmp_path, "t.geojson", CALIBRATED, reporter=listener)
    assert listener.warnings == [
        "The nuclei of 2 images are in one file, and viewers show them all on one slide. "
        "Write one file per image, with {image} in the name."
    ]
    for name, images in (("one.geojson", CALIBRATED[:2]), ("{image}.geojson", CALIBRATED)):
        listener = Recorder()
        export(tmp_path, name, images, reporter=listener)
        assert listener.warnings == []
