"""What is measured in a window whose nuclei are known."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from cellgennet_qupath.geometry.rectangle import Rectangle
from cellgennet_qupath.segmentation.decode import DecodingConfig
from cellgennet_qupath.suggestion.criteria import Windows, concat, measure

RULE = DecodingConfig().at(0.5)
SIDE = 128


def maps(*nuclei: tuple[float, float, float, float, float]) -> NDArray[np.float32]:
    """Maps (64, 64, 2) of ellipses: x, y, radius along x, foreground and object probability."""
    y, x = np.mgrid[: SIDE // 2, : SIDE // 2] + 0.5
    out = np.zeros((SIDE // 2, SIDE // 2, 2), np.float32)
    for cx, cy, radius, foreground, peak in nuclei:
        reach = np.hypot((x - cx) / radius, (y - cy) / 5)
        out[..., 0][reach < 1] = foreground
        out[..., 1] = np.maximum(out[..., 1], peak * np.clip(1.2 - reach, 0, 1))
    return out


def measured(mean: NDArray[np.float32], std: float = 0.0, *boxes: Rectangle) -> Windows:
    pixels = np.full((SIDE, SIDE, 3), 0.8, np.float32)
    spread = np.full_like(mean, std)
    return measure(pixels, mean, spread, boxes or [Rectangle(0, 0, SIDE, SIDE)], RULE)


SURE = (12.0, 12.0, 5.0, 0.98, 0.9)


@pytest.mark.parametrize(
    ("doubtful", "expected"),
    [
        ((40.0, 40.0, 5.0, 0.98, 0.9), 0),
        ((40.0, 40.0, 5.0, 0.98, 0.4), 1),
        ((40.0, 40.0, 5.0, 0.75, 0.9), 1),
    ],
    ids=["sure", "improbable", "faint"],
)
def test_doubtful_nuclei_are_counted(doubtful: tuple[float, ...], expected: int) -> None:
    found = measured(maps(SURE, doubtful))  # type: ignore[arg-type]
    assert (found.nuclei.tolist(), found.doubtful.tolist()) == ([2], [expected])


def test_a_large_nucleus_that_is_not_convex_looks_merged() -> None:
    sure = [(8.0 + 14 * i, 8.0, 4.0, 0.98, 0.9) for i in range(4)]
    bent = maps(*sure)
    bent[30:34, 10:50] = bent[30:56, 10:14] = (0.98, 0.9)
    found = measured(bent)
    assert (found.nuclei.tolist(), found.doubtful.tolist()) == ([5], [1])


def test_a_nucleus_is_in_the_window_of_its_centre() -> None:
    left, right = Rectangle(0, 0, 64, SIDE), Rectangle(64, 0, SIDE, SIDE)
    found = measured(maps(SURE, (33.0, 40.0, 5.0, 0.98, 0.9)), 0.0, left, right)
    assert found.nuclei.tolist() == [1, 1]


def test_disagreement_is_the_mean_over_the_window() -> None:
    spread = maps(SURE)
    left, right = Rectangle(0, 0, 64, SIDE), Rectangle(64, 0, SIDE, SIDE)
    found = measure(np.full((SIDE, SIDE, 3), 0.8, np.float32), maps(SURE), spread, [left, right], RULE)
    assert found.disagreement.tolist() == [pytest.approx(spread[:, :32].mean()), 0]


def test_windows_are_where_their_part_of_the_image_is() -> None:
    mean = maps(SURE)
    pixels = np.full((SIDE, SIDE, 3), 0.8, np.float32)
    box = Rectangle(1000, 500, 1064, 564)
    found = measure(pixels, mean, np.zeros_like(mean), [box], RULE, image=3, origin=(1000, 500))
    assert found.boxes.tolist() == [list(box)]
    assert (found.nuclei[0], found.image[0]) == (1, 3)


def test_tissue_without_nuclei_has_no_value_for_them() -> None:
    found = measured(maps())
    assert found.nuclei[0] == 0
    assert np.isnan(found.features[0]).any()
    assert np.isfinite(found.disagreement).all()


def test_parts_are_joined_also_where_one_is_empty() -> None:
    one = measured(maps(SURE))
    none = measure(np.zeros((4, 4, 3), np.float32), maps()[:2, :2], maps()[:2, :2], [], RULE)
    both = concat([none, one])
    assert len(both) == 1
    assert both.features.shape == one.features.shape
