"""QuPath's own cell detection on the test images, scored as the tools of ``train_peers.py`` are.

    python benchmarks/qupath_cells.py DATA -o RUNS [--against BUNDLE]

Two rows: with the parameters that QuPath fills in for an H&E image of known pixel size, and its default
stains; and with the threshold and sigma that are best on train images (mean PQ over ``development_images``),
as a lab would tune them. The nuclei of the detected cells are scored, not the cells.

A QuPath must be found (PAQUO_QUPATH_DIR). DATA is as in sparse_labels.py. ``RUNS/qupath`` receives
``scores.csv`` (per image), ``parameters.json`` and ``table.md``; ``train_peers.py`` has these rows in its
tables. With --against a bundle is scored too and tested against them. Rows that are complete are not
measured again.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from functools import partial
from itertools import product
from pathlib import Path
from typing import Any

import click
import numpy as np
import pandas as pd
import shapely
from datasets import MPP, LabelledImage, development_images
from numpy.typing import NDArray
from peer_scores import document, scored

from cellgennet_qupath.core.errors import QuPathError
from cellgennet_qupath.core.files import replacing
from cellgennet_qupath.geometry.raster import rasterize
from cellgennet_qupath.metrics.scores import score
from cellgennet_qupath.qupath.java import jvm
from cellgennet_qupath.qupath.java.installation import find_qupath

NAME = "QuPath's cell detection"
PLUGIN = "qupath.imagej.detect.cells.WatershedCellDetection"
GRID = {"threshold": (0.05, 0.1, 0.15, 0.2, 0.25), "sigmaMicrons": (1.0, 1.5, 2.0)}
UNMEASURED = {"makeMeasurements": False}
"""What no nucleus depends on."""

Parameters = Mapping[str, Any]


def opened(file: Path) -> Any:
    """QuPath's ``ImageData`` of a file: H&E, of known pixel size, a selected annotation around all of it."""
    servers = jvm.java_class("qupath.lib.images.servers.ImageServers")
    kinds = jvm.java_class("qupath.lib.images.ImageData$ImageType")
    scripting = jvm.java_class("qupath.lib.scripting.QP")
    server = servers.buildServer(jvm.java_class("java.io.File")(str(file.resolve())).toURI())
    data = jvm.java_class("qupath.lib.images.ImageData")(server, kinds.BRIGHTFIELD_H_E)
    number = jvm.java_class("java.lang.Double")
    scripting.setPixelSizeMicrons(data, number(MPP), number(MPP), number(1))
    scripting.createFullImageAnnotation(data, True)
    return data


def filled_in(data: Any) -> dict[str, Any]:
    """The parameters of the plugin as QuPath's window shows them for an image."""
    lists = jvm.java_class("qupath.lib.plugins.parameters.ParameterList")
    found: dict[str, Any] = json.loads(
        str(lists.convertToJson(jvm.java_class(PLUGIN)().getDefaultParameterList(data)))
    )
    return found


def nuclei(file: Path, changed: Parameters) -> list[shapely.Geometry]:
    """Outlines of the nuclei that QuPath detects in an image; parameters that are not given are QuPath's."""
    data = opened(file)
    try:
        parameters = filled_in(data) | UNMEASURED | dict(changed)
        if not jvm.java_class("qupath.lib.scripting.QP").runPlugin(PLUGIN, data, json.dumps(parameters)):
            raise QuPathError(file, f"{NAME} failed", "The lines above say why")
        roi = jvm.java_class("qupath.lib.objects.PathObjectTools").getROI
        writer = jvm.java_class("org.locationtech.jts.io.WKBWriter")(2)
        cells = data.getHierarchy().getDetectionObjects()
        return [shapely.from_wkb(bytes(writer.write(roi(cell, True).getGeometry()))) for cell in cells]
    finally:
        data.getServer().close()


def detected(item: LabelledImage, changed: Parameters) -> NDArray[np.int32]:
    """QuPath's nuclei of an image as labels."""
    rows, columns = item.truth().shape
    return rasterize(nuclei(item.image, changed), (rows, columns))


def quality(data: Path, changed: Parameters) -> float:
    """Mean PQ on the images by which settings are chosen."""
    images = development_images(data)
    found = [score(item.truth(), detected(item, changed), thresholds=(0.5,)) for item in images]
    return float(np.mean([one.pq for one in found]))


def grid() -> list[dict[str, float]]:
    """Every combination of ``GRID``."""
    return [dict(zip(GRID, values, strict=True)) for values in product(*GRID.values())]


def results(data: Path, output: Path) -> pd.DataFrame:
    """The scores of both rows per image, from ``scores.csv`` if that is there. Raises QuPathError."""
    scores = output / "scores.csv"
    if scores.is_file():
        return pd.read_csv(scores)
    installed = find_qupath()
    if installed is None:
        raise QuPathError(NAME, "paquo finds no QuPath", "Set PAQUO_QUPATH_DIR")
    settings, qualities = grid(), []
    for changed in settings:
        qualities.append(quality(data, changed))
        click.echo(f"{changed}: PQ {qualities[-1]:.4f} on train images", err=True)
    changes = {"defaults": {}, "tuned on train images": settings[int(np.argmax(qualities))]}
    image = opened(development_images(data)[0].image)
    about = {
        "parameters": {kind: filled_in(image) | UNMEASURED | changed for kind, changed in changes.items()},
        "PQ on train images": [
            changed | {"pq": round(pq, 4)} for changed, pq in zip(settings, qualities, strict=True)
        ],
    }
    image.getServer().close()
    title = f"QuPath {installed.version} cell detection"
    found = pd.concat(
        [scored(f"{title}, {kind}", data, partial(detected, changed=changes[kind])) for kind in changes]
    )
    with replacing(output / "parameters.json") as part:
        part.write_text(json.dumps(about, indent=1), encoding="utf-8")
    with replacing(scores) as part:
        found.to_csv(part, index=False)
    return found


def of_bundle(bundle: Path, data: Path) -> pd.DataFrame:
    """The scores of a bundle's student, which segments as by ``segment``."""
    from annotation_curve import whole_region

    from cellgennet_qupath.bundle import load_bundle
    from cellgennet_qupath.evaluation.predictors import StudentPredictor
    from cellgennet_qupath.segmentation.model import Model

    student = StudentPredictor(bundle.stem, Model.from_bundle(load_bundle(bundle), 1))

    def segment(item: LabelledImage) -> NDArray[np.int32]:
        return student.predict(whole_region(item, item.truth()), item.pixels()).labels

    return scored(student.name, data, segment)


@click.command()
@click.argument("data", type=click.Path(path_type=Path, exists=True, file_okay=False))
@click.option("-o", "--output", type=click.Path(path_type=Path, file_okay=False), required=True)
@click.option("--against", type=click.Path(path_type=Path, exists=True, file_okay=False), help="A bundle.")
def main(data: Path, output: Path, against: Path | None) -> None:
    """Detect, score, and write the tables."""
    try:
        found = results(data, output / "qupath")
    except QuPathError as error:
        raise SystemExit(f"Not run: {error}") from error
    if against is not None:
        found = pd.concat([of_bundle(against, data), found])
    text = document(found, {}, {}, against.stem if against else None)
    (output / "qupath" / "table.md").write_text(text, encoding="utf-8")
    click.echo(text)


if __name__ == "__main__":
    main()
