"""Every command refuses, or reports, an image whose pixels are not those that were annotated."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from cellgennet_qupath.cli import run
from cellgennet_qupath.core.errors import SlideError
from cellgennet_qupath.qupath.images import open_image
from cellgennet_qupath.qupath.project import ImageEntry

SIZE = (320, 240)
CROPPED = "the project shows it cropped"
OTHER_SIZE = "320 x 240 pixels, but the project recorded 640 x 480"


def entry(folder: Path, **changes: Any) -> ImageEntry:
    slide = folder / "a.png"
    cv2.imwrite(str(slide), np.full((SIZE[1], SIZE[0], 3), 200, np.uint8))
    return ImageEntry(**{"id": "1", "name": "a", "uri": slide.as_uri(), "slide": slide, "size": SIZE,
                         "mpp": None, **changes})  # fmt: skip


def test_an_image_is_opened_at_its_full_size(tmp_path: Path) -> None:
    for size in (SIZE, None):
        with open_image(entry(tmp_path, size=size)) as reader:
            assert (reader.width, reader.height) == SIZE


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"slide": None}, "its slide was not found .*--slides"),
        ({"slide": None, "missing": "a.svs belongs to the image B"}, "belongs to the image B.*--slides"),
        ({"altered": "cropped"}, CROPPED),
        ({"size": (640, 480)}, OTHER_SIZE),
        ({"series": 1}, "a.png"),
    ],
)
def test_an_image_that_is_not_the_recorded_one_is_refused(
    tmp_path: Path, changes: dict[str, Any], reason: str
) -> None:
    with pytest.raises(SlideError, match=reason):
        open_image(entry(tmp_path, **changes))


def square(x: int, y: int, side: int, path_class: str = "") -> dict[str, Any]:
    ring = [[x, y], [x + side, y], [x + side, y + side], [x, y + side], [x, y]]
    properties: dict[str, Any] = {"objectType": "annotation"}
    if path_class:
        properties["classification"] = {"name": path_class}
    return {
        "type": "Feature",
        "geometry": {"type": "Polygon", "coordinates": [ring]},
        "properties": properties,
    }


def crop(builder: dict[str, Any]) -> dict[str, Any]:
    return {"builderType": "cropped", "region": {"x": 0}, "builder": builder,
            "metadata": builder["metadata"]}  # fmt: skip


def enlarge(builder: dict[str, Any]) -> dict[str, Any]:
    return {**builder, "metadata": {**builder["metadata"], "width": 2 * SIZE[0], "height": 2 * SIZE[1]}}


@pytest.fixture
def project(tmp_path: Path, request: pytest.FixtureRequest) -> Path:
    """A project of one annotated image, recorded as the test says."""
    folder = tmp_path / "project"
    annotations = folder / "cellgennet" / "annotations" / "1.geojson"
    annotations.parent.mkdir(parents=True)
    slide = entry(tmp_path).slide
    assert slide is not None
    calibration = {f"pixel{side}": {"value": 0.25, "unit": "µm"} for side in ("Width", "Height")}
    builder = {
        "builderType": "uri",
        "providerClassName": "qupath.lib.images.servers.bioformats.BioFormatsServerBuilder",
        "uri": slide.as_uri(),
        "args": [],
        "metadata": {"name": "a", "width": SIZE[0], "height": SIZE[1], "pixelCalibration": calibration},
    }
    image = {"serverBuilder": request.param(builder), "entryID": 1, "imageName": "a"}
    document = {"version": "0.5.1", "uri": (folder / "project.qpproj").as_uri(), "images": [image]}
    (folder / "project.qpproj").write_text(json.dumps(document), encoding="utf-8")
    features = [square(10, 10, 90, "Training"), square(30, 30, 20), square(150, 10, 90, "Validation"),
                square(170, 30, 20)]  # fmt: skip
    annotations.write_text(json.dumps({"type": "FeatureCollection", "features": features}), encoding="utf-8")
    return folder


@pytest.mark.parametrize(
    ("project", "reason"), [(crop, CROPPED), (enlarge, OTHER_SIZE)], indirect=["project"]
)
@pytest.mark.parametrize("command", ["inspect", "segment", "train", "evaluate"])
def test_every_command_says_why_it_cannot_use_an_image(
    capsys: pytest.CaptureFixture[str], project: Path, reason: str, command: str
) -> None:
    options: list[object] = {
        "train": ["-o", project / "m.cgn"],
        "evaluate": ["-o", project / "report", "--no-classical"],
    }.get(command, [])
    code = run([command, *map(str, [project, "--backend", "files", *options])])
    printed = capsys.readouterr()
    assert code == {"inspect": 0, "segment": 3}.get(command, 1)
    assert any(reason in line for line in (printed.out + printed.err).splitlines())
    assert "internal error" not in printed.err
