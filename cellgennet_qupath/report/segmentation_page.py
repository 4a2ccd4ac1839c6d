"""The page on a segmentation run: a picture and the nuclear density of each slide, and what went wrong."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import matplotlib as mpl
import numpy as np
import shapely
from numpy.typing import NDArray

from ..bundle import Bundle
from ..core.environment import in_one_line
from ..qupath.images import open_image
from ..qupath.project import ImageEntry, Project
from ..segmentation.result import ImageResult
from ..slides.pixel_size import resolve_mpp
from .overlay import jpeg
from .pages import write_page

PAGE = "segment.html"
_SIDE = 480
_SQUARES = 60
"""Squares along the longer side of the density map, in each of which the nuclei are counted."""


@dataclass(frozen=True)
class SlideCard:
    """The page's entry on one slide; pictures are data URIs, "" if there is none.

    size      : width and height in full-resolution pixels.
    mpp       : µm per pixel.
    thumbnail : the slide; ``density``: the density map of its nuclei.
    densest   : highest density in the map, nuclei per mm²; None without a pixel size or without nuclei.
    problem   : why the picture or the nuclei could not be read.
    reader    : the library that read the slide's pixels.
    """

    result: ImageResult
    size: tuple[int, int] | None = None
    mpp: float | None = None
    thumbnail: str = ""
    density: str = ""
    densest: float | None = None
    problem: str = ""
    reader: str = ""


def write_run_page(
    project: Project,
    results: Sequence[ImageResult],
    bundle: Bundle,
    *,
    warnings: Sequence[str] = (),
    mpp: float | None = None,
) -> Path:
    """Write ``<project>/cellgennet/report/segment.html`` for a finished run and return its path.

    warnings : messages of the run.
    mpp      : µm per pixel of images without a pixel size, as given to the segmentation.
    The page says why where a slide cannot be shown. Raises ExportError.
    """
    entries = {entry.id: entry for entry in project.entries}
    return write_page(
        project.work_folder / "report" / PAGE,
        "segment.html.j2",
        {
            "project": project.path.name,
            "path": str(project.path),
            "bundle": bundle,
            "warnings": warnings,
            "cards": [slide_card(project, entries[result.id], result, mpp) for result in results],
            "total": sum(result.count for result in results),
            "seconds": sum(result.seconds for result in results),
            "done": sum(result.status == "done" for result in results),
            "failed": sum(result.status == "failed" for result in results),
            "duration": duration,
        },
    )


def slide_card(project: Project, entry: ImageEntry, result: ImageResult, mpp: float | None) -> SlideCard:
    """The page's entry on one image; errors in reading it become its ``problem``."""
    if entry.slide is None:
        return SlideCard(result)
    try:
        with open_image(entry) as reader:
            size = (reader.width, reader.height)
            known = resolve_mpp(entry.mpp, reader.stated_mpp, mpp, entry.name).mpp
            step, columns, rows = thumbnail_grid(size)
            picture = reader.read_grid(0, 0, columns, rows, step)
            backend = reader.backend
        if result.status != "done":
            return SlideCard(result, size, known, jpeg(picture), reader=backend)
        polygons = project.detections(entry).polygons
        density, densest = density_map(picture, polygons, size, known)
        shown = jpeg(density) if len(polygons) else ""
        return SlideCard(result, size, known, jpeg(picture), shown, densest, reader=backend)
    except Exception as error:
        # One slide that cannot be shown does not cost the page, which says why.
        return SlideCard(result, problem=in_one_line(error))


def thumbnail_grid(size: tuple[int, int]) -> tuple[float, int, int]:
    """Full-resolution pixels per sample of the picture of a slide, and its columns and rows.

    size : width and height of the image in full-resolution pixels.
    """
    step = max(1.0, max(size) / _SIDE)
    columns, rows = (max(1, int(length / step)) for length in size)
    return step, columns, rows


def density_map(
    picture: NDArray[np.uint8], polygons: NDArray[np.object_], size: tuple[int, int], mpp: float | None
) -> tuple[NDArray[np.uint8], float | None]:
    """The picture in grey with the density of nuclei in colour, and the highest density in nuclei per mm².

    picture  : uint8 (rows, columns, 3), RGB of the whole image.
    polygons : nuclei, in full-resolution pixels.
    size     : width and height of the image in full-resolution pixels.
    mpp      : µm per pixel; without it the highest density is None.
    """
    side = max(size) / _SQUARES
    columns, rows = (max(1, int(np.ceil(length / side))) for length in size)
    bounds = shapely.bounds(polygons).reshape(-1, 4)
    x0, y0, x1, y1 = bounds[np.isfinite(bounds).all(axis=1)].T
    count, _, _ = np.histogram2d(
        (y0 + y1) / 2, (x0 + x1) / 2, bins=(rows, columns), range=((0, rows * side), (0, columns * side))
    )
    smooth = cv2.GaussianBlur(count.astype(np.float32), (0, 0), 1.0)
    highest = float(smooth.max(initial=0)) / (side * mpp / 1000) ** 2 if mpp and len(polygons) else None
    share = np.asarray(smooth / max(float(smooth.max()), 1e-6), np.float32)
    # Every sample of the picture looks up its own place among the squares, whatever the sides' ratio: the
    # grid of squares extends beyond the image, and the picture's sides are rounded.
    at_y, at_x = (
        ((np.arange(samples, dtype=np.float32) + 0.5) * (length / samples / side) - 0.5).astype(np.float32)
        for samples, length in zip(picture.shape[:2], size[::-1], strict=True)
    )
    map_x, map_y = np.meshgrid(at_x, at_y)
    wide = np.asarray(cv2.remap(share, map_x, map_y, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE))
    colour = mpl.colormaps["inferno"](wide)[..., :3] * 255
    grey = np.repeat(picture.mean(axis=2, keepdims=True), 3, axis=2)
    weight = np.clip(3 * wide, 0, 0.85)[..., None]
    return np.asarray(grey * (1 - weight) + colour * weight, np.uint8), highest


def duration(seconds: float) -> str:
    """A duration as text, such as "1 min 15 s"."""
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    if hours:
        return f"{hours} h {minutes:02d} min"
    return f"{minutes} min {rest:02d} s" if minutes else f"{rest} s"
