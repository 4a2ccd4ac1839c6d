"""Draw the README's picture: the best detail of the sample project, plain and with its nuclei.

cp -r sample_projects/quickstart MyProject
cellgennet segment MyProject --backend files
python benchmarks/figure_overlay.py MyProject docs/img/overlay.png

The best detail is the one with the highest panoptic quality against the known truth among the quarter of all
details that has most nuclei: the picture shows what the model can do, not what it does on average.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import click
import cv2
import numpy as np
import shapely
from numpy.typing import NDArray

from cellgennet_qupath.core.resources import sample_projects
from cellgennet_qupath.evaluation.label_images import read_labels
from cellgennet_qupath.geometry.coordinates import full_to_edge
from cellgennet_qupath.geometry.raster import rasterize
from cellgennet_qupath.geometry.rectangle import Rectangle
from cellgennet_qupath.metrics.scores import score
from cellgennet_qupath.nuclei import Nuclei
from cellgennet_qupath.qupath.images import open_image
from cellgennet_qupath.qupath.open import open_project
from cellgennet_qupath.qupath.project import ImageEntry

WIDTH, HEIGHT = 180.0, 125.0
"""Size of the detail in µm; it is drawn once plain and once outlined."""
DRAWN = 720, 500
"""Size of each half in samples of the picture."""
GAP = 8
COLOR = (255, 235, 0)
_SUBPIXEL_BITS = 4


@dataclass(frozen=True)
class Detail:
    """A part of a slide: panoptic quality and true nuclei in it; the rectangle in full-resolution pixels."""

    quality: float
    count: int
    box: Rectangle


@click.command()
@click.argument("folder", metavar="PROJECT", type=click.Path(path_type=Path, exists=True))
@click.argument("picture", type=click.Path(path_type=Path, dir_okay=False))
def main(folder: Path, picture: Path) -> None:
    """Draw the figure of a segmented copy of the sample project."""
    with open_project(folder, "files") as project:
        candidates = [
            (one, entry) for entry in project.entries for one in details(entry, project.detections(entry))
        ]
        many = np.quantile([one.count for one, _ in candidates], 0.75)
        best, entry = max(
            (pair for pair in candidates if pair[0].count >= many), key=lambda pair: pair[0].quality
        )
        nuclei = project.detections(entry)
    with open_image(entry) as reader:
        detail = reader.read_grid(best.box.x0, best.box.y0, best.box.columns, best.box.rows, 1.0)
    plain = np.asarray(cv2.resize(detail, DRAWN, interpolation=cv2.INTER_CUBIC), np.uint8)
    gap = np.full((plain.shape[0], GAP, 3), 255, np.uint8)
    picture.parent.mkdir(parents=True, exist_ok=True)
    both = np.hstack([plain, gap, with_outlines(plain, nuclei, best.box)])
    cv2.imwrite(str(picture), both[..., ::-1], [cv2.IMWRITE_PNG_COMPRESSION, 9])
    click.echo(f"{picture}: {entry.name}, {best.count} nuclei, PQ {best.quality:.2f}, at {best.box}")


def details(entry: ImageEntry, nuclei: Nuclei) -> list[Detail]:
    """The details of a slide, on a coarse lattice."""
    if not len(nuclei) or entry.mpp is None:
        raise click.ClickException(f"{entry.name} has no nuclei: run `cellgennet segment` first")
    truth = sample_projects() / "truth" / f"{entry.name.split('.')[0]}.png"
    true = read_labels(truth).astype(np.int32)
    found = rasterize(nuclei.polygons, (true.shape[0], true.shape[1]))
    columns, rows = round(WIDTH / entry.mpp[0]), round(HEIGHT / entry.mpp[1])
    scored = []
    for y in range(0, true.shape[0] - rows + 1, rows // 4):
        for x in range(0, true.shape[1] - columns + 1, columns // 4):
            result = score(true[y : y + rows, x : x + columns], found[y : y + rows, x : x + columns])
            box = Rectangle.of_size(x, y, columns, rows)
            scored.append(Detail(result.pq, result.true_objects, box))
    return scored


def with_outlines(picture: NDArray[np.uint8], nuclei: Nuclei, box: Rectangle) -> NDArray[np.uint8]:
    """The picture of a rectangle with the outlines of the nuclei in it."""
    drawn = picture.copy()
    step = box.columns / picture.shape[1]
    for polygon in shapely.get_parts(nuclei.polygons):
        points = shapely.get_coordinates(polygon.exterior) - (box.x0, box.y0)
        fixed = np.rint((full_to_edge(points, step) - 0.5) * 2**_SUBPIXEL_BITS).astype(np.int32)
        cv2.polylines(drawn, [fixed], True, COLOR, 2, cv2.LINE_AA, _SUBPIXEL_BITS)
    return drawn


if __name__ == "__main__":
    main()
