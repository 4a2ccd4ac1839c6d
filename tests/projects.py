"""QuPath projects as small as a test needs, written without QuPath."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import shapely
from numpy.typing import NDArray

from .drawn_tissue import tissue


def save_slide(file: Path, image: NDArray[np.uint8]) -> Path:
    """Write an RGB picture as PNG."""
    file.parent.mkdir(parents=True, exist_ok=True)
    assert cv2.imwrite(str(file), image[..., ::-1])
    return file


def drawn_slide(file: Path, seed: int = 0, width: int = 160, height: int = 160) -> Path:
    """A slide of purple discs on pink."""
    side = max(width, height)
    return save_slide(file, np.ascontiguousarray(tissue(seed, side)[0][:height, :width]))


def write_project(folder: Path, slides: Sequence[Path], mpp: float | None = 0.25) -> Path:
    """A project of these slides, with the ids 1, 2, ... and the names of their files, never opened in QuPath.

    mpp : µm per pixel; None for images without a pixel size. A slide that does not exist is recorded too.
    """
    folder.mkdir(parents=True, exist_ok=True)
    images = [_entry(number, slide, mpp) for number, slide in enumerate(slides, start=1)]
    content = {"version": "0.5.1", "uri": (folder / "project.qpproj").as_uri(), "images": images}
    (folder / "project.qpproj").write_text(json.dumps(content), encoding="utf-8")
    return folder


def keep_images(project: Path, *numbers: int) -> Path:
    """Take all images out of a project but these, by their IDs."""
    file = project / "project.qpproj"
    description = json.loads(file.read_text(encoding="utf-8"))
    description["images"] = [image for image in description["images"] if image["entryID"] in numbers]
    assert len(description["images"]) == len(numbers)
    file.write_text(json.dumps(description), encoding="utf-8")
    return project


def _entry(number: int, slide: Path, mpp: float | None) -> dict[str, Any]:
    picture = cv2.imread(str(slide)) if slide.is_file() else None
    metadata: dict[str, Any] = {"name": slide.name, "pixelType": "UINT8"}
    if picture is not None:
        metadata |= {"width": picture.shape[1], "height": picture.shape[0]}
    if mpp is not None:
        side = {"value": mpp, "unit": "µm"}
        metadata["pixelCalibration"] = {"pixelWidth": side, "pixelHeight": side}
    builder = {"builderType": "uri", "uri": slide.as_uri(), "args": [], "metadata": metadata}
    return {"serverBuilder": builder, "entryID": number, "imageName": slide.name}


def feature(geometry: shapely.Geometry, path_class: str = "", kind: str = "annotation") -> dict[str, Any]:
    """A GeoJSON feature as QuPath writes it."""
    properties: dict[str, Any] = {"objectType": kind}
    if path_class:
        properties["classification"] = {"name": path_class, "color": [200, 0, 0]}
    return {"type": "Feature", "geometry": json.loads(shapely.to_geojson(geometry)), "properties": properties}


def annotate(project: Path, number: int, features: Sequence[dict[str, Any]]) -> Path:
    """Annotations of an image, in the GeoJSON file that is read where there is no QuPath."""
    file = project / "cellgennet" / "annotations" / f"{number}.geojson"
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(json.dumps({"type": "FeatureCollection", "features": list(features)}), encoding="utf-8")
    return file


def outlined(seed: int, x: int, y: int, side: int, path_class: str, of: int = 160) -> list[dict[str, Any]]:
    """A region of a ``drawn_slide``, and the outlines of the nuclei whose centres are in it."""
    labels = tissue(seed, of)[1]
    region = shapely.box(x, y, x + side, y + side)
    shapes = []
    for number in range(1, int(labels.max()) + 1):
        rows, columns = np.nonzero(labels == number)
        centre = shapely.Point(columns.mean() + 0.5, rows.mean() + 0.5)
        if region.contains(centre):
            shapes.append(feature(centre.buffer(np.sqrt(len(rows) / np.pi))))
    return [feature(region, path_class), *shapes]
