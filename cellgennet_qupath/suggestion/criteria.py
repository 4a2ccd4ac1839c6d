"""What speaks for outlining a window: doubts of the model there, and what its tissue looks like."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields

import numpy as np
import shapely
from numpy.typing import NDArray

from ..geometry.contours import label_polygons
from ..geometry.rectangle import Rectangle
from ..segmentation.decode import Decoding, decode

_UNSURE = 0.45
"""Highest object probability of a nucleus below which it is doubtful."""
_FAINT = 0.1
"""A nucleus is doubtful whose mean foreground exceeds the decoding rule's least one by less than this."""
_LARGE, _CONVEX = 1.8, 0.9
"""Nuclei look merged from this multiple of the median area, and below this share of their convex hull."""

_FEATURES = 16
"""Numbers that describe what a window looks like (see ``_appearance``)."""


@dataclass(frozen=True)
class Windows:
    """Candidate windows in columns of equal length n.

    boxes        : int (n, 4), x0, y0, x1, y1 in samples of the image's grid at the model's resolution.
    image        : int (n,), the image of each.
    disagreement : float (n,), the mean standard deviation of the maps over views and networks.
    nuclei       : int (n,), nuclei detected; ``doubtful``: how many of these are doubtful.
    features     : float (n, k), what the tissue looks like; nan where something has no value.
    """

    boxes: NDArray[np.intp]
    image: NDArray[np.intp]
    disagreement: NDArray[np.float64]
    nuclei: NDArray[np.intp]
    doubtful: NDArray[np.intp]
    features: NDArray[np.float64]

    def __len__(self) -> int:
        return len(self.boxes)

    def take(self, rows: NDArray[np.integer] | NDArray[np.bool_]) -> Windows:
        """These rows."""
        return Windows(**{column.name: getattr(self, column.name)[rows] for column in fields(self)})


def concat(parts: Sequence[Windows]) -> Windows:
    """The windows of all parts, at least one, in order."""
    return Windows(
        **{
            column.name: np.concatenate([getattr(p, column.name) for p in parts])
            for column in fields(Windows)
        }
    )


def measure(
    pixels: NDArray[np.float32],
    mean: NDArray[np.float32],
    std: NDArray[np.float32],
    boxes: Sequence[Rectangle],
    rule: Decoding,
    image: int = 0,
    origin: tuple[int, int] = (0, 0),
) -> Windows:
    """The windows of a part of an image.

    pixels    : float32 (h, w, 3), normalised colours of the part; h and w multiples of the stride.
    mean, std : float32 (h / stride, w / stride, 2), foreground and object probability over views, as
                ``AveragedPrediction`` has them.
    boxes     : windows in samples of the image, inside the part; ``origin``: the part's first sample (x, y).
    rule      : how maps become nuclei, in samples of the maps.
    """
    labels, probability = decode(mean[..., 0], mean[..., 1], rule)
    centres, areas, doubtful = _nuclei(labels, probability, mean[..., 0], rule)
    stride = len(pixels) // len(labels)
    small = pixels.reshape(labels.shape[0], stride, labels.shape[1], stride, 3).mean(axis=(1, 3))
    rows = []
    for box in boxes:
        x0, y0, x1, y1 = (edge // stride for edge in _moved(box, origin))
        part = np.s_[y0:y1, x0:x1]
        inside = (centres[:, 0] >= x0) & (centres[:, 0] < x1) & (centres[:, 1] >= y0) & (centres[:, 1] < y1)
        rows.append(
            (
                float(std[part].mean()),
                int(inside.sum()),
                int(doubtful[inside].sum()),
                _appearance(small[part], labels[part] > 0, mean[part], areas[inside], int(inside.sum())),
            )
        )
    disagreement, nuclei, doubts, features = zip(*rows, strict=True) if rows else ((), (), (), ())
    return Windows(
        boxes=np.array(boxes, np.intp).reshape(-1, 4),
        image=np.full(len(rows), image, np.intp),
        disagreement=np.array(disagreement, np.float64),
        nuclei=np.array(nuclei, np.intp),
        doubtful=np.array(doubts, np.intp),
        features=np.array(features, np.float64).reshape(len(rows), _FEATURES),
    )


def _moved(box: Rectangle, origin: tuple[int, int]) -> Rectangle:
    x, y = origin
    return Rectangle(box.x0 - x, box.y0 - y, box.x1 - x, box.y1 - y)


def _nuclei(
    labels: NDArray[np.int32],
    probability: NDArray[np.float32],
    foreground: NDArray[np.float32],
    rule: Decoding,
) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.bool_]]:
    """Centres (n, 2) as x and y, areas (n,) and whether each nucleus is doubtful (n,), in map samples."""
    polygons = label_polygons(labels)
    if not len(polygons):
        return np.zeros((0, 2)), np.zeros(0), np.zeros(0, bool)
    areas = np.bincount(labels.reshape(-1), minlength=len(polygons) + 1)[1:].astype(np.float64)
    total = np.bincount(labels.reshape(-1), weights=foreground.reshape(-1), minlength=len(polygons) + 1)[1:]
    convex = shapely.area(polygons) / np.maximum(shapely.area(shapely.convex_hull(polygons)), 1e-9)
    doubtful = probability < _UNSURE
    doubtful |= total < (rule.mean_foreground + _FAINT) * areas
    doubtful |= (areas > _LARGE * np.median(areas)) & (convex < _CONVEX)
    return shapely.get_coordinates(shapely.centroid(polygons)), areas, doubtful


def _appearance(
    colours: NDArray[np.float32],
    nuclear: NDArray[np.bool_],
    maps: NDArray[np.float32],
    areas: NDArray[np.float64],
    count: int,
) -> list[float]:
    """Colours, densities and sizes of a window."""
    inside, outside = colours[nuclear], colours[~nuclear]
    none = [np.nan] * 3
    return [
        *(inside.mean(axis=0) if len(inside) else none),
        *(inside.std(axis=0) if len(inside) else none),
        *(outside.mean(axis=0) if len(outside) else none),
        *(outside.std(axis=0) if len(outside) else none),
        float(maps[..., 0].mean()),
        1000 * count / colours[..., 0].size,
        float(np.log(np.median(areas))) if len(areas) else np.nan,
        float(np.log(areas).std()) if len(areas) > 1 else np.nan,
    ]
