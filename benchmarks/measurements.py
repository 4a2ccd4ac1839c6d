"""What measuring costs by the megapixel.

    python benchmarks/measurements.py [--megapixels 16] [--density 500] [-o REPORT.json]

Measures generated tissue: a JPEG pyramid full of nuclei at a density (per megapixel of full resolution).
Processor seconds are user and system time. ``export.py`` measures what exporting costs.
"""

from __future__ import annotations

import json
import resource
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import click
import cv2
import numpy as np
import shapely
import tifffile
from numpy.typing import NDArray

from cellgennet_qupath.measure.intensity import stain_measurements
from cellgennet_qupath.measure.shape import shape_measurements
from cellgennet_qupath.measure.tile import MeasureOptions, measure_tile
from cellgennet_qupath.qupath.stains import H_E
from cellgennet_qupath.slides.reader import open_slide

MPP = (0.25, 0.25)
VERTICES = 24


def processor_seconds(action: Callable[[], object], repeats: int = 3) -> float:
    """The least of some repeats."""
    taken = []
    for _ in range(repeats):
        begin = time.process_time()
        action()
        taken.append(time.process_time() - begin)
    return min(taken)


def outlines(n: int, density: float, rng: np.random.Generator) -> tuple[NDArray[np.object_], int]:
    """Nuclei on a jittered grid of so many per megapixel, and the side of the square that holds them."""
    step = 1000 / np.sqrt(density)
    across = int(np.ceil(np.sqrt(n)))
    number = np.arange(n)
    middle = (np.column_stack([number % across, number // across]) + 0.5) * step
    middle += rng.uniform(-0.1, 0.1, (n, 2)) * step
    angle = np.linspace(0, 2 * np.pi, VERTICES, endpoint=False)
    radius = rng.uniform(0.25, 0.38, (n, 1)) * step * (1 + 0.05 * rng.standard_normal((n, VERTICES)))
    points = middle[:, None] + radius[..., None] * np.column_stack([np.cos(angle), np.sin(angle)])
    return np.asarray(shapely.polygons(points.round(2)), dtype=object), int(across * step) + 1


def tissue(file: Path, side: int, rng: np.random.Generator) -> None:
    """A tiled JPEG TIFF of stained noise."""
    coarse = rng.uniform(90, 240, (side // 16 + 1, side // 16 + 1, 3)).astype(np.float32)
    image = cv2.resize(coarse, (side, side), interpolation=cv2.INTER_CUBIC)
    pixels = np.clip(image + rng.normal(0, 8, image.shape), 0, 255).astype(np.uint8)
    tifffile.imwrite(file, pixels, tile=(512, 512), compression="jpeg", photometric="rgb")


def measuring(folder: Path, megapixels: float, density: float) -> dict[str, float]:
    """Processor seconds per megapixel of the parts of measuring."""
    rng = np.random.default_rng(0)
    polygons, side = outlines(int(megapixels * density), density, rng)
    size = side * side / 1e6
    file = folder / "tissue.tif"
    tissue(file, side, rng)
    with open_slide(file) as reader:
        pixels = reader.read_grid(0, 0, side, side, 1.0)
        parts = {
            "read at full resolution": lambda: reader.read_grid(0, 0, side, side, 1.0),
            "shapes": lambda: shape_measurements(polygons, MPP),
            "stains": lambda: stain_measurements(pixels, polygons, H_E),
            "all": lambda: measure_tile(reader, polygons, MeasureOptions(MPP, H_E)),
        }
        cost = {name: processor_seconds(part) / size for name, part in parts.items()}
    covered = float(shapely.area(polygons).sum() / side**2)
    return {"megapixels": size, "nuclei per megapixel": len(polygons) / size, "covered": covered, **cost}


@click.command()
@click.option("--megapixels", default=16.0, show_default=True, help="Tissue to measure.")
@click.option("--density", default=500.0, show_default=True, help="Nuclei per megapixel to measure.")
@click.option("-o", "--output", type=click.Path(path_type=Path), help="Write the numbers as JSON.")
def main(megapixels: float, density: float, output: Path | None) -> None:
    """Measure what measuring costs."""
    report: dict[str, dict[str, float]] = {}
    with tempfile.TemporaryDirectory() as name:
        numbers = measuring(Path(name), megapixels, density)
        report["measuring, processor seconds per megapixel"] = numbers
    for what, numbers in report.items():
        click.echo(what)
        for part, value in numbers.items():
            click.echo(f"  {part:28s} {value:10.3f}")
    click.echo(f"memory of this process: {resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6:.2f} GB")
    if output is not None:
        output.write_text(json.dumps(report, indent=1, ensure_ascii=False), encoding="utf-8")


if __name__ == "__main__":
    main()
