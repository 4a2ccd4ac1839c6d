"""What each class of annotation means, drawn by hand."""

from __future__ import annotations

import numpy as np
import shapely
from hypothesis import given
from hypothesis import strategies as st

from cellgennet_qupath.annotations.findings import Kind
from cellgennet_qupath.annotations.labels import UNKNOWN, LabelRasters, Split, render
from cellgennet_qupath.annotations.reader import interpret
from cellgennet_qupath.core.config import ClassNames
from cellgennet_qupath.qupath.project import Annotation, Plane
from tests.helpers import annotation


def rasters(*annotations: Annotation, split: Split = Split.TRAINING, size: int = 40) -> LabelRasters:
    return render(interpret(annotations, ClassNames()), split, (size, size), 1.0, (0, 0))


REGION = annotation(shapely.box(5, 5, 30, 30), "Training")


def test_inside_a_region_everything_is_known() -> None:
    out = rasters(REGION, annotation(shapely.box(10, 10, 14, 14)))
    assert (out.objects[10:14, 10:14] > 0).all()
    assert (out.objects == 0).sum() == 25 * 25 - 16
    assert (out.objects[:5] == UNKNOWN).all()
    assert (out.foreground[10:14, 10:14] == 1).all()


def test_a_nucleus_cut_by_the_border_is_foreground_but_no_object() -> None:
    out = rasters(REGION, annotation(shapely.box(28, 10, 34, 14)))
    assert (out.foreground[10:14, 28:30] == 1).all()
    assert (out.objects[10:14, 28:30] == UNKNOWN).all()
    assert (out.foreground[10:14, 30:34] == UNKNOWN).all()


def test_a_scattered_nucleus_is_known_and_its_surroundings_are_not() -> None:
    out = rasters(annotation(shapely.box(10, 10, 14, 14), "Nucleus"))
    assert (out.objects > 0).sum() == 16
    assert (out.objects == UNKNOWN).sum() == 40 * 40 - 16


def test_an_unclassified_outline_outside_every_region_is_skipped_and_counted() -> None:
    inside, outside = annotation(shapely.box(10, 10, 14, 14)), annotation(shapely.box(32, 32, 36, 36))
    found = interpret([REGION, inside, outside], ClassNames())
    assert len(found.nuclei) == 1
    assert [(one.kind, one.count) for one in found.findings] == [(Kind.OUTSIDE_REGIONS, 1)]


def test_background_outside_regions_is_known() -> None:
    out = rasters(annotation(shapely.box(0, 0, 4, 4), "Background"))
    assert (out.foreground[:4, :4] == 0).all()
    assert (out.foreground == UNKNOWN).sum() == 40 * 40 - 16


def test_ignored_wins_and_leaves_a_touched_nucleus_unknown_as_object() -> None:
    out = rasters(
        REGION, annotation(shapely.box(10, 10, 14, 14)), annotation(shapely.box(12, 0, 40, 40), "Ignore*")
    )
    assert (out.foreground[:, 12:] == UNKNOWN).all()
    assert (out.objects[10:14, 10:12] == UNKNOWN).all()
    assert (out.foreground[10:14, 10:12] == 1).all()
    assert out.withheld[:, 12:].all() and not out.withheld[:, :12].any()


def test_other_classes_are_not_ours() -> None:
    nucleus, area = annotation(shapely.box(10, 10, 14, 14)), annotation(shapely.box(4, 4, 29, 31), "Stroma")
    alone, beside = rasters(REGION, nucleus), rasters(REGION, nucleus, area)
    np.testing.assert_array_equal(alone.objects, beside.objects)
    assert (beside.objects == 0).sum() == 25 * 25 - 16


def test_validation_regions_are_unknown_to_training_and_the_other_way_round() -> None:
    held = annotation(shapely.box(20, 20, 30, 30), "Validation")
    region = annotation(shapely.box(2, 2, 15, 15), "Training")
    nucleus = annotation(shapely.box(22, 22, 26, 26))
    training = rasters(region, held, nucleus)
    validation = rasters(region, held, nucleus, split=Split.VALIDATION)
    assert (training.objects[20:30, 20:30] <= 0).sum() + (training.objects[22:26, 22:26] > 0).sum() == 100
    assert not (training.foreground[20:30, 20:30] != UNKNOWN).any()
    assert (validation.objects[22:26, 22:26] > 0).all()
    assert (validation.foreground[2:15, 2:15] == UNKNOWN).all()
    assert (training.withheld[20:30, 20:30]).all() and training.withheld.sum() == 100
    assert (validation.withheld[2:15, 2:15]).all() and validation.withheld.sum() == 169


def test_points_lines_and_other_planes_are_skipped_with_a_reason() -> None:
    found = interpret(
        [
            REGION,
            annotation(shapely.Point(10, 10), "Nucleus"),
            annotation(shapely.LineString([(1, 1), (9, 9)]), "Nucleus"),
            annotation(shapely.box(10, 10, 14, 14), "Nucleus", plane=Plane(z=2)),
        ],
        ClassNames(),
    )
    assert {(one.kind, one.count) for one in found.findings} == {
        (Kind.OTHER_PLANE, 1),
        (Kind.NO_AREA, 2),
        (Kind.EMPTY_REGION, 1),
    }


def test_a_hole_in_a_region_is_outside_it() -> None:
    ring = shapely.Polygon(shapely.box(5, 5, 30, 30).exterior, [shapely.box(10, 10, 20, 20).exterior])
    out = rasters(annotation(ring, "Training"))
    assert (out.foreground[10:20, 10:20] == UNKNOWN).all()


def test_a_self_crossing_outline_is_repaired() -> None:
    bow = shapely.Polygon([(10, 10), (20, 20), (20, 10), (10, 20)])
    out = rasters(REGION, annotation(bow))
    assert 30 < (out.objects > 0).sum() < 70


@given(st.integers(-30, 30), st.integers(-30, 30))
def test_a_window_shows_what_the_whole_image_shows(x: int, y: int) -> None:
    found = interpret(
        [REGION, annotation(shapely.Point(18, 17).buffer(6.3)), annotation(shapely.box(25, 9, 33, 13))],
        ClassNames(),
    )
    whole = render(found, Split.TRAINING, (100, 100), 1.0, (-30, -30))
    window = render(found, Split.TRAINING, (40, 40), 1.0, (x, y))
    part = np.s_[y + 30 : y + 70, x + 30 : x + 70]
    np.testing.assert_array_equal(window.objects, whole.objects[part])
    np.testing.assert_array_equal(window.foreground, whole.foreground[part])
