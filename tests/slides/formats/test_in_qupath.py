"""QuPath, through OpenSlide, shows the same pixels at the same coordinates."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from cellgennet_qupath.qupath.java.jvm import java_class
from cellgennet_qupath.slides.reader import open_slide
from cellgennet_qupath.slides.source import Frame
from cellgennet_qupath.slides.view import View
from tests.qupath.backends import needs_qupath

from .kinds import KINDS
from .test_kinds import SIZE, marked
from .tiffs import SCN_CANVAS, SCN_CORNER, write_scn

pytestmark = pytest.mark.qupath

NAMES = (
    "SVS, JPEG",
    "SVS, JPEG 2000 in RGB",
    "SVS, JPEG 2000 in YCbCr",
    "SVS, levels padded to tiles",
    "SVS without a thumbnail",
    "SVS with a decimal comma",
    "SVS with three focal planes",
    "TIFF, levels by 2",
    "TIFF, levels by 4",
    "TIFF, levels by 8",
    "Leica SCN, two areas",
    "DICOM",
)
"""Kinds that this QuPath opens without Bio-Formats."""


class Server:
    """An image in QuPath, opened through OpenSlide."""

    def __init__(self, path: Path, *args: str) -> None:
        needs_qupath()
        java_class("qupath.lib.images.servers.openslide.jna.OpenSlideLoader").tryToLoadQuietly()
        made = java_class("qupath.lib.images.servers.openslide.OpenslideServerBuilder")()
        self._server: Any = made.buildServer(java_class("java.net.URI").create(path.as_uri()), list(args))
        self.size = (int(self._server.getWidth()), int(self._server.getHeight()))

    def read(self, x: int, y: int, width: int, height: int) -> NDArray[np.uint8]:
        image = self._server.readRegion(1.0, x, y, width, height)
        packed = np.asarray(image.getRGB(0, 0, width, height, None, 0, width)).reshape(height, width)
        return np.stack([packed >> 16 & 255, packed >> 8 & 255, packed & 255], axis=-1).astype(np.uint8)


@pytest.mark.parametrize("name", NAMES)
def test_the_same_pixels_at_the_same_coordinates(name: str, tmp_path: Path) -> None:
    kind = next(kind for kind in KINDS if kind.name == name)
    pytest.importorskip(kind.needs or "numpy", reason=f"{kind.needs} writes this kind of file")
    path = kind.write(tmp_path, marked()[0])
    server = Server(path)
    assert server.size == SIZE
    with open_slide(path) as reader:
        assert np.abs(server.read(0, 0, *SIZE).astype(int) - reader.read_grid(0, 0, *SIZE, 1.0)).max() <= 3


@pytest.mark.parametrize(("args", "frame"), [((), "bounds"), (("--no-crop",), "canvas")])
def test_an_scn_begins_at_its_bounds_unless_the_entry_says_not_to(
    args: tuple[str, ...], frame: Frame, tmp_path: Path
) -> None:
    image, _ = marked()
    path = write_scn(tmp_path / "a.scn", [(image, SCN_CORNER)], (4,))
    server = Server(path, *args)
    x, y = (0, 0) if frame == "bounds" else SCN_CORNER
    with open_slide(path, view=View(frame=frame)) as reader:
        assert server.size == (reader.width, reader.height) == (SIZE if frame == "bounds" else SCN_CANVAS)
        read = reader.read_grid(x, y, *SIZE, 1.0)
    assert np.abs(server.read(x, y, *SIZE).astype(int) - read).max() <= 3
