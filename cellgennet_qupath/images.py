"""The public functions for images that are in no QuPath project. ``api`` offers them beside its own."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from .core.progress import LOG, Reporter

if TYPE_CHECKING:
    from .qupath.loose import LooseImages
    from .qupath.open import Backend
    from .segmentation.new_project import NewProject

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


def create_project(
    images: StrPath | Sequence[StrPath],
    path: StrPath,
    *,
    mpp: float | None = None,
    nuclei: StrPath | None = None,
    backend: Backend = "auto",
    reporter: Reporter = LOG,
) -> NewProject:
    """Make a QuPath project of images in the folder ``path``, which must be missing or empty.

    images  : images and folders of images, or the folder of results of ``open_images``: its images with
              their nuclei.
    mpp     : µm per pixel of images without a pixel size; QuPath then shows it.
    nuclei  : a folder of results whose nuclei go into the project too.
    backend : as for ``open_project``. With QuPath, it chooses the reader of each image, and the nuclei are
              in the project; else they are files to import.

    Raises UsageError where no image is found, ProjectError where ``path`` cannot be used, and QuPathError.

    >>> import cellgennet_qupath as cgn
    >>> made = cgn.create_project("MyProject/slides", "NewProject", backend="files")
    >>> len(made.images), made.nuclei
    (4, 0)
    """
    from .segmentation.new_project import make_project

    places = [Path(place) for place in ([images] if isinstance(images, str | os.PathLike) else images)]
    earlier = None if nuclei is None else Path(nuclei)
    return make_project(places, Path(path), mpp, earlier, backend, reporter)
