"""Which windows are chosen among candidates whose worth is known."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import shapely

from cellgennet_qupath.suggestion.choose import choose
from cellgennet_qupath.suggestion.criteria import Windows

SIDE = 160


def windows(images: int = 3, per_side: int = 8) -> Windows:
    """Windows at half-window steps on several images, all alike."""
    at = np.arange(per_side) * SIDE // 2
    y, x = (grid.ravel() for grid in np.meshgrid(at, at, indexing="ij"))
    boxes = np.tile(np.column_stack([x, y, x + SIDE, y + SIDE]), (images, 1))
    n = len(boxes)
    return Windows(
        boxes=boxes,
        image=np.repeat(np.arange(images), per_side**2),
        disagreement=np.full(n, 0.1),
        nuclei=np.full(n, 20),
        doubtful=np.full(n, 2),
        features=np.zeros((n, 2)),
    )


def drawn(candidates: Windows, annotated: Windows | None = None, count: int = 6, seed: int = 0) -> list[int]:
    known = candidates.take(np.zeros(0, np.intp)) if annotated is None else annotated
    on_image = np.bincount(known.image, minlength=9).astype(float)
    return [one.row for one in choose(candidates, known, on_image, count, np.random.default_rng(seed))]


def test_windows_do_not_overlap_and_are_spread_over_images() -> None:
    rows = drawn(windows(), count=9)
    chosen = windows().take(np.array(rows))
    assert np.bincount(chosen.image).tolist() == [3, 3, 3]
    for image in range(3):
        shapes = shapely.box(*chosen.boxes[chosen.image == image].T.astype(float))
        assert shapely.area(shapely.union_all(shapes)) == 3 * SIDE**2


@pytest.mark.parametrize(("column", "value"), [("disagreement", 0.4), ("doubtful", 19)])
def test_what_is_doubtful_is_preferred(column: str, value: float) -> None:
    candidates = windows(images=1)
    values = getattr(candidates, column).copy()
    values[[9, 45]] = value
    assert set(drawn(replace(candidates, **{column: values}), count=2)) == {9, 45}


def test_what_is_unlike_the_annotated_tissue_is_preferred() -> None:
    candidates = windows(images=1)
    features = np.zeros((len(candidates), 2))
    features[:, 0] = np.linspace(0, 0.1, len(features))
    features[12] = features[50] = [5, np.nan]
    candidates = replace(candidates, features=features)
    annotated = candidates.take(np.array([0]))
    assert drawn(candidates, annotated, count=1)[0] in (12, 50)
    # The other one is like the first by then.
    assert set(drawn(candidates, annotated, count=2)) != {12, 50}


def test_images_without_annotations_come_first() -> None:
    candidates = windows(images=2)
    annotated = candidates.take(np.array([0, 5]))
    (only,) = choose(candidates, annotated, np.array([2.0, 0.0]), 1, np.random.default_rng(0))
    assert candidates.image[only.row] == 1
    assert only.first


def test_empty_windows_are_suggested_only_where_nothing_else_is() -> None:
    candidates = windows(images=1)
    nuclei = np.zeros(len(candidates), np.intp)
    nuclei[[0, 20, 60]] = 5
    candidates = replace(candidates, nuclei=nuclei, disagreement=np.where(nuclei, 0.1, 9.0))
    assert set(drawn(candidates, count=3)) == {0, 20, 60}
    assert len(drawn(candidates, count=8)) == 8


def test_a_seed_repeats_exactly_and_another_draws_other_equals() -> None:
    assert drawn(windows()) == drawn(windows())
    assert drawn(windows()) != drawn(windows(), seed=1)


def test_there_may_be_fewer_windows_than_asked_for() -> None:
    assert len(drawn(windows(images=1, per_side=2), count=4)) == 1
    assert drawn(windows().take(np.zeros(0, np.intp))) == []
