"""Draw the tutorial's pictures of the second round: nuclei to correct, and suggested windows.

cellgennet segment PROJECT --backend files
python benchmarks/figure_loop.py PROJECT docs/img

PROJECT is a copy of the sample project; the shipped model suggests.
"""

from __future__ import annotations

from pathlib import Path

import click
import cv2
import numpy as np
import shapely
from figure_tutorial import ENLARGED, RED, YELLOW, outline
from numpy.typing import NDArray

import cellgennet_qupath as cgn
from cellgennet_qupath.qupath.images import open_image
from cellgennet_qupath.qupath.project import ImageEntry
from cellgennet_qupath.qupath.suggested import COLOR

MARGIN = 24
GREEN = (60, 160, 60)
"""The colour of class Nucleus."""
SHOWN = 4


def picture(
    entry: ImageEntry, frame: shapely.Geometry, margin: int
) -> tuple[NDArray[np.uint8], tuple[int, int]]:
    """The enlarged surroundings of a frame, and their first pixel."""
    x0, y0, x1, y1 = shapely.bounds(frame)
    x, y = int(x0) - margin, int(y0) - margin
    with open_image(entry) as reader:
        image = reader.read_grid(x, y, int(x1 - x0) + 2 * margin, int(y1 - y0) + 2 * margin, 1.0)
    enlarged = cv2.resize(image, None, fx=ENLARGED, fy=ENLARGED, interpolation=cv2.INTER_CUBIC)
    return np.ascontiguousarray(enlarged, np.uint8), (x, y)


def beside(parts: list[NDArray[np.uint8]]) -> NDArray[np.uint8]:
    """Pictures of one height side by side, with a white gap."""
    gap = np.full((parts[0].shape[0], 12, 3), 255, np.uint8)
    row = [part for one in parts for part in (one, gap)][:-1]
    return np.concatenate(row, axis=1)


def save(image: NDArray[np.uint8], file: Path) -> None:
    """Write a JPEG."""
    cv2.imwrite(str(file), image[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, 85])


@click.command()
@click.argument("folder", metavar="PROJECT", type=click.Path(path_type=Path, exists=True))
@click.argument("images", type=click.Path(path_type=Path, exists=True, file_okay=False))
def main(folder: Path, images: Path) -> None:
    """Draw both pictures."""
    with cgn.open_project(folder, backend="files") as project:
        entry = project.entries[0]
        annotations = project.annotations(entry)
        frame = next(a.geometry for a in annotations if a.path_class == "Training")
        detected = project.detections(entry).polygons
        drawn = np.array([a.geometry for a in annotations if not a.path_class], dtype=object)
        halves = []
        for shapes, color in ((detected, GREEN), (drawn, RED)):
            half, corner = picture(entry, frame, MARGIN)
            for shape in shapes[shapely.intersects(shapes, frame)]:
                outline(half, shape, corner, color)
            outline(half, frame, corner, YELLOW)
            halves.append(half)
        save(beside(halves), images / "correct.jpg")
        windows = cgn.suggest(project).windows[:SHOWN]
        parts = []
        for window in windows:
            box = shapely.box(*window.suggestion.box)
            part, corner = picture(window.entry, box, window.suggestion.box.columns // 2)
            outline(part, box, corner, COLOR)
            parts.append(cv2.resize(part, (300, 300), interpolation=cv2.INTER_AREA))
        save(beside([np.asarray(part, np.uint8) for part in parts]), images / "suggest.jpg")


if __name__ == "__main__":
    main()
