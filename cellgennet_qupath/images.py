"""The public functions for images that are in no QuPath project. ``api`` offers them beside its own."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from .core.progress import LOG, Reporter

if TYPE_CHECKING:
    from .qupath.loose import LooseImages

StrPath = str | os.PathLike[str]


def open_images(
    images: StrPath | Sequence[StrPath],
    output: StrPath,
    *,
    mpp: float | None = None,
    stain: str = "H&E",
    reporter: Reporter = LOG,
) -> LooseImages:
    """Open images that are in no QuPath project; results go to the folder ``output``.

    images : images, and folders that are searched for images; files that cannot be read are reported.
    mpp    : µm per pixel of images without a pixel size.
    stain  : "H&E" is measured with QuPath's default vectors, any other is not measured.

    It has the interface of a project: ``segment`` writes one GeoJSON file per image, and ``open_project``
    opens the folder again. Close it, or use it in a ``with`` block. Raises UsageError where no image is
    found, ProjectError where ``output`` cannot be used, and LockedError.

    >>> import cellgennet_qupath as cgn
    >>> with cgn.open_images("MyProject/slides", "results") as slides:
    ...     [image.name for image in slides.entries]
    ['slide1_glands.ome.tif', 'slide2_inflamed.ome.tif', 'slide3_nests.ome.tif', 'slide4_mixed.ome.tif']
    """
    from .qupath.image_list import own_files
    from .qupath.loose import open_loose
    from .qupath.search import find_images, in_words

    places = [Path(place) for place in ([images] if isinstance(images, str | os.PathLike) else images)]
    found, passed = find_images(places, own_files(Path(output)))
    for line in in_words(passed):
        reporter.warn(line)
    opened = open_loose(found, Path(output), mpp, stain, reporter)
    opened.passed_over = passed
    return opened
