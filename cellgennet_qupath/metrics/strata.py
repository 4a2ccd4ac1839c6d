"""What every true nucleus is like, and whether it was found: scores by size, crowding and shape."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd
import shapely
from numpy.typing import NDArray

from ..geometry.contours import label_polygons
from .matching import match, objects, overlaps
from .scores import hide_unknown

CROWDED = 1.0
"""A nucleus is crowded where another one is no farther away than this many samples: they touch."""
IRREGULAR = 0.9
"""A nucleus is irregular where it fills less than this share of its convex hull (its solidity)."""


def true_nuclei(true: NDArray[np.integer], unknown: NDArray[np.bool_] | None = None) -> pd.DataFrame:
    """One row for each true nucleus: ``label``, ``area`` (samples), ``solidity``, ``gap`` (samples to the
    nearest other nucleus; infinite without one), ``crowded`` and ``irregular``.

    Nuclei of which more than half is unknown are left out, though they still crowd others.
    """
    number, rows, area = objects(true)
    polygons = label_polygons(rows + 1)
    hull = shapely.area(shapely.convex_hull(polygons))
    table = pd.DataFrame(
        {
            "label": number,
            "area": area.astype(np.float64),
            "solidity": np.minimum(1, shapely.area(polygons) / np.maximum(hull, 1e-9)),
            "gap": _gaps(polygons),
        }
    )
    table["crowded"] = table["gap"] <= CROWDED
    table["irregular"] = table["solidity"] < IRREGULAR
    if unknown is not None:
        table = table[np.isin(table["label"], hide_unknown(true, unknown))]
    return table.reset_index(drop=True)


def matched_iou(
    nuclei: pd.DataFrame,
    true: NDArray[np.integer],
    predicted: NDArray[np.integer],
    unknown: NDArray[np.bool_] | None = None,
) -> NDArray[np.float64]:
    """IoU of each nucleus of ``true_nuclei`` with the predicted one it is matched with at 0.5; 0: missed."""
    if unknown is not None:
        true, predicted = hide_unknown(true, unknown), hide_unknown(predicted, unknown)
    pairs = overlaps(true, predicted)
    found = match(pairs, 0.5)
    iou = np.zeros(len(nuclei))
    iou[np.searchsorted(nuclei["label"], pairs.true_label[found.true])] = found.iou
    return iou


def size_limits(areas: Sequence[float] | NDArray[np.float64]) -> tuple[float, float]:
    """The areas below which a third, and two thirds, of the nuclei lie; NaN without nuclei."""
    if not len(areas):
        return float("nan"), float("nan")
    small, large = np.quantile(np.asarray(areas, np.float64), [1 / 3, 2 / 3])
    return float(small), float(large)


def summarise(nuclei: pd.DataFrame) -> pd.DataFrame:
    """Nuclei by method and kind: how many, the share that was found, and the mean IoU of those.

    nuclei : rows with ``method``, ``area``, ``crowded``, ``irregular`` and ``iou``, of all images.
    Returns columns ``method``, ``by``, ``kind``, ``nuclei``, ``found``, ``overlap``; kinds without nuclei
    are left out.
    """
    if nuclei.empty:
        return pd.DataFrame(columns=["method", "by", "kind", "nuclei", "found", "overlap"])
    first = nuclei[nuclei["method"] == nuclei["method"].iloc[0]]
    small, large = size_limits(first["area"].to_numpy())
    kinds = {
        ("size", "small"): nuclei["area"] <= small,
        ("size", "medium"): (nuclei["area"] > small) & (nuclei["area"] <= large),
        ("size", "large"): nuclei["area"] > large,
        ("crowding", "crowded"): nuclei["crowded"],
        ("crowding", "apart"): ~nuclei["crowded"],
        ("shape", "irregular"): nuclei["irregular"],
        ("shape", "regular"): ~nuclei["irregular"],
    }
    rows = []
    for method in dict.fromkeys(nuclei["method"]):
        own = nuclei["method"] == method
        for (by, kind), chosen in kinds.items():
            iou = nuclei.loc[own & chosen, "iou"]
            if len(iou):
                overlap = float(iou[iou > 0].mean()) if (iou > 0).any() else float("nan")
                rows.append((method, by, kind, len(iou), float((iou > 0).mean()), overlap))
    return pd.DataFrame(rows, columns=["method", "by", "kind", "nuclei", "found", "overlap"])


def _gaps(polygons: NDArray[np.object_]) -> NDArray[np.float64]:
    gaps = np.full(len(polygons), np.inf)
    if len(polygons) > 1:
        (rows, _), distance = shapely.STRtree(polygons).query_nearest(
            polygons, exclusive=True, return_distance=True, all_matches=False
        )
        gaps[rows] = distance
    return gaps
