"""Draw the tutorial's pictures from a demo folder whose project was segmented and evaluated.

cellgennet demo cellgennet-demo
cellgennet segment cellgennet-demo/project -m cellgennet-demo/quickstart.cgn
cellgennet evaluate cellgennet-demo/project -m cellgennet-demo/quickstart.cgn -o cellgennet-demo/report
python benchmarks/figure_tutorial.py cellgennet-demo docs/img
"""

from __future__ import annotations

import argparse
import io
import shutil
import subprocess
import sys
from pathlib import Path

import cv2
import numpy as np
import shapely
from numpy.typing import NDArray
from rich.console import Console
from rich.terminal_theme import MONOKAI
from rich.text import Text

from cellgennet_qupath.geometry.coordinates import full_to_edge
from cellgennet_qupath.qupath.open import open_project
from cellgennet_qupath.slides.reader import open_slide

MARGIN = 60
ENLARGED = 2
RED, YELLOW = (200, 0, 0), (250, 220, 0)
"""QuPath's colour of unclassified annotations, and one for the region that contrasts with the tissue."""
_SUBPIXEL_BITS = 4


def main() -> None:
    """Draw all pictures."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("demo", type=Path)
    parser.add_argument("images", type=Path, help="folder for the pictures")
    options = parser.parse_args()
    options.images.mkdir(parents=True, exist_ok=True)
    project = options.demo / "project"
    region(project, options.images / "annotate.jpg")
    terminal(["inspect", str(project)], options.demo, options.images / "inspect.svg")
    page(project / "cellgennet" / "report" / "segment.html", options.images / "segment.jpg", 760)
    page(options.demo / "report" / "report.html", options.images / "report.jpg", 900)


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


def terminal(arguments: list[str], base: Path, picture: Path) -> None:
    """Draw the output of a command as in a terminal."""
    command = [sys.executable, "-m", "cellgennet_qupath", *arguments]
    output = subprocess.run(command, capture_output=True, text=True, encoding="utf-8", check=True).stdout
    shown = output.replace(str(base.resolve()) + "/", "").replace(str(base) + "/", "")
    console = Console(record=True, width=134, file=io.StringIO())
    console.print(Text(f"$ cellgennet {' '.join(arguments)}".replace(str(base) + "/", "")))
    console.print(Text("\n".join(line.rstrip() for line in shown.splitlines())))
    picture.write_text(console.export_svg(title="Terminal", theme=MONOKAI), encoding="utf-8")


def page(file: Path, picture: Path, height: int) -> None:
    """Take a screenshot of the top of a page."""
    from playwright.sync_api import sync_playwright

    program = shutil.which("chromium") or shutil.which("google-chrome")
    with sync_playwright() as running:
        browser = running.chromium.launch(executable_path=program, args=["--no-sandbox"])
        shown = browser.new_page(viewport={"width": 1080, "height": height})
        shown.goto(file.resolve().as_uri())
        shown.screenshot(path=str(picture), type="jpeg", quality=85)
        browser.close()


if __name__ == "__main__":
    main()
