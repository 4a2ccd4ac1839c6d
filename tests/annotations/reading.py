"""Annotations drawn at 0.25 µm per pixel, and what the reader makes of them."""

from __future__ import annotations

import shapely

from cellgennet_qupath.annotations.findings import Kind
from cellgennet_qupath.annotations.labels import LabelRasters, Split, Supervision, render
from cellgennet_qupath.annotations.reader import interpret
from cellgennet_qupath.core.config import ClassNames
from cellgennet_qupath.qupath.project import Annotation
from tests.helpers import annotation

MPP = 0.25
SIZE = (400, 300)


def read(*annotations: Annotation, classes: ClassNames | None = None, **more: object) -> Supervision:
    options: dict[str, object] = {"size": SIZE, "mpp": MPP, **more}
    return interpret(annotations, classes or ClassNames(), **options)  # type: ignore[arg-type]


def raster(found: Supervision, split: Split = Split.TRAINING) -> LabelRasters:
    return render(found, split, SIZE[::-1], 1.0, (0, 0))


def kinds(found: Supervision) -> dict[Kind, int]:
    return {one.kind: one.count for one in found.findings}


def disc(x: float, y: float, radius: float = 10, path_class: str = "") -> Annotation:
    """A nucleus; with a radius of 10 px it has 20 µm²."""
    return annotation(shapely.Point(x, y).buffer(radius), path_class)


def box(x: float, y: float, w: float, h: float, path_class: str = "Training") -> Annotation:
    return annotation(shapely.box(x, y, x + w, y + h), path_class)


REGION = box(20, 20, 160, 160)
ROW = [disc(50 + 40 * i, 60) for i in range(3)]
GOOD = [REGION, *ROW]
