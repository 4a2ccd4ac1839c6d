"""A field as a picture with outlines that can be switched: tissue, truth, everyone's nuclei."""

from __future__ import annotations

import base64
from collections.abc import Mapping
from dataclasses import dataclass

import cv2
import numpy as np
import shapely
from numpy.typing import NDArray

from ..evaluation.regions import EvaluationRegion
from ..evaluation.run import Evaluation, visible
from ..geometry.contours import label_polygons
from ..metrics.matching import match, objects, overlaps

LARGEST = 720
"""Longer sides are cut to this many samples, around the field's middle."""


@dataclass(frozen=True)
class Layer:
    """Outlines of one method as SVG path data, beside the truth that it is compared with.

    right, wrong  : nuclei that match a true one at IoU 0.5, and those that match none.
    found, missed : true nuclei, likewise.
    """

    method: str
    right: str
    wrong: str
    found: str
    missed: str
    counts: tuple[int, int, int]


@dataclass(frozen=True)
class Picture:
    """Tissue as the data URI of a JPEG of ``width`` x ``height``, and the layers over it."""

    name: str
    group: str
    width: int
    height: int
    tissue: str
    unknown: str
    layers: list[Layer]


def picture(evaluation: Evaluation, field: EvaluationRegion) -> Picture:
    """The picture of a field with the outlines of every method. Raises SlideError."""
    predicted = {m: evaluation.predictions[m, field.name].unpack() for m in evaluation.methods}
    true, unknown = field.truth()
    return outlined(field.name, field.pixels(), true, unknown, predicted, field.group)


def outlined(
    name: str,
    pixels: NDArray[np.uint8],
    true: NDArray[np.int32],
    unknown: NDArray[np.bool_] | None,
    predicted: Mapping[str, NDArray[np.int32]],
    group: str = "",
) -> Picture:
    """A picture (rows, columns, 3) with outlines of the truth and of each method's labels (rows, columns).

    unknown : where nothing is known, which neither counts nor is outlined; None where all is known.
    """
    part = _middle(true.shape)
    hidden = None if unknown is None else unknown[part]
    layers = [_layer(method, true[part], labels[part], hidden) for method, labels in predicted.items()]
    shade = "" if hidden is None else _path(label_polygons(_regions(hidden)))
    height, width = true[part].shape
    return Picture(name, group, width, height, jpeg(pixels[part]), shade, layers)


def jpeg(image: NDArray[np.uint8], quality: int = 88) -> str:
    """An RGB picture as the data URI of a JPEG."""
    _, encoded = cv2.imencode(".jpg", image[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, quality])
    return data_uri(encoded.tobytes(), "image/jpeg")


def data_uri(content: bytes, kind: str) -> str:
    """Content inside its own address."""
    return f"data:{kind};base64,{base64.b64encode(content).decode('ascii')}"


def _middle(shape: tuple[int, ...]) -> tuple[slice, slice]:
    starts = [max(0, (length - LARGEST) // 2) for length in shape[:2]]
    return slice(starts[0], starts[0] + LARGEST), slice(starts[1], starts[1] + LARGEST)


def _layer(
    method: str, true: NDArray[np.int32], predicted: NDArray[np.int32], unknown: NDArray[np.bool_] | None
) -> Layer:
    pairs = overlaps(visible(true, unknown), visible(predicted, unknown))
    matched = match(pairs, 0.5)
    right = pairs.predicted_label[matched.predicted]
    found = pairs.true_label[matched.true]
    wrong = np.setdiff1d(pairs.predicted_label, right)
    missed = np.setdiff1d(pairs.true_label, found)
    return Layer(
        method,
        right=_outlines(predicted, right),
        wrong=_outlines(predicted, wrong),
        found=_outlines(true, found),
        missed=_outlines(true, missed),
        counts=(len(found), len(missed), len(wrong)),
    )


def _outlines(labels: NDArray[np.int32], numbers: NDArray[np.int64]) -> str:
    """Path data of the objects of these numbers."""
    _, row, _ = objects(np.where(np.isin(labels, numbers), labels, 0))
    return _path(label_polygons(row + 1))


def _path(polygons: NDArray[np.object_]) -> str:
    rings = []
    for polygon in polygons:
        points = shapely.get_coordinates(shapely.get_exterior_ring(polygon))[:-1]
        rings.append("M" + "L".join(f"{x:.1f} {y:.1f}" for x, y in points) + "Z")
    return "".join(rings)


def _regions(mask: NDArray[np.bool_]) -> NDArray[np.int32]:
    """The known part of a field as objects: its outline shows where the region ends."""
    _, labels = cv2.connectedComponents((~mask).view(np.uint8), connectivity=4)
    large = np.bincount(labels.reshape(-1)) >= 400
    large[0] = False
    number = np.where(large, np.cumsum(large), 0)
    return np.asarray(number[labels], np.int32)
