"""A lab on tissue that its start has never seen: a QuPath project with a few outlined windows.

The labels of a domain are the annotator. Half of its groups of images (patients, fields that overlap) are
annotated in, the others are scored; all images are in the project, as they would be in a lab's.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import shapely
from datasets import MPP, WINDOW
from domains import DomainImage, Domains
from numpy.typing import NDArray

from cellgennet_qupath.geometry.contours import label_polygons
from cellgennet_qupath.geometry.rectangle import Rectangle

EVERY = 4
"""Each fourth window is for validation."""
MOST_SCORED = 48


@dataclass(frozen=True)
class Lab:
    """A project on disk, and the images on which its models are scored."""

    project: Path
    scored: list[DomainImage]
    outlined: int
    windows: int


def make_lab(root: Path, domain: str, seed: int, nuclei: int, folder: Path) -> Lab:
    """Draw windows of 160 x 160 px until ``nuclei`` whole nuclei are outlined, and write the project.

    Fewer nuclei are outlined where no image has a place for another window.
    """
    rng = np.random.default_rng([seed, *domain.encode()])
    images = Domains(root).of(domain)
    groups = sorted({image.group for image in images})
    annotated = {groups[i] for i in rng.permutation(len(groups))[: len(groups) // 2]}
    order = [i for i in rng.permutation(len(images)) if images[i].group in annotated]
    rest = [i for i in rng.permutation(len(images)) if images[i].group not in annotated]
    drawn: dict[int, list[tuple[Rectangle, NDArray[np.int32], str]]] = {}
    outlined = windows = in_vain = 0
    while outlined < nuclei and in_vain < len(order):
        number = order[windows % len(order)]
        truth = images[number].item.truth()
        box = _window(truth, [box for box, *_ in drawn.get(number, [])], rng)
        windows += 1
        in_vain = 0 if box is not None else in_vain + 1
        if box is None:
            continue
        part = truth[box.y0 : box.y1, box.x0 : box.x1]
        split = "Validation" if windows % EVERY == 0 else "Training"
        drawn.setdefault(number, []).append((box, truth, split))
        outlined += len(_whole(part))
    _write(folder, images, drawn)
    scored = sorted(rest[:MOST_SCORED])
    return Lab(folder, [images[i] for i in scored], outlined, sum(len(d) for d in drawn.values()))


def _window(truth: NDArray[np.int32], taken: list[Rectangle], rng: np.random.Generator) -> Rectangle | None:
    """A random window that holds a whole nucleus and overlaps none that is taken; None if hard to find."""
    rows, columns = truth.shape
    for _ in range(20):
        x, y = int(rng.integers(columns - WINDOW + 1)), int(rng.integers(rows - WINDOW + 1))
        box = Rectangle.of_size(x, y, WINDOW, WINDOW)
        apart = all(abs(x - other.x0) >= WINDOW or abs(y - other.y0) >= WINDOW for other in taken)
        if apart and len(_whole(truth[y : y + WINDOW, x : x + WINDOW])):
            return box
    return None


def _whole(part: NDArray[np.int32]) -> NDArray[np.int32]:
    """The labels in a window that do not touch its edge."""
    edge = np.concatenate([part[0], part[-1], part[:, 0], part[:, -1]])
    return np.setdiff1d(part, [0, *edge])


def _write(
    folder: Path,
    images: list[DomainImage],
    drawn: dict[int, list[tuple[Rectangle, NDArray[np.int32], str]]],
) -> None:
    """A project of QuPath's form, with annotations as GeoJSON."""
    notes = folder / "cellgennet" / "annotations"
    notes.mkdir(parents=True, exist_ok=True)
    entries = []
    for number, image in enumerate(images):
        rows, columns = image.item.truth().shape
        size = {"value": MPP, "unit": "µm"}
        metadata = {
            "name": image.item.name,
            "width": columns,
            "height": rows,
            "pixelCalibration": {"pixelWidth": size, "pixelHeight": size},
        }
        server = {"builderType": "uri", "uri": image.item.image.resolve().as_uri(), "metadata": metadata}
        name = image.item.name
        entries.append({"serverBuilder": server, "entryID": number + 1, "imageName": name})
        features = []
        for box, truth, split in drawn.get(number, []):
            features.append(_feature(shapely.box(box.x0, box.y0, box.x1, box.y1), split))
            present = np.setdiff1d(truth[box.y0 : box.y1, box.x0 : box.x1], [0])
            shown = np.where(np.isin(truth, present), np.searchsorted(present, truth) + 1, 0)
            features += [_feature(outline, "Nucleus") for outline in label_polygons(shown.astype(np.int32))]
        if features:
            collection = {"type": "FeatureCollection", "features": features}
            (notes / f"{number + 1}.geojson").write_text(json.dumps(collection), encoding="utf-8")
    project = {
        "version": "0.5.1",
        "createTimestamp": 1,
        "modifyTimestamp": 1,
        "uri": (folder / "project.qpproj").resolve().as_uri(),
        "lastID": len(entries),
        "images": entries,
    }
    (folder / "project.qpproj").write_text(json.dumps(project), encoding="utf-8")


def _feature(geometry: shapely.Geometry, path_class: str) -> dict[str, object]:
    return {
        "type": "Feature",
        "geometry": json.loads(shapely.to_geojson(geometry)),
        "properties": {"objectType": "annotation", "classification": {"name": path_class}},
    }
