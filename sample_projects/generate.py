"""Generate the sample project: four slides of synthetic H&E, their true nuclei, and a QuPath project.

    python sample_projects/generate.py                 everything, in place
    python sample_projects/generate.py --no-project    slides and truth only, without QuPath

The project needs a QuPath installation that paquo finds (PAQUO_QUPATH_DIR), preferably version 0.5. Slides
and truth are the same in every run; QuPath adds its own times and random names. Requires numpy, scipy,
scikit-image, tifffile with imagecodecs, shapely and paquo. Takes about three minutes.
"""

from __future__ import annotations

import argparse
import shutil
import sys
import tempfile
from pathlib import Path

from annotations import draw
from qupath_project import write_project
from recipes import RECIPES
from slides import label_image, write_slide, write_truth
from staining import paint
from tissue import Layout, Recipe, lay_out

HERE = Path(__file__).resolve().parent


def make_slide(recipe: Recipe, slides: Path, truth: Path) -> tuple[Path, Layout]:
    """Write one slide and its truth; returns the path of the slide and its layout."""
    layout = lay_out(recipe)
    slide = slides / f"{recipe.name}.ome.tif"
    write_slide(slide, paint(layout), recipe)
    write_truth(truth / f"{recipe.name}.png", label_image(layout))
    return slide, layout


def main(arguments: list[str] | None = None) -> int:
    """Run the generator."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--out", type=Path, default=HERE, help="folder for quickstart/ and truth/")
    parser.add_argument("--no-project", action="store_true", help="slides and truth only")
    parser.add_argument(
        "--place",
        type=Path,
        help="folder in which QuPath creates the project before it is moved to --out; it must not exist,\n"
        "and its path is recorded in the project (default: a temporary folder)",
    )
    options = parser.parse_args(arguments)
    with tempfile.TemporaryDirectory() as temporary:
        place: Path = options.place or Path(temporary) / "quickstart"
        slides = Path(temporary) / "slides"
        slides.mkdir()
        (options.out / "truth").mkdir(parents=True, exist_ok=True)
        made = {}
        for recipe in RECIPES:
            slide, layout = make_slide(recipe, slides, options.out / "truth")
            made[slide] = (recipe, draw(layout))
            print(f"{slide.name}: {len(layout.outlines)} nuclei, {len(made[slide][1])} annotations")
        if options.no_project:
            place.mkdir(parents=True)
            shutil.move(slides, place)
        else:
            write_project(place, made)
        shutil.rmtree(options.out / "quickstart", ignore_errors=True)
        shutil.move(place, options.out / "quickstart")
    return 0


if __name__ == "__main__":
    sys.exit(main())
