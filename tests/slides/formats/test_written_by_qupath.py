"""Files that QuPath writes have the same pixels, size and pixel size here.

QuPath's writer of pyramidal OME-TIFF is part of its extension for Bio-Formats: that test needs one with it.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from cellgennet_qupath.qupath.java.jvm import java_class
from cellgennet_qupath.slides.reader import open_slide
from tests.qupath.backends import needs_qupath

from .kinds import KINDS
from .test_drawn_in_qupath import darkness, marks_in
from .test_kinds import SIZE, marked

pytestmark = pytest.mark.qupath


@pytest.mark.parametrize(("ending", "mpp"), [("ome.tif", 0.25), ("tif", 0.25), ("png", None)])
def test_the_pixels_that_qupath_wrote(ending: str, mpp: float | None, tmp_path: Path) -> None:
    needs_qupath()
    java_class("qupath.lib.images.servers.openslide.jna.OpenSlideLoader").tryToLoadQuietly()
    image, centres = marked()
    source = next(kind for kind in KINDS if kind.name == "TIFF, levels by 2").write(tmp_path, image)
    provider = java_class("qupath.lib.images.servers.ImageServerProvider")
    kind = java_class("java.awt.image.BufferedImage").class_
    server = provider.getPreferredUriImageSupport(kind, source.as_uri(), []).getBuilders().get(0).build()
    writers = java_class("qupath.lib.images.writers.ImageWriterTools").getCompatibleWriters(server, None)
    writer = next((one for one in writers if ending in [str(name) for name in one.getExtensions()]), None)
    if writer is None:
        pytest.skip(f"this QuPath has no writer of .{ending} (it is part of the extension for Bio-Formats)")
    path = tmp_path / f"written.{ending}"
    writer.writeImage(server, str(path))
    server.close()
    with open_slide(path) as reader:
        assert (reader.width, reader.height) == SIZE
        assert reader.mpp == (None if mpp is None else pytest.approx((mpp, mpp)))
        for step in reader.level_downsamples:
            read = reader.read_grid(0, 0, int(SIZE[0] / step), int(SIZE[1] / step), step)
            found = marks_in(darkness(read), centres / step, reach=int(45 / step)) * step
            assert np.abs(found - centres).max() < 0.5 * step
        assert np.array_equal(reader.read_grid(0, 0, *SIZE, 1.0), image)
