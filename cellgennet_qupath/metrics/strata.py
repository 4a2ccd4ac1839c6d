"""Detection rate of the true nuclei, stratified by size, crowding and shape."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd
import shapely
from numpy.typing import NDArray

from ..geometry.contours import label_polygons
from .matching import LabelMatching, hide_unknown, objects

CROWDED = 1.0
"""A nucleus is crowded if the gap to another one is at most this many samples: they touch."""
IRREGULAR = 0.9
"""A nucleus is irregular if its solidity (area over convex hull area) is below this."""

_COLUMNS = ["method", "by", "kind", "nuclei", "found", "overlap"]


def true_nuclei(true: NDArray[np.integer], unknown: NDArray[np.bool_] | None = None) -> pd.DataFrame:
    """One row per true nucleus: ``label``, ``area`` (samples), ``solidity``, ``gap`` (samples to the nearest
    other nucleus; infinite without one), ``crowded`` and ``irregular``.

    Nuclei of which more than half is unknown are left out, but count as neighbours of others.
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


def matched_iou(nuclei: pd.DataFrame, matching: LabelMatching) -> NDArray[np.float64]:
    """IoU (n,) of each row of ``true_nuclei`` with the predicted nucleus matched to it; 0 if missed."""
    detected = matching.overlaps.true_label[matching.matches.true]
    by_label = pd.Series(matching.matches.iou, index=detected)
    return np.asarray(nuclei["label"].map(by_label).fillna(0.0), np.float64)


def size_limits(areas: Sequence[float] | NDArray[np.float64]) -> tuple[float, float]:
    """The first and second tertile of the areas; NaN without nuclei."""
    if not len(areas):
        return float("nan"), float("nan")
    small, large = np.quantile(np.asarray(areas, np.float64), [1 / 3, 2 / 3])
    return float(small), float(large)


def summarise(nuclei: pd.DataFrame) -> pd.DataFrame:
    """The detection rate of each method in each stratum.

    nuclei : rows of all images with ``method``, ``area``, ``crowded``, ``irregular``, ``iou`` (0: missed).
    Returns one row per method and stratum with nuclei: ``method``, ``by`` ("size", "crowding", "shape"),
    ``kind`` (the stratum), ``nuclei`` (their number), ``found`` (share detected) and ``overlap`` (mean IoU of
    those detected).
    """
    if nuclei.empty:
        return pd.DataFrame(columns=_COLUMNS)
    first = nuclei[nuclei["method"] == nuclei["method"].iloc[0]]
    small, large = size_limits(first["area"].to_numpy())
    strata = {
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
        for (by, stratum), members in strata.items():
            iou = nuclei.loc[own & members, "iou"]
            if len(iou):
                overlap = float(iou[iou > 0].mean()) if (iou > 0).any() else float("nan")
                rows.append((method, by, stratum, len(iou), float((iou > 0).mean()), overlap))
    return pd.DataFrame(rows, columns=_COLUMNS)


def _gaps(polygons: NDArray[np.object_]) -> NDArray[np.float64]:
    gaps = np.full(len(polygons), np.inf)
    if len(polygons) > 1:
        (rows, _), distance = shapely.STRtree(polygons).query_nearest(
            polygons, exclusive=True, return_distance=True, all_matches=False
        )
        gaps[rows] = distance
    return gaps
