"""Windows around labels: where labels are, none twice, each nucleus whole in one of them."""

from __future__ import annotations

import numpy as np
import shapely
from hypothesis import given, settings
from hypothesis import strategies as st

from cellgennet_qupath.annotations.labels import UNKNOWN, Split, Supervision, render
from cellgennet_qupath.annotations.reader import interpret
from cellgennet_qupath.annotations.windows import inner_part, label_boxes, render_window
from cellgennet_qupath.core.config import ClassNames
from cellgennet_qupath.qupath.project import Annotation
from tests.helpers import annotation


def read(*annotations: Annotation) -> Supervision:
    return interpret(annotations, ClassNames(), mpp=0.25)


def disc(x: float, y: float, path_class: str = "") -> Annotation:
    return annotation(shapely.Point(x, y).buffer(8), path_class)


def test_parts_far_apart_have_windows_of_their_own() -> None:
    near, far = shapely.box(0, 0, 100, 100), shapely.box(9000, 9000, 9100, 9100)
    nuclei = [disc(50, 50), disc(9050, 9050)]
    merged = read(annotation(shapely.union(near, far), "Training"), *nuclei)
    apart = read(annotation(near, "Training"), annotation(far, "Training"), *nuclei)
    boxes = label_boxes(merged, Split.TRAINING, 1.0, 64)
    assert boxes == label_boxes(apart, Split.TRAINING, 1.0, 64)
    assert len(boxes) == 2
    assert all(where.box == where.core for where in boxes)


def test_a_large_window_is_divided_and_parts_without_labels_are_left_out() -> None:
    chain = [disc(20 + 90 * i, 20 + 90 * i, "Nucleus") for i in range(40)]
    found = read(*chain)
    boxes = label_boxes(found, Split.TRAINING, 1.0, 64, 512)
    assert all(max(where.core.rows, where.core.columns) <= 512 for where in boxes)
    assert len(boxes) < 30, "the chain is one window of 3700 x 3700, in 64 parts"
    owned = [len(render_window(found, Split.TRAINING, where, 1.0)[1]) for where in boxes]
    assert sum(owned) == 40


def test_glass_has_windows_only_where_it_is_annotated() -> None:
    shape = shapely.union(shapely.box(0, 0, 4000, 100), shapely.box(0, 0, 100, 4000))
    found = read(annotation(shape, "Background"))
    boxes = label_boxes(found, Split.TRAINING, 1.0, 64, 1024)
    assert len(boxes) < 12
    known = 0
    for where in boxes:
        labels, _ = render_window(found, Split.TRAINING, where, 1.0)
        known += (labels.foreground[inner_part(where)] == 0).sum()
    assert known == shape.area


@settings(max_examples=25)
@given(st.lists(st.tuples(st.integers(10, 390), st.integers(10, 290)), max_size=25), st.integers(60, 200))
def test_divided_windows_show_the_labels_of_the_whole(places: list[tuple[int, int]], largest: int) -> None:
    found = read(annotation(shapely.box(0, 0, 400, 300), "Training"), *[disc(x, y) for x, y in places])
    whole = render(found, Split.TRAINING, (300, 400), 1.0, (0, 0))
    shown = np.full((300, 400), UNKNOWN, np.int8)
    nuclei = 0
    for where in label_boxes(found, Split.TRAINING, 1.0, 32, largest):
        labels, owned = render_window(found, Split.TRAINING, where, 1.0)
        rows, columns = inner_part(where)
        core = where.core
        part = np.s_[max(core.y0, 0) : max(core.y1, 0), max(core.x0, 0) : max(core.x1, 0)]
        inner = labels.foreground[rows, columns][max(-core.y0, 0) :, max(-core.x0, 0) :]
        shown[part] = inner[: 300 - max(core.y0, 0), : 400 - max(core.x0, 0)]
        nuclei += len(owned)
    np.testing.assert_array_equal(shown, whole.foreground)
    assert nuclei == len(np.unique(whole.objects[whole.objects > 0]))
