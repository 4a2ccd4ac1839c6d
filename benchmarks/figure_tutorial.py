"""Make the tutorial's pictures anew: what the terminal prints at each step, and the pages of the commands.

mkdir tutorial
cp -r sample_projects/quickstart tutorial/MyProject
cd tutorial
cellgennet train MyProject -o my.cgn
cd ..
python benchmarks/figure_tutorial.py tutorial docs/img

The script itself checks, segments, evaluates and exports the project, and draws what these commands print.
It needs Chromium and the package playwright for the pages, but no QuPath: the pictures of QuPath's window are
made by another script, and those of the second round by figure_loop.py.
"""

from __future__ import annotations

import io
import shutil
import subprocess
import sys
from pathlib import Path

import click
import cv2
import numpy as np
import pandas as pd
import shapely
from numpy.typing import NDArray
from rich.console import Console
from rich.table import Table
from rich.terminal_theme import MONOKAI
from rich.text import Text

from cellgennet_qupath.core.resources import sample_projects
from cellgennet_qupath.geometry.coordinates import full_to_edge
from cellgennet_qupath.qupath.open import open_project
from cellgennet_qupath.slides.reader import open_slide

MARGIN = 60
ENLARGED = 2
RED, YELLOW = (200, 0, 0), (250, 220, 0)
"""QuPath's colour of unclassified annotations, and one for the region that contrasts with the tissue."""
COLUMNS = ("Image", "Class", "Detection probability", "Area µm^2", "Circularity", "Hematoxylin: Mean")
"""Of the exported table, in the picture of it."""
_SUBPIXEL_BITS = 4
_READER = "/home/you/cellgennet"
"""Stands in pictures for the folder in which the commands were run."""


@click.command()
@click.argument("folder", type=click.Path(path_type=Path, exists=True, file_okay=False))
@click.argument("images", type=click.Path(path_type=Path, file_okay=False))
def main(folder: Path, images: Path) -> None:
    """Draw all pictures from a FOLDER that contains MyProject and my.cgn into the folder IMAGES."""
    images.mkdir(parents=True, exist_ok=True)
    project = folder / "MyProject"
    terminal(["doctor"], folder, images / "doctor.svg")
    region(project, images / "annotate.jpg")
    terminal(["inspect", "MyProject"], folder, images / "inspect.svg", 134)
    page(folder / "my.cgn" / "report" / "training.html", images / "training.jpg", 620, folder)
    terminal(["segment", "MyProject", "-m", "my.cgn", "--restart"], folder, images / "segment.svg")
    page(project / "cellgennet" / "report" / "segment.html", images / "segment.jpg", 1720, folder)
    terminal(["evaluate", "MyProject", "-m", "my.cgn", "-o", "report"], folder, images / "evaluate.svg")
    page(folder / "report" / "report.html", images / "report.jpg", 700, folder)
    terminal(["export", "MyProject", "-o", "nuclei.csv"], folder, images / "export.svg")
    table(folder / "nuclei.csv", images / "table.svg")


def region(folder: Path, picture: Path) -> None:
    """Draw an annotated Training region: its rectangle and every nucleus in it."""
    with open_project(folder, "files") as project:
        entry = project.entries[0]
        annotations = project.annotations(entry)
        frame = next(a.geometry for a in annotations if a.path_class == "Training")
        nuclei = [
            a.geometry for a in annotations if not a.path_class and shapely.intersects(a.geometry, frame)
        ]
        if entry.slide is None:
            raise SystemExit(f"{folder}: its first slide was not found")
        x0, y0, x1, y1 = shapely.bounds(frame)
        x, y = int(x0) - MARGIN, int(y0) - MARGIN
        width, height = int(x1 - x0) + 2 * MARGIN, int(y1 - y0) + 2 * MARGIN
        with open_slide(entry.slide, entry.series) as reader:
            image = reader.read_grid(x, y, width, height, 1.0)
    enlarged = cv2.resize(image, None, fx=ENLARGED, fy=ENLARGED, interpolation=cv2.INTER_CUBIC)
    drawn = np.asarray(enlarged, np.uint8)
    for shape in nuclei:
        outline(drawn, shape, (x, y), RED)
    outline(drawn, frame, (x, y), YELLOW)
    cv2.imwrite(str(picture), drawn[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, 85])


def outline(
    picture: NDArray[np.uint8], shape: shapely.Geometry, corner: tuple[int, int], color: tuple[int, int, int]
) -> None:
    """Draw a shape's outlines on the enlarged picture, whose first full-resolution pixel is ``corner``."""
    for part in shapely.get_parts(shape):
        points = shapely.get_coordinates(part.exterior) - corner
        fixed = np.rint((full_to_edge(points, 1 / ENLARGED) - 0.5) * 2**_SUBPIXEL_BITS).astype(np.int32)
        cv2.polylines(picture, [fixed], True, color, 2, cv2.LINE_AA, _SUBPIXEL_BITS)


def terminal(arguments: list[str], folder: Path, picture: Path, width: int = 100) -> None:
    """Run a command in a folder without QuPath and draw what a terminal shows of it, but for the progress."""
    command = [sys.executable, "-m", "cellgennet_qupath", *arguments]
    backend = ["--backend", "files"] if "MyProject" in arguments else []
    done = subprocess.run(
        [*command, *backend], cwd=folder, capture_output=True, text=True, encoding="utf-8", check=True
    )
    # The picture shows the reader's folders instead of those of this computer.
    shown = done.stdout
    for place, name in (
        (folder.resolve(), ""),
        (sys.prefix, "/cellgennet-env"),
        (sample_projects().parent, ""),
    ):
        shown = shown.replace(str(place), _READER + name)
    console = Console(record=True, width=width, file=io.StringIO())
    console.print(Text(f"$ cellgennet {' '.join(a for a in arguments if a != '--restart')}"))
    console.print(Text("\n".join(line.rstrip() for line in shown.splitlines())))
    picture.write_text(console.export_svg(title="Terminal", theme=MONOKAI), encoding="utf-8")


def table(file: Path, picture: Path, rows: int = 6) -> None:
    """Draw the first rows and some columns of an exported table."""
    first = pd.read_csv(file, nrows=rows)
    drawn = Table()
    shown = [name for name in COLUMNS if name in first.columns]
    for name in shown:
        drawn.add_column(name, justify="left" if first[name].dtype == object else "right")
    for values in first[shown].itertuples(index=False):
        drawn.add_row(*(value if isinstance(value, str) else f"{value:.2f}" for value in values))
    console = Console(record=True, width=110, file=io.StringIO())
    console.print(drawn)
    picture.write_text(console.export_svg(title=file.name, theme=MONOKAI), encoding="utf-8")


def page(file: Path, picture: Path, height: int, folder: Path) -> None:
    """Take a screenshot of the top of a page, with the reader's folder in the place of ``folder``."""
    from playwright.sync_api import sync_playwright

    program = shutil.which("chromium") or shutil.which("google-chrome")
    with sync_playwright() as running:
        browser = running.chromium.launch(executable_path=program, args=["--no-sandbox"])
        shown = browser.new_page(viewport={"width": 1080, "height": height})
        shown.goto(file.resolve().as_uri())
        shown.evaluate(
            "([from, to]) => document.querySelectorAll('.kicker, code').forEach(one => "
            "{ one.textContent = one.textContent.replace(from, to); })",
            [str(folder.resolve()), _READER],
        )
        shown.screenshot(path=str(picture), type="jpeg", quality=85)
        browser.close()


if __name__ == "__main__":
    main()
