"""A region as a picture with outlines that can be switched: tissue, true nuclei, each method's nuclei."""

from __future__ import annotations

import base64
from collections.abc import Mapping
from dataclasses import dataclass

import cv2
import numpy as np
import shapely
from numpy.typing import NDArray

from ..evaluation.regions import EvaluationRegion
from ..evaluation.run import Evaluation
from ..geometry.contours import label_polygons
from ..metrics.matching import Outcome, objects

LARGEST = 720
"""Longer sides are cropped to this many samples, around the centre of the region."""


@dataclass(frozen=True)
class Layer:
    """Outlines of one method's nuclei and of the true ones, as SVG path data.

    correct, false_positive : predicted nuclei that match a true one at IoU 0.5, and those that do not.
    detected, missed        : true nuclei, likewise.
    counts                  : detected, missed and false positive nuclei in the picture.
    """

    method: str
    correct: str
    false_positive: str
    detected: str
    missed: str
    counts: tuple[int, int, int]


@dataclass(frozen=True)
class Picture:
    """An image and the layers drawn over it.

    width, height : in samples, which are the units of the outlines.
    tissue        : the image as the data URI of a JPEG.
    unknown       : outline of the known part, as SVG path data; "" if everything is known.
    layers        : one for each method.
    """

    name: str
    group: str
    width: int
    height: int
    tissue: str
    unknown: str
    layers: list[Layer]


def picture(evaluation: Evaluation, region: EvaluationRegion) -> Picture:
    """The picture of a region with the outlines of every method. Raises SlideError."""
    results = [evaluation.results[method, region.name] for method in evaluation.methods]
    predicted = {one.method: (one.labels.unpack(), one.outcome) for one in results}
    true, unknown = region.truth()
    return outlined(region.name, region.pixels(), true, unknown, predicted, region.group)


def outlined(
    name: str,
    pixels: NDArray[np.uint8],
    true: NDArray[np.int32],
    unknown: NDArray[np.bool_] | None,
    predicted: Mapping[str, tuple[NDArray[np.int32], Outcome]],
    group: str = "",
) -> Picture:
    """Outline the true nuclei and those of each method on an image; large images are cropped.

    pixels    : uint8 (rows, columns, 3), RGB.
    true      : int32 (rows, columns), labels of the true nuclei.
    unknown   : bool (rows, columns), where nothing is known; None where everything is.
    predicted : method -> its labels, int32 (rows, columns), and how they match the true ones.
    """
    part = _centre(true.shape)
    layers = [
        _layer(method, true[part], labels[part], outcome) for method, (labels, outcome) in predicted.items()
    ]
    shade = "" if unknown is None else _path(label_polygons(_known_parts(unknown[part])))
    height, width = true[part].shape
    return Picture(name, group, width, height, jpeg(pixels[part]), shade, layers)


def jpeg(image: NDArray[np.uint8], quality: int = 88) -> str:
    """An RGB image, uint8 (rows, columns, 3), as the data URI of a JPEG."""
    _, encoded = cv2.imencode(".jpg", image[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, quality])
    return data_uri(encoded.tobytes(), "image/jpeg")


def data_uri(content: bytes, kind: str) -> str:
    """Content as a data URI of this media type."""
    return f"data:{kind};base64,{base64.b64encode(content).decode('ascii')}"


def _centre(shape: tuple[int, ...]) -> tuple[slice, slice]:
    starts = [max(0, (length - LARGEST) // 2) for length in shape[:2]]
    return slice(starts[0], starts[0] + LARGEST), slice(starts[1], starts[1] + LARGEST)


def _layer(method: str, true: NDArray[np.int32], predicted: NDArray[np.int32], outcome: Outcome) -> Layer:
    detected, missed = (_shown(labels, true) for labels in (outcome.detected, outcome.missed))
    correct, wrong = (_shown(labels, predicted) for labels in (outcome.correct, outcome.false_positive))
    return Layer(
        method,
        correct=_outlines(predicted, correct),
        false_positive=_outlines(predicted, wrong),
        detected=_outlines(true, detected),
        missed=_outlines(true, missed),
        counts=(len(detected), len(missed), len(wrong)),
    )


def _shown(numbers: NDArray[np.int64], labels: NDArray[np.int32]) -> NDArray[np.int64]:
    """Those of the labels that occur in the picture, which may be a crop."""
    return np.intersect1d(numbers, labels).astype(np.int64)


def _outlines(labels: NDArray[np.int32], numbers: NDArray[np.int64]) -> str:
    """Path data of the objects with these labels."""
    _, row, _ = objects(np.where(np.isin(labels, numbers), labels, 0))
    return _path(label_polygons(row + 1))


def _path(polygons: NDArray[np.object_]) -> str:
    rings = []
    for polygon in polygons:
        points = shapely.get_coordinates(shapely.get_exterior_ring(polygon))[:-1]
        rings.append("M" + "L".join(f"{x:.1f} {y:.1f}" for x, y in points) + "Z")
    return "".join(rings)


def _known_parts(mask: NDArray[np.bool_]) -> NDArray[np.int32]:
    """The known parts of a region as objects; their outlines show where the annotated region ends."""
    _, labels = cv2.connectedComponents((~mask).view(np.uint8), connectivity=4)
    large = np.bincount(labels.reshape(-1)) >= 400
    large[0] = False
    number = np.where(large, np.cumsum(large), 0)
    return np.asarray(number[labels], np.int32)
