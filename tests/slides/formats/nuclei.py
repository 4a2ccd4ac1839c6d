"""The same tissue in every kind of file: a project of them, segmented, and compared with the plain file."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from importlib import util
from pathlib import Path
from typing import Any

import numpy as np
import shapely
from numpy.typing import NDArray
from scipy.spatial import KDTree

import cellgennet_qupath as cgn
from cellgennet_qupath.slides.reader import open_slide

from .kinds import KINDS, Kind
from .tiffs import Pixels

NEAR = 4.0
"""Pixels between the centres of a nucleus and its partner."""


@dataclass(frozen=True)
class Row:
    """Nuclei of one kind of file. matched: nuclei of the plain file that have a partner here."""

    kind: str
    reader: str
    exact: bool
    count: int
    matched: int


def write_project(folder: Path, slides: Sequence[Path], size: tuple[int, int], mpp: float = 0.25) -> Path:
    """A project as QuPath writes it, with an entry for each slide, numbered from 1."""
    images = []
    for number, slide in enumerate(slides, start=1):
        vendor = slide.suffix in (".svs", ".scn", ".dcm")
        provider = "openslide.OpenslideServerBuilder" if vendor else "bioformats.BioFormatsServerBuilder"
        length = {"value": mpp, "unit": "µm"}
        metadata: dict[str, Any] = {
            "name": slide.name,
            "width": size[0],
            "height": size[1],
            "sizeZ": 1,
            "sizeT": 1,
            "isRGB": True,
            "pixelType": "UINT8",
            "channels": [{"name": name, "color": -1} for name in ("Red", "Green", "Blue")],
            "pixelCalibration": {"pixelWidth": length, "pixelHeight": length},
        }
        builder = {
            "builderType": "uri",
            "providerClassName": f"qupath.lib.images.servers.{provider}",
            "uri": slide.resolve().as_uri(),
            "args": [],
            "metadata": metadata,
        }
        images.append(
            {"serverBuilder": builder, "entryID": str(number), "imageName": f"{number} {slide.name}"}
        )
    folder.mkdir(parents=True, exist_ok=True)
    content = {"version": "0.5.1", "uri": (folder / "project.qpproj").as_uri(), "images": images}
    (folder / "project.qpproj").write_text(json.dumps(content), encoding="utf-8")
    return folder


def compare(folder: Path, tissue: Pixels, kinds: Sequence[Kind] = KINDS) -> list[Row]:
    """Write tissue (uint8 RGB, 0.25 µm per pixel) in every kind of file, segment all, compare with PNG."""
    usable = [kind for kind in kinds if not kind.needs or util.find_spec(kind.needs)]
    usable.sort(key=lambda kind: kind.name != "PNG")
    slides = []
    for number, kind in enumerate(usable):
        place = folder / f"kind{number}"
        place.mkdir()
        slides.append(kind.write(place, tissue))
    project = write_project(folder / "project", slides, (tissue.shape[1], tissue.shape[0]))
    cgn.segment(project, device="cpu")
    rows = []
    with cgn.open_project(project, backend="files", writable=False) as opened:
        plain = _centres(opened.detections(opened.entries[0]).polygons)
        for kind, entry, slide in zip(usable, opened.entries, slides, strict=True):
            centres = _centres(opened.detections(entry).polygons)
            with open_slide(slide) as reader:
                backend = reader.backend
            near = KDTree(centres).query(plain)[0] <= NEAR if len(centres) else np.zeros(len(plain), bool)
            rows.append(Row(kind.name, backend, kind.exact, len(centres), int(np.count_nonzero(near))))
    return rows


def _centres(polygons: NDArray[np.object_]) -> NDArray[np.float64]:
    return shapely.get_coordinates(shapely.centroid(polygons))
