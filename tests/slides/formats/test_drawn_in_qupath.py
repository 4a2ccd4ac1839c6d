"""What is drawn on a mark in QuPath is on the mark here, and what is written here is on the mark there.

QuPath opens each file with its own reader (OpenSlide or ImageJ) and measures in its own pixels. The kinds
that it opens through Bio-Formats alone are left out: JPEG XL and WebP in TIFF, and OME-Zarr.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import shapely
from numpy.typing import NDArray
from scipy import ndimage

from cellgennet_qupath.nuclei import Nuclei
from cellgennet_qupath.qupath.images import open_image
from cellgennet_qupath.qupath.java.jvm import java_class
from cellgennet_qupath.qupath.open import open_project
from tests.qupath.backends import needs_qupath

from .kinds import KINDS, Kind
from .test_kinds import SIZE, marked
from .tiffs import SCN_CANVAS, SCN_CORNER

pytestmark = pytest.mark.qupath

OPENED = [
    kind for kind in KINDS if kind.name not in ("TIFF, JPEG XL", "TIFF, WebP") and kind.reader != "zarr"
]
SCN = next(kind for kind in KINDS if "SCN" in kind.name)
CASES = [pytest.param(kind, [], id=kind.name) for kind in OPENED]
CASES.append(pytest.param(SCN, ["--no-crop"], id="Leica SCN on its canvas"))


def darkness(pixels: NDArray[np.uint8]) -> NDArray[np.float64]:
    return np.clip(243.0 - pixels[..., 1] - 12, 0, None)


def marks_in(dark: NDArray[np.float64], near: NDArray[np.float64], reach: int = 45) -> NDArray[np.float64]:
    """(n, 2) centres of the marks near n points, as their darkness has them."""
    found = []
    for x, y in near:
        left, top = int(x) - reach, int(y) - reach
        down, across = ndimage.center_of_mass(dark[top : top + 2 * reach + 1, left : left + 2 * reach + 1])
        found.append((left + across + 0.5, top + down + 0.5))
    return np.array(found)


class Drawing:
    """A project that QuPath makes of one slide."""

    def __init__(self, folder: Path, slide: Path, args: list[str]) -> None:
        needs_qupath()
        java_class("qupath.lib.images.servers.openslide.jna.OpenSlideLoader").tryToLoadQuietly()
        kind = java_class("java.awt.image.BufferedImage").class_
        provider = java_class("qupath.lib.images.servers.ImageServerProvider")
        try:
            support = provider.getPreferredUriImageSupport(kind, slide.as_uri(), args)
        except java_class("java.lang.NoClassDefFoundError") as lacking:
            pytest.skip(f"this QuPath lacks its own reader of such files ({lacking})")
        self.path = folder
        folder.mkdir()
        file = java_class("java.io.File")(str(folder))
        self._project: Any = java_class("qupath.lib.projects.Projects").createProject(file, kind)
        self._entry: Any = self._project.addImage(support.getBuilders().get(0))
        self.data: Any = self._entry.readImageData()

    def reload(self) -> None:
        """Read the data again, as they are on the disk."""
        self.data.getServer().close()
        self.data = self._entry.readImageData()

    def save(self) -> None:
        self._entry.saveImageData(self.data)
        self._project.syncChanges()

    def darkness(self) -> NDArray[np.float64]:
        server = self.data.getServer()
        width, height = int(server.getWidth()), int(server.getHeight())
        image = server.readRegion(1.0, 0, 0, width, height)
        packed = np.asarray(image.getRGB(0, 0, width, height, None, 0, width)).reshape(height, width)
        return darkness(np.stack([packed >> shift & 255 for shift in (16, 8, 0)], axis=-1).astype(np.uint8))

    def draw(self, points: NDArray[np.float64], radius: float = 15.0) -> None:
        """Draw circles around points."""
        rois, objects = java_class("qupath.lib.roi.ROIs"), java_class("qupath.lib.objects.PathObjects")
        plane = java_class("qupath.lib.regions.ImagePlane").getDefaultPlane()
        for x, y in points.tolist():
            roi = rois.createEllipseROI(x - radius, y - radius, 2 * radius, 2 * radius, plane)
            self.data.getHierarchy().addObject(objects.createAnnotationObject(roi))

    def detections(self) -> NDArray[np.float64]:
        """(n, 2) centroids of the detections."""
        rois = [one.getROI() for one in self.data.getHierarchy().getDetectionObjects()]
        return np.array([(float(roi.getCentroidX()), float(roi.getCentroidY())) for roi in rois])


@pytest.mark.parametrize(("kind", "args"), CASES)
def test_objects_are_on_their_marks_in_both_programs(kind: Kind, args: list[str], tmp_path: Path) -> None:
    pytest.importorskip(kind.needs or "numpy", reason=f"{kind.needs} writes this kind of file")
    image, centres = marked()
    corner = np.array(SCN_CORNER if args else (0, 0))
    drawing = Drawing(tmp_path / "project", kind.write(tmp_path, image), args)
    there = marks_in(drawing.darkness(), centres + corner)
    assert np.abs(there - centres - corner).max() < 0.5
    drawing.draw(there)
    drawing.save()

    with open_project(tmp_path / "project", "files") as project:
        (entry,) = project.entries
        assert entry.size == (SCN_CANVAS if args else SIZE)
        outlined = [annotation.geometry for annotation in project.annotations(entry)]
        with open_image(entry) as reader:
            here = marks_in(darkness(reader.read_grid(0, 0, *entry.size, 1.0)), centres + corner)
    drawn = shapely.get_coordinates(shapely.centroid(outlined))
    assert nearest(drawn, here).max() < 0.5

    nuclei = Nuclei.from_polygons([shapely.Point(x, y).buffer(14) for x, y in here])
    with open_project(tmp_path / "project", "qupath", writable=True) as project:
        project.write_detections(project.entries[0], nuclei)
    drawing.reload()
    written = drawing.detections()
    assert len(written) == len(here)
    assert nearest(written, marks_in(drawing.darkness(), written)).max() < 0.5
    drawing.data.getServer().close()


def nearest(points: NDArray[np.float64], marks: NDArray[np.float64]) -> NDArray[np.float64]:
    """(n,) distance of each point to its nearest mark; each mark is one point's."""
    distances = np.linalg.norm(points[:, None] - marks[None], axis=-1)
    assert sorted(distances.argmin(axis=1).tolist()) == list(range(len(marks)))
    found: NDArray[np.float64] = distances.min(axis=1)
    return found
