"""Draw the README's picture: a detail of the unannotated sample slide, plain and with its nuclei.

cellgennet demo cellgennet-demo
python benchmarks/figure_overlay.py cellgennet-demo docs/img/overlay.png
"""

from __future__ import annotations

import argparse
from pathlib import Path

import cv2
import numpy as np
import shapely
from numpy.typing import NDArray

from cellgennet_qupath.geometry.coordinates import full_to_edge
from cellgennet_qupath.nuclei import Nuclei
from cellgennet_qupath.qupath.open import open_project
from cellgennet_qupath.slides.reader import open_slide

WIDTH, HEIGHT = 360, 250
"""Size of the detail in full-resolution pixels; it is drawn enlarged, once plain and once outlined."""
ENLARGED = 2
GAP = 8
COLOR = (255, 235, 0)
_SUBPIXEL_BITS = 4


def main() -> None:
    """Draw the figure of a demo folder."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("demo", type=Path, help="folder that `cellgennet demo` wrote")
    parser.add_argument("picture", type=Path, help="PNG to write")
    options = parser.parse_args()
    with open_project(options.demo / "project", "files") as project:
        entry = next(e for e in project.entries if not project.counts(e).annotations)
        nuclei = project.detections(entry)
        if entry.slide is None or not len(nuclei):
            parser.error(f"{options.demo} contains no segmented slide: run `cellgennet demo` first")
        with open_slide(entry.slide, entry.series) as reader:
            x, y = densest_detail(nuclei, reader.width, reader.height)
            detail = reader.read_grid(x, y, WIDTH, HEIGHT, 1.0)
    plain = enlarged(detail)
    outlined = with_outlines(plain, nuclei, (x, y))
    gap = np.full((plain.shape[0], GAP, 3), 255, np.uint8)
    options.picture.parent.mkdir(parents=True, exist_ok=True)
    picture = cv2.cvtColor(np.hstack([plain, gap, outlined]), cv2.COLOR_RGB2BGR)
    cv2.imwrite(str(options.picture), picture, [cv2.IMWRITE_PNG_COMPRESSION, 9])
    print(f"{options.picture}: {entry.name}, {WIDTH} x {HEIGHT} px at ({x}, {y})")


def enlarged(image: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """The image at ``ENLARGED`` times its size."""
    larger = cv2.resize(image, None, fx=ENLARGED, fy=ENLARGED, interpolation=cv2.INTER_CUBIC)
    return np.asarray(larger, np.uint8)


def densest_detail(nuclei: Nuclei, width: int, height: int) -> tuple[int, int]:
    """The corner (x, y), on a coarse lattice, of the detail with the most nuclei."""
    centres = shapely.get_coordinates(shapely.centroid(nuclei.polygons))
    step = WIDTH // 4
    corners = [(x, y) for y in range(0, height - HEIGHT + 1, step) for x in range(0, width - WIDTH + 1, step)]

    def contained(corner: tuple[int, int]) -> int:
        inside = (centres >= corner) & (centres < np.add(corner, (WIDTH, HEIGHT)))
        return int(inside.all(axis=1).sum())

    return max(corners, key=contained)


def with_outlines(picture: NDArray[np.uint8], nuclei: Nuclei, corner: tuple[int, int]) -> NDArray[np.uint8]:
    """The enlarged detail whose first full-resolution pixel is ``corner``, with outlines drawn on it."""
    drawn = picture.copy()
    for polygon in shapely.get_parts(nuclei.polygons):
        points = shapely.get_coordinates(polygon.exterior) - corner
        index = full_to_edge(points, 1 / ENLARGED) - 0.5
        fixed = np.rint(index * 2**_SUBPIXEL_BITS).astype(np.int32)
        cv2.polylines(drawn, [fixed], True, COLOR, 2, cv2.LINE_AA, _SUBPIXEL_BITS)
    return drawn


if __name__ == "__main__":
    main()
