"""What grows faster than the work: processor seconds of one piece of work at three sizes, and the exponent.

    nice -n 10 python benchmarks/growth.py [CASE]... [-o REPORT.json]

Each case is measured at three sizes, in a process of its own each, on one thread. A line shows the sizes,
the processor seconds (user and system; setting up is not counted), the largest memory of the process, and
the exponent of a power law fitted to the seconds: 1 is linear. The same file measures an older commit: put
its folder first on PYTHONPATH. A case that it cannot do is reported as such.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any

import click
import numpy as np
import shapely
from numpy.typing import NDArray

Work = Callable[[], object]
Case = Callable[[int, Path], Work]


def discs(n: int, step: float = 40.0, radius: float = 12.0, vertices: int = 24) -> NDArray[np.object_]:
    """n round outlines on a square grid."""
    across = int(np.ceil(np.sqrt(n)))
    number = np.arange(n)
    middle = (np.column_stack([number % across, number // across]) + 0.5) * step
    angle = np.linspace(0, 2 * np.pi, vertices, endpoint=False)
    rng = np.random.default_rng(1)
    reach = radius * (1 + 0.05 * rng.standard_normal((n, vertices)))
    points = middle[:, None] + reach[..., None] * np.column_stack([np.cos(angle), np.sin(angle)])
    return np.asarray(shapely.polygons(points.round(2)), dtype=object)


def wavy(side: float, vertices: int) -> shapely.Geometry:
    """A region about as large as a square, whose border has many vertices."""
    angle = np.linspace(0, 2 * np.pi, vertices, endpoint=False)
    reach = side / 2 * (1 + 0.003 * np.sin(angle * vertices / 6))
    return shapely.Polygon(side / 2 + reach[:, None] * np.column_stack([np.cos(angle), np.sin(angle)]))


def annotation(shape: shapely.Geometry, path_class: str, number: int) -> Any:
    """An annotation of a project."""
    from cellgennet_qupath.qupath.project import Annotation

    return Annotation(f"{number:08x}-0000-4000-8000-000000000000", shape, "Polygon", path_class)


def region_labels(n: int, folder: Path) -> Work:
    """Labels of n regions of 30 outlines each, window by window."""
    from cellgennet_qupath.annotations.labels import Split
    from cellgennet_qupath.annotations.reader import interpret
    from cellgennet_qupath.annotations.windows import label_boxes, render_window
    from cellgennet_qupath.core.config import ClassNames

    across = int(np.ceil(np.sqrt(n)))
    shapes, number = [], 0
    for region in range(n):
        x, y = region % across * 1000.0, region // across * 1000.0
        shapes.append(annotation(shapely.box(x, y, x + 240, y + 240), "Training", number))
        for points in shapely.get_coordinates(discs(30)).reshape(30, -1, 2):
            number += 1
            shapes.append(annotation(shapely.Polygon(points + np.array([x, y])), "", number))

    def work() -> int:
        found = interpret(shapes, ClassNames(), size=(10**6, 10**6), mpp=0.25)
        boxes = label_boxes(found, Split.TRAINING, 1.0, 64, 640)
        return sum(len(render_window(found, Split.TRAINING, box, 1.0)[1]) for box in boxes)

    return work


def outlines_in_a_region(n: int, folder: Path) -> Work:
    """n outlines in a region with n / 3 vertices."""
    from cellgennet_qupath.annotations.reader import interpret
    from cellgennet_qupath.core.config import ClassNames

    outlines = discs(n)
    side = float(shapely.total_bounds(outlines).max())
    shapes = [annotation(wavy(side, n // 3), "Training", 0)]
    shapes += [annotation(one, "", number) for number, one in enumerate(outlines, start=1)]
    return lambda: interpret(shapes, ClassNames(), size=(10**6, 10**6), mpp=0.25)


def cells_within(n: int, folder: Path) -> Work:
    """Cells around n nuclei inside one annotation with 30 n vertices."""
    from cellgennet_qupath.measure.cells import cell_outlines

    nuclei = discs(n)
    side = float(shapely.total_bounds(nuclei).max())
    inside = np.full(n, wavy(side, 30 * n), dtype=object)
    return lambda: cell_outlines(nuclei, 3.0, (0.25, 0.25), None, inside)


def summary(n: int, folder: Path) -> Work:
    """A summary of 10 n nuclei in n annotations."""
    from cellgennet_qupath.core.class_patterns import DEFAULT_IGNORE
    from cellgennet_qupath.nuclei import Nuclei
    from cellgennet_qupath.qupath.project import DetectionChunk, ImageEntry
    from cellgennet_qupath.tables.summary_rows import Detections, image_rows

    outlines = discs(10 * n)
    side = float(shapely.total_bounds(outlines).max())
    nuclei = Nuclei.from_polygons(outlines)
    texts = np.full(len(nuclei), "", dtype=object)
    across = int(np.ceil(np.sqrt(n)))
    width = side / across
    shapes = [
        annotation(
            shapely.box(
                k % across * width, k // across * width, (k % across + 1) * width, (k // across + 1) * width
            ),
            "Tumor" if k % 10 else "Ignore*",
            k,
        )
        for k in range(n)
    ]
    entry = ImageEntry("1", "slide", "file:/slide", None, (int(side) + 1, int(side) + 1), (0.25, 0.25))
    found = Detections()
    for chunk in nuclei.chunks():
        found.add(DetectionChunk(chunk, texts[: len(chunk)], texts[: len(chunk)], texts[: len(chunk)]))

    def work() -> int:
        rows = image_rows(
            entry,
            found,
            shapes,
            [],
            ignore=DEFAULT_IGNORE,
            covered=shapely.box(0, 0, side, side),
            known=True,
            missing_name="Missing",
            extra={},
            tissue=None,
        )
        return len(list(rows))

    return work


def project_of(
    folder: Path, side: int, names: tuple[str, ...] = ("slide",), slide: Path | None = None
) -> Path:
    """A project of images that were never opened."""
    size = {"value": 0.25, "unit": "µm"}
    images = [
        {
            "serverBuilder": {
                "builderType": "uri",
                "uri": (slide or folder / f"{name}.tif").absolute().as_uri(),
                "metadata": {
                    "name": name,
                    "width": side,
                    "height": side,
                    "pixelCalibration": {"pixelWidth": size, "pixelHeight": size},
                },
            },
            "entryID": number,
            "imageName": name,
        }
        for number, name in enumerate(names, start=1)
    ]
    content = {"version": "0.5.1", "uri": (folder / "project.qpproj").absolute().as_uri(), "images": images}
    (folder / "project.qpproj").write_text(json.dumps(content), encoding="utf-8")
    return folder


def annotate(folder: Path, number: int, shapes: list[tuple[shapely.Geometry, str]]) -> None:
    """Annotations of an image, as GeoJSON."""
    file = folder / "cellgennet" / "annotations" / f"{number}.geojson"
    file.parent.mkdir(parents=True, exist_ok=True)
    features = [
        {
            "type": "Feature",
            "geometry": json.loads(shapely.to_geojson(shape)),
            "properties": {
                "objectType": "annotation",
                **({"classification": {"name": name}} if name else {}),
            },
        }
        for shape, name in shapes
    ]
    file.write_text(json.dumps({"type": "FeatureCollection", "features": features}), encoding="utf-8")


def described(folder: Path) -> object:
    """What ``inspect`` prints."""
    from cellgennet_qupath.annotations.overview import describe_project
    from cellgennet_qupath.qupath.open import open_project

    with open_project(folder, "files", writable=False) as project:
        return describe_project(project)


def geojson_annotations(n: int, folder: Path) -> Work:
    """An image with n annotations in a GeoJSON file, inspected."""
    outlines = discs(n)
    side = int(shapely.total_bounds(outlines).max()) + 1
    annotate(
        project_of(folder, side),
        1,
        [(shapely.box(0, 0, side, side), "Training"), *((o, "") for o in outlines)],
    )
    return lambda: described(folder)


def inspect_images(n: int, folder: Path) -> Work:
    """n images with 201 annotations each, in GeoJSON files, inspected."""
    outlines = discs(200)
    side = int(shapely.total_bounds(outlines).max()) + 1
    project_of(folder, side, tuple(f"slide {k}" for k in range(n)))
    for number in range(1, n + 1):
        annotate(folder, number, [(shapely.box(0, 0, side, side), "Training"), *((o, "") for o in outlines)])
    return lambda: described(folder)


def write_noise(file: Path, side: int) -> None:
    """A slide of noise, ``side`` x ``side`` pixels."""
    import tifffile

    pixels = np.random.default_rng(1).integers(120, 200, (side, side, 3), np.uint8)
    tifffile.imwrite(file, pixels, tile=(256, 256), photometric="rgb")


class Blank:
    """A predictor that finds nothing at once, so that all else is measured."""

    stride, unit, context, streams, device = 2, 32, 128, 1, "none"

    def predict(self, images: NDArray[np.float32], rim: int = 0) -> NDArray[np.float32]:
        rows, columns = ((length - 2 * rim) // 2 for length in images.shape[1:3])
        return np.zeros((len(images), rows, columns, 2), np.float32)


def evaluated_regions(n: int, folder: Path) -> Work:
    """n Validation regions of nine nuclei in one slide of 17 megapixels, evaluated without the network."""
    from cellgennet_qupath.core.config import ClassNames, NormalisationConfig
    from cellgennet_qupath.evaluation.predictors import StudentPredictor
    from cellgennet_qupath.evaluation.regions import project_regions
    from cellgennet_qupath.evaluation.run import evaluate
    from cellgennet_qupath.qupath.open import open_project
    from cellgennet_qupath.segmentation.decode import DecodingConfig
    from cellgennet_qupath.segmentation.model import Model

    across, step = 13, 320
    write_noise(folder / "slide.tif", across * step)
    shapes: list[tuple[shapely.Geometry, str]] = []
    for k in range(n):
        x, y = k % across * step + 40, k // across * step + 40
        shapes.append((shapely.box(x, y, x + 160, y + 160), "Validation"))
        shapes += [(shapely.transform(one, partial(np.add, (x, y))), "") for one in discs(9)]
    annotate(project_of(folder, across * step), 1, shapes)
    model = Model(Blank(), 0.25, DecodingConfig(), NormalisationConfig(), "Nucleus", "blank")

    def work() -> int:
        with open_project(folder, "files", writable=False) as project:
            regions = project_regions(project, ClassNames())
            return len(evaluate(regions, [StudentPredictor("blank", model)]).results)

    return work


def kept(n: int, folder: Path) -> Work:
    """n nuclei written into a project beside n / 2 others that are kept."""
    from export import Generated, make_project

    from cellgennet_qupath.qupath.open import open_project
    from cellgennet_qupath.qupath.project import WriteOptions

    project = make_project(folder, n // 2)

    def work() -> int:
        with open_project(project, "files", writable=True) as opened:
            return opened.write_detections(opened.entries[0], Generated(n), WriteOptions("keep")).count

    return work


def within_boxes(n: int, folder: Path) -> Work:
    """A slide of 17 megapixels segmented inside n boxes of 160 pixels, with the model that ships."""
    from cellgennet_qupath.bundle import load_bundle, pretrained_bundle
    from cellgennet_qupath.qupath.open import open_project
    from cellgennet_qupath.segmentation.batch import segment_project
    from cellgennet_qupath.segmentation.options import SegmentOptions

    across, step = 13, 320
    write_noise(folder / "slide.tif", across * step)
    corners = ((k % across * step + 40, k // across * step + 40) for k in range(n))
    shapes: list[tuple[shapely.Geometry, str]] = [
        (shapely.box(x, y, x + 160, y + 160), "Tumor") for x, y in corners
    ]
    annotate(project_of(folder, across * step), 1, shapes)
    bundle = load_bundle(pretrained_bundle())

    def work() -> None:
        with open_project(folder, "files", writable=True) as project:
            segment_project(project, bundle, SegmentOptions(threads=1, within="Tumor"))

    return work


def finished_images(n: int, folder: Path) -> Work:
    """n images of which all are segmented already, segmented again."""
    from cellgennet_qupath.bundle import load_bundle, pretrained_bundle
    from cellgennet_qupath.qupath.open import open_project
    from cellgennet_qupath.segmentation.batch import segment_project
    from cellgennet_qupath.segmentation.options import SegmentOptions

    side, names = 64, tuple(f"slide {k}" for k in range(n))
    for name in names:
        write_noise(folder / f"{name}.tif", side)
    project_of(folder, side, names)
    bundle = load_bundle(pretrained_bundle())

    def work() -> None:
        with open_project(folder, "files", writable=True) as project:
            segment_project(project, bundle, SegmentOptions(threads=1))

    work()
    return work


CASES: Mapping[str, tuple[Case, tuple[int, int, int]]] = {
    "labels of regions": (region_labels, (30, 100, 300)),
    "outlines in a region": (outlines_in_a_region, (3_000, 10_000, 30_000)),
    "cells within": (cells_within, (300, 1_000, 3_000)),
    "summary": (summary, (100, 300, 1_000)),
    "annotations in GeoJSON": (geojson_annotations, (1_000, 3_000, 10_000)),
    "inspect images": (inspect_images, (30, 100, 300)),
    "evaluate regions": (evaluated_regions, (10, 40, 160)),
    "segment within boxes": (within_boxes, (10, 40, 160)),
    "finished images": (finished_images, (10, 40, 160)),
    "nuclei beside kept ones": (kept, (20_000, 40_000, 80_000)),
}


def measure(name: str, size: int) -> dict[str, float]:
    """One case at one size, in a process of its own: processor seconds and the largest memory in MiB."""
    one_thread = {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"}
    command = [sys.executable, __file__, "--one", name, str(size)]
    done = subprocess.run(command, capture_output=True, text=True, env=os.environ | one_thread)
    if done.returncode:
        raise click.ClickException(f"{name} at {size}: {done.stderr.strip().splitlines()[-1]}")
    found: dict[str, float] = json.loads(done.stdout.splitlines()[-1])
    return found


def one(name: str, size: int) -> None:
    """Measure here; JSON on stdout."""
    import resource

    make, sizes = CASES[name]
    with tempfile.TemporaryDirectory() as small, tempfile.TemporaryDirectory() as folder:
        make(max(4, sizes[0] // 30), Path(small))()  # imports and first calls
        work = make(size, Path(folder))
        begin = time.process_time()
        work()
        seconds = time.process_time() - begin
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / (2**20 if sys.platform == "darwin" else 2**10)
    click.echo(json.dumps({"seconds": round(seconds, 3), "peak_mib": round(peak)}))


def exponent(sizes: tuple[int, ...], seconds: list[float]) -> float:
    """The slope of a line through the logarithms."""
    slope, _ = np.polyfit(np.log(sizes), np.log(np.maximum(seconds, 1e-3)), 1)
    return float(slope)


@click.command()
@click.argument("cases", nargs=-1)
@click.option("-o", "--output", type=click.Path(path_type=Path), help="Also write a JSON report.")
@click.option("--one", "single", nargs=2, hidden=True)
def main(cases: tuple[str, ...], output: Path | None, single: tuple[str, str] | None) -> None:
    """Measure CASES (default: all); see the module's text."""
    if single:
        one(single[0], int(single[1]))
        return
    unknown = [name for name in cases if name not in CASES]
    if unknown:
        raise click.UsageError(f"no case is called {unknown[0]!r}; there are: {', '.join(CASES)}")
    report = {}
    for name in cases or CASES:
        sizes = CASES[name][1]
        told = []
        for size in sizes:
            try:
                told.append(measure(name, size))
            except click.ClickException as error:
                click.echo(f"{name:24s} {size}: {error.message}", err=True)
                break
        else:
            seconds = [round_["seconds"] for round_ in told]
            e = exponent(sizes, seconds)
            report[name] = {"sizes": sizes, "runs": told, "exponent": round(e, 2)}
            line = "  ".join(
                f"{size}: {run['seconds']:.2f} s, {run['peak_mib']:.0f} MiB"
                for size, run in zip(sizes, told, strict=True)
            )
            click.echo(f"{name:24s} {line}  exponent {e:.2f}")
    if output is not None:
        output.write_text(json.dumps(report, indent=1), encoding="utf-8")


if __name__ == "__main__":
    main()
