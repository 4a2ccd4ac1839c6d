"""What the reader sets aside, joins and divides, and what it reports. Drawn at 0.25 µm per pixel."""

from __future__ import annotations

import time
import unicodedata
from collections import Counter
from collections.abc import Callable
from typing import Literal, cast

import numpy as np
import pandas as pd
import pytest
import shapely
from hypothesis import given, settings
from hypothesis import strategies as st

from cellgennet_qupath.annotations.findings import Kind
from cellgennet_qupath.annotations.labels import UNKNOWN, LabelRasters, Split, Supervision, render
from cellgennet_qupath.annotations.reader import ignored_area, interpret, read_supervision
from cellgennet_qupath.core.config import ClassNames
from cellgennet_qupath.nuclei import Nuclei
from cellgennet_qupath.qupath.project import Annotation, ImageEntry, ObjectCounts, Project
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


@pytest.mark.parametrize(
    "around",
    [
        box(0, 0, 399, 299, ""),
        box(20, 20, 160, 160, ""),
        box(22, 22, 157, 157, "Nucleus"),
        annotation(shapely.box(0, 0, 399, 299).difference(shapely.box(15, 15, 190, 190))),
    ],
    ids=["tissue", "the same rectangle", "a rectangle of nuclei", "tissue with a hole for the region"],
)
def test_an_outline_around_a_region_is_left_out(around: Annotation) -> None:
    alone, beside = read(*GOOD), read(*GOOD, around)
    np.testing.assert_array_equal(raster(alone).objects, raster(beside).objects)
    assert kinds(beside)[Kind.HOLDS_REGION] == 1


def test_tissue_of_a_thresholder_is_left_out_with_its_islands_and_holes() -> None:
    tissue = shapely.difference(shapely.box(0, 0, 250, 299), shapely.Point(220, 250).buffer(12))
    islands = [shapely.Point(280 + 30 * i, 100).buffer(9) for i in range(4)]
    alone = read(*GOOD)
    beside = read(*GOOD, annotation(shapely.union_all([tissue, *islands])))
    np.testing.assert_array_equal(raster(alone).objects, raster(beside).objects)
    assert kinds(beside) == {Kind.HOLDS_REGION: 1, Kind.OUTSIDE_REGIONS: 4}


def test_an_outline_around_nuclei_is_left_out() -> None:
    gland = box(35, 45, 70, 35, "")
    alone, beside = read(*GOOD), read(*GOOD, gland)
    np.testing.assert_array_equal(raster(alone).foreground, raster(beside).foreground)
    assert kinds(beside) == {Kind.HOLDS_NUCLEI: 1}


def test_an_outline_too_large_for_a_nucleus_is_unknown() -> None:
    found = read(*GOOD, box(40, 80, 130, 130, ""))
    assert kinds(found) == {Kind.TOO_LARGE: 1}
    assert (raster(found).foreground[100:170, 50:160] == UNKNOWN).all()
    assert found.count(Split.TRAINING) == 3


def test_a_slip_of_the_hand_is_not_a_nucleus() -> None:
    found = read(*GOOD, box(100, 150, 3, 3, ""))
    assert kinds(found) == {Kind.TOO_SMALL: 1}
    assert found.count(Split.TRAINING) == 3
    assert (raster(found).foreground[150:153, 100:103] == UNKNOWN).all()


@pytest.mark.parametrize("larger", [0.0, 1.5, -1.5])
def test_a_nucleus_drawn_twice_counts_once(larger: float) -> None:
    again = [annotation(shapely.buffer(one.geometry, larger), "Nucleus") for one in ROW]
    found = read(*GOOD, *again)
    assert found.count(Split.TRAINING) == 3
    assert kinds(found) == {Kind.DRAWN_TWICE: 3}


def test_a_nucleus_drawn_three_times_does_not_hold_two_nuclei() -> None:
    found = read(REGION, disc(60, 60, 10), disc(60, 60, 11), disc(60, 60, 12))
    assert kinds(found) == {Kind.DRAWN_TWICE: 2}
    assert found.count(Split.TRAINING) == 1
    assert abs(shapely.area(found.nuclei[0]) - shapely.Point(0, 0).buffer(12).area) < 1


def test_of_a_nucleus_and_its_nucleoli_the_nucleus_stays() -> None:
    nucleoli = [disc(55, 60, 4), disc(66, 60, 5)]
    found = read(REGION, disc(60, 60, 16), *nucleoli)
    assert kinds(found) == {Kind.INSIDE_NUCLEUS: 2}
    assert len(np.unique(raster(found).objects)) == 3


@pytest.mark.parametrize("apart", [20.0, 16.0])
@pytest.mark.parametrize("kind", [shapely.MultiPolygon, shapely.GeometryCollection])
@pytest.mark.parametrize("path_class", ["", "Nucleus"])
def test_merged_nuclei_that_touch_or_overlap_are_separated(apart: float, kind: type, path_class: str) -> None:
    squares = [shapely.box(x, 50, x + 20, 70) for x in (40, 40 + apart, 100)]
    found = read(REGION, annotation(kind(squares), path_class))
    assert found.count(Split.TRAINING) == 3
    assert kinds(found) == {Kind.SPLIT: 3}
    apart_drawn = read(REGION, *(annotation(one, path_class) for one in squares))
    np.testing.assert_array_equal(raster(found).objects, raster(apart_drawn).objects)


def spiked(shape: shapely.Geometry) -> shapely.Polygon:
    """The shape with a line that leaves its outline and comes back, as a slip of the hand draws it."""
    start = shapely.get_coordinates(shape)[0]
    return shapely.Polygon([*shapely.get_coordinates(shape), start - 1, start])


@pytest.mark.parametrize(
    "wrapped",
    [
        lambda shape: shapely.GeometryCollection([shape, shapely.LineString([(0, 0), (9, 9)])]),
        lambda shape: shapely.GeometryCollection([shapely.GeometryCollection([shape])]),
        lambda shape: shapely.GeometryCollection([spiked(shape)]),
    ],
)
def test_collections_are_what_they_hold(wrapped: Callable[[shapely.Geometry], shapely.Geometry]) -> None:
    drawn = [annotation(wrapped(one.geometry), one.path_class) for one in GOOD]
    found = read(*drawn, size=(500, 500))
    assert found.count(Split.TRAINING) == 3
    assert not {Kind.OFF_IMAGE, Kind.NO_AREA}.intersection(kinds(found))


def test_a_region_of_overlapping_parts_is_all_of_them() -> None:
    parts = shapely.MultiPolygon([shapely.box(20, 20, 100, 180), shapely.box(80, 20, 180, 180)])
    found = read(annotation(parts, "Training"), *ROW)
    np.testing.assert_array_equal(raster(found).objects, raster(read(*GOOD)).objects)


def test_overlapping_nuclei_stay_two() -> None:
    found = read(REGION, disc(60, 60), disc(73, 60))
    assert found.count(Split.TRAINING) == 2
    assert not found.findings


def test_parts_far_apart_are_nuclei_of_their_own() -> None:
    parts = shapely.union_all([*(one.geometry for one in ROW), shapely.box(100, 120, 102, 122)])
    found = read(REGION, annotation(parts, "Nucleus"))
    assert found.count(Split.TRAINING) == 3
    assert kinds(found) == {Kind.SPLIT: 3}
    assert (raster(found).foreground[120:122, 100:102] == UNKNOWN).all(), "a crumb is no nucleus"


def test_a_splinter_beside_its_nucleus_belongs_to_it() -> None:
    parts = shapely.union_all([ROW[0].geometry, shapely.box(61, 58, 63, 61)])
    found = read(REGION, annotation(parts))
    assert found.count(Split.TRAINING) == 1
    assert raster(found).objects[59, 62] == raster(found).objects[60, 50] > 0
    assert not found.findings


def test_rings_of_nuclei_are_filled_and_holes_of_regions_stay() -> None:
    ring = shapely.Point(60, 60).buffer(12).difference(shapely.Point(60, 60).buffer(8))
    region = annotation(shapely.difference(REGION.geometry, shapely.box(120, 120, 140, 140)), "Training")
    found = read(region, annotation(ring))
    assert kinds(found) == {Kind.FILLED: 1}
    assert raster(found).objects[60, 60] > 0
    assert (raster(found).foreground[120:140, 120:140] == UNKNOWN).all()


def test_a_region_without_an_outline_is_unknown() -> None:
    empty = box(220, 20, 100, 100)
    for name in ("Training", "Validation"):
        region = annotation(empty.geometry, name)
        found = read(*GOOD, region, counts=lambda: ObjectCounts(detections=7, cells=3))
        (finding,) = found.findings
        assert (finding.kind, finding.path_class) == (Kind.EMPTY_REGION, name)
        assert "4 detections and 3 cells" in finding.sentence
        for split in Split:
            assert (raster(found, split).foreground[:, 200:] == UNKNOWN).all()


def test_an_empty_part_of_a_merged_region_is_unknown() -> None:
    merged = annotation(shapely.union(REGION.geometry, shapely.box(250, 20, 350, 120)), "Training")
    found = read(merged, *ROW)
    assert kinds(found) == {Kind.EMPTY_REGION: 1}
    assert (raster(found).foreground[:, 240:] == UNKNOWN).all()
    assert len(found.regions[Split.TRAINING]) == 1


@pytest.mark.parametrize("beside", ["Training", "Validation", "Corrected"])
def test_a_nucleus_of_the_region_beside_it_does_not_make_an_empty_region_known(beside: str) -> None:
    empty = box(180, 20, 160, 160, beside)
    found = read(*GOOD, disc(176, 100), empty)
    split = Split.VALIDATION if beside == "Validation" else Split.TRAINING
    assert kinds(found)[Kind.EMPTY_REGION] == 1
    assert (raster(found, split).objects[25:175, 190:340] == UNKNOWN).all()
    own = read(*GOOD, disc(176, 100), empty, disc(250, 100))
    assert Kind.EMPTY_REGION not in kinds(own)
    assert raster(own, split).objects[170, 330] == 0


def test_outlines_in_a_validation_region_do_not_make_the_training_region_around_it_known() -> None:
    around = box(5, 5, 300, 200)
    found = read(around, box(20, 20, 160, 160, "Validation"), *ROW)
    assert kinds(found)[Kind.EMPTY_REGION] == 1 and not found.regions[Split.TRAINING]
    both = read(around, box(20, 20, 160, 160, "Validation"), *ROW, disc(250, 100))
    assert Kind.EMPTY_REGION not in kinds(both) and both.regions[Split.TRAINING]
    hidden = read(REGION, *ROW, box(10, 10, 200, 200, "Validation"))
    assert Kind.EMPTY_REGION not in kinds(hidden), "all of the training region is for validation"


def test_a_nucleus_in_overlapping_regions_makes_each_known_that_holds_it() -> None:
    twice = read(REGION, REGION, *ROW)
    assert len(twice.regions[Split.TRAINING]) == 2
    overlapping = read(*GOOD, box(130, 20, 160, 160), disc(160, 150))
    assert len(overlapping.regions[Split.TRAINING]) == 2, "one nucleus is wholly inside both"
    alone = read(box(20, 20, 160, 160), disc(20, 100))
    assert len(alone.regions[Split.TRAINING]) == 1, "no other region holds more of it"


def test_background_over_a_region_says_that_it_has_no_nuclei() -> None:
    found = read(box(20, 20, 100, 100, "Validation"), box(20, 20, 100, 100, "Background"))
    assert not found.findings
    assert (raster(found, Split.VALIDATION).objects == 0).sum() == 100 * 100


@pytest.mark.parametrize("name", ["Tumor", "Immune cells", "nucleus", "Nucleus: Positive", "Nucleus "])
def test_nuclei_of_other_classes_are_unknown(name: str) -> None:
    found = read(*GOOD, disc(60, 120, 10, name), disc(300, 250, 10, name))
    (finding,) = found.findings
    near = "ucleus" in name
    assert finding.kind is (Kind.NEAR_MISS_CLASS if near else Kind.OTHER_CLASS)
    assert (finding.path_class, finding.count) == (name, 2 if near else 1)
    assert f'"{name}"' in finding.sentence
    assert (raster(found).foreground[114:126, 54:66] == UNKNOWN).all()


def test_a_nucleus_outlined_in_two_classes_is_known() -> None:
    found = read(*GOOD, disc(50, 60, 11, "Tumor"))
    assert not found.findings
    assert raster(found).objects[60, 50] > 0


def test_an_area_of_another_class_is_tissue() -> None:
    alone, beside = read(*GOOD), read(*GOOD, box(0, 0, 200, 200, "Tumor"), box(30, 45, 120, 30, "Gland"))
    np.testing.assert_array_equal(raster(alone).foreground, raster(beside).foreground)
    assert not beside.findings


def test_nuclei_of_several_classes() -> None:
    classes = ClassNames(nucleus=("Nucleus", "Tumor*"))
    found = read(REGION, disc(50, 60, 10, "Tumor: Positive"), disc(90, 60, 10, "Tumor"), classes=classes)
    assert found.count(Split.TRAINING) == 2
    assert not found.findings


@pytest.mark.parametrize("name", ["validation", "Validaton", "ignore", "Ignroe", "IGNORE folds"])
def test_what_was_to_be_held_out_or_ignored_is_not_learnt_from(name: str) -> None:
    found = read(*GOOD, box(20, 100, 160, 80, name))
    assert kinds(found) == {Kind.NEAR_MISS_CLASS: 1}
    assert (raster(found).foreground[100:180, 20:180] == UNKNOWN).all()
    assert raster(found).withheld[100:180, 20:180].all()


def test_annotations_off_the_image_are_not_used() -> None:
    moved = [
        annotation(shapely.transform(one.geometry, lambda xy: xy + np.array([1000, 0])), one.path_class)
        for one in GOOD
    ]
    found = read(*moved)
    assert kinds(found) == {Kind.OFF_IMAGE: 1}
    assert {(one.path_class, one.count) for one in found.findings} == {("Training", 1), ("", 3)}
    assert not found.usable(Split.TRAINING)


def test_annotations_are_cut_at_the_border_of_the_image() -> None:
    found = read(box(300, 20, 200, 200), disc(400, 60), disc(340, 60))
    assert kinds(found) == {Kind.CROSSES_IMAGE_BORDER: 2}
    assert shapely.total_bounds(np.array([*found.nuclei, *found.regions[Split.TRAINING]])).tolist()[2] == 400
    assert found.count(Split.TRAINING) == 2


def test_validation_wins_over_training() -> None:
    held = box(55, 20, 65, 160, "Validation")
    found = read(*GOOD, held)
    assert kinds(found) == {Kind.VALIDATION_IN_TRAINING: 1}
    training, validation = raster(found), raster(found, Split.VALIDATION)
    assert (training.foreground[20:180, 55:120] == UNKNOWN).all()
    assert not ((training.foreground != UNKNOWN) & (validation.foreground != UNKNOWN)).any()
    # The nucleus at 50 crosses the border, that at 90 is inside Validation, that at 130 inside Training.
    assert (found.count(Split.TRAINING), found.count(Split.VALIDATION)) == (1, 1)


def test_suggestions_are_not_read() -> None:
    assert not read(*GOOD, box(200, 20, 100, 100, "Suggested")).findings


def test_detections_count_in_corrected_regions_and_annotations_win() -> None:
    region = box(20, 20, 160, 160, "Corrected")
    detections = [
        shapely.Point(50, 60).buffer(12),  # drawn better by hand
        shapely.Point(90, 60).buffer(10),
        shapely.Point(125, 60).buffer(8),  # one nucleus, detected as two
        shapely.Point(139, 60).buffer(8),
        shapely.Point(300, 60).buffer(10),  # outside
    ]
    merged = annotation(shapely.box(116, 50, 150, 70))
    found = read(region, disc(50, 60, 9), merged, detections=np.array(detections))
    assert not found.findings
    areas = sorted(int(area) for area in shapely.area(found.nuclei))
    assert areas == [int(shapely.Point(0, 0).buffer(r).area) for r in (9, 10)] + [34 * 20]
    (finding,) = read(region, detections=np.array(detections[-1:])).findings
    assert (finding.kind, finding.path_class) == (Kind.EMPTY_REGION, "Corrected")


@pytest.mark.parametrize(
    ("path_class", "expected"),
    [("", 1), ("Tumor: Positive", 1), ("Ignore*", UNKNOWN), ("Ignored: debris", UNKNOWN), ("Background", 0)],
)
def test_a_detection_in_a_corrected_region_is_what_its_class_says(path_class: str, expected: int) -> None:
    """A checked false detection is often given a class instead of being deleted."""
    shapes = [shapely.Point(50, 60).buffer(10), shapely.Point(100, 60).buffer(10)]
    shapes.append(shapely.Point(250, 60).buffer(10))
    detections = Nuclei(
        polygons=np.array(shapes),
        probability=np.ones(3, np.float32),
        classes=np.array(["", path_class, path_class], dtype=object),
        ids=np.array(["1", "2", "3"], dtype=object),
        z=np.zeros(3, np.int32),
        t=np.zeros(3, np.int32),
        measurements=pd.DataFrame(index=range(3)),
    )

    class Saved:
        def annotations(self, entry: object) -> list[Annotation]:
            return [box(20, 20, 160, 160, "Corrected"), box(200, 20, 160, 160), disc(250, 60), disc(300, 60)]

        def checked_detections(self, entry: object) -> Nuclei:
            return detections

        def counts(self, entry: object) -> ObjectCounts:
            return ObjectCounts()

    project, entry = cast(Project, Saved()), cast(ImageEntry, None)
    found = read_supervision(project, entry, ClassNames(), SIZE, MPP)
    labels = raster(found)
    assert labels.foreground[60, 50] == 1 and labels.foreground[60, 100] == expected
    assert labels.foreground[60, 250] == 1, "an annotation outside Corrected regions"


def test_the_size_of_a_nucleus_without_a_pixel_size() -> None:
    found = read(*GOOD, disc(60, 120, 10, "Tumor"), box(30, 100, 140, 70, "Stroma"), mpp=None)
    assert kinds(found) == {Kind.OTHER_CLASS: 1}


def test_ignored_areas() -> None:
    area = ignored_area([box(0, 0, 10, 10, "Ignore"), box(5, 0, 10, 10, "Ignore folds"), *GOOD], ClassNames())
    assert area is not None
    assert shapely.area(area) == 150
    assert ignored_area([box(0, 0, 10, 10, "ignore"), box(0, 0, 9, 9, "validation")], ClassNames()) is None
    assert ignored_area(GOOD, ClassNames()) is None


def test_thousands_of_outlines_take_seconds() -> None:
    shapes = [disc(12 + 22 * (i % 70), 12 + 22 * (i // 70)) for i in range(4900)]
    again = [annotation(shapely.buffer(one.geometry, 1.0)) for one in shapes[::2]]
    tissue = annotation(shapely.Point(800, 800).buffer(1500, quad_segs=2000))
    begin = time.process_time()
    found = read(box(0, 0, 1600, 1600), tissue, *shapes, *again, size=(1600, 1600))
    assert found.count(Split.TRAINING) == 4900
    assert time.process_time() - begin < 20, "about one second; a busy machine needs more"


outlines = st.builds(
    disc,
    st.integers(0, 400),
    st.integers(0, 300),
    st.integers(2, 40),
    st.sampled_from(
        ["", "", "Nucleus", "Tumor", "nucleus", "Ignore*", "Training", "Validation", "Background"]
    ),
)
rectangles = st.builds(
    box,
    st.integers(-50, 380),
    st.integers(-50, 280),
    st.integers(1, 300),
    st.integers(1, 250),
    st.sampled_from(["", "Training", "Validation", "Corrected", "Background", "Ignore*", "Gland"]),
)
drawings = st.lists(st.one_of(outlines, outlines, rectangles), max_size=12)


@pytest.mark.parametrize("second", [(3, 5, 3), (5, 3, 3), (5, 5, 3)])
def test_of_overlapping_nuclei_of_one_size_the_place_decides(second: tuple[int, int, int]) -> None:
    one, other = disc(3, 3, 3, "Nucleus"), disc(*second, "Nucleus")
    first, swapped = (raster(read(*pair), Split.TRAINING) for pair in ((one, other), (other, one)))
    np.testing.assert_array_equal(first.objects, swapped.objects)


@settings(max_examples=60)
@given(drawings, st.randoms())
def test_the_order_of_annotations_does_not_matter(drawn: list[Annotation], rng: object) -> None:
    shuffled = list(drawn)
    rng.shuffle(shuffled)  # type: ignore[attr-defined]
    one, two = read(*drawn), read(*shuffled)
    assert Counter(one.findings) == Counter(two.findings)
    for split in Split:
        first, second = raster(one, split), raster(two, split)
        np.testing.assert_array_equal(first.foreground, second.foreground)
        np.testing.assert_array_equal(first.withheld, second.withheld)
        # The same nuclei, though numbered in another order.
        pairs = np.unique(first.objects.ravel() * 1000 + second.objects.ravel())
        assert len(pairs) == len(np.unique(first.objects)) == len(np.unique(second.objects))


@settings(max_examples=60)
@given(drawings)
def test_reading_the_nuclei_again_changes_nothing(drawn: list[Annotation]) -> None:
    found = read(*drawn)
    shapes = [*found.nuclei, *found.cut]
    regions = [annotation(one, "Training") for one in (*found.drawn[Split.TRAINING],)]
    regions += [annotation(one, "Validation") for one in found.drawn[Split.VALIDATION]]
    ignored = [annotation(one, "Ignore*") for one in found.ignored]
    again = read(*regions, *ignored, *[annotation(shape, "Nucleus") for shape in shapes])
    assert len(again.nuclei) == len(found.nuclei)
    assert not {Kind.DRAWN_TWICE, Kind.INSIDE_NUCLEUS, Kind.SPLIT, Kind.FILLED} & set(kinds(again))


@settings(max_examples=60)
@given(drawings)
def test_no_pixel_is_known_in_both_splits_or_background_in_a_doubtful_outline(
    drawn: list[Annotation],
) -> None:
    found = read(*drawn)
    training, validation = raster(found), raster(found, Split.VALIDATION)
    assert not ((training.foreground != UNKNOWN) & (validation.foreground != UNKNOWN)).any()
    doubtful = render(read(REGION), Split.TRAINING, SIZE[::-1], 1.0, (0, 0)).withheld
    for shape in found.unknown:
        rows, columns = np.mgrid[: SIZE[1], : SIZE[0]]
        doubtful = doubtful | shapely.contains_xy(shape, columns + 0.5, rows + 0.5)
    assert not (doubtful & (training.foreground == 0)).any()
    assert not (doubtful & (validation.foreground == 0)).any()
    ignored = training.withheld
    assert (training.foreground[ignored] == UNKNOWN).all()


BACKGROUND = annotation(shapely.box(200, 0, 400, 300), "Background")


@pytest.mark.parametrize("path_class", ["", "Nucleus"])
def test_a_nucleus_across_the_border_of_a_region_is_no_background_beside_it(path_class: str) -> None:
    region = annotation(shapely.box(0, 0, 200, 300), "Training")
    found = raster(read(region, BACKGROUND, disc(100, 100), disc(200, 100, path_class=path_class)))
    assert found.foreground[100, [195, 205, 300]].tolist() == [1, UNKNOWN, 0]
    assert found.objects[100, [195, 205, 300]].tolist() == [UNKNOWN, UNKNOWN, 0]


def test_a_nucleus_under_an_ignored_area_is_no_background_beside_it() -> None:
    ignored = annotation(shapely.box(300, 0, 400, 300), "Ignore*")
    found = raster(read(BACKGROUND, ignored, disc(300, 100, path_class="Nucleus")))
    assert found.foreground[100, [295, 305, 250]].tolist() == [UNKNOWN, UNKNOWN, 0]


@pytest.mark.parametrize("path_class", ["", "Tumor", "nucleus", "Nucleus: Positive"])
def test_what_may_be_a_nucleus_is_no_background(path_class: str) -> None:
    read_there = read(BACKGROUND, disc(300, 100, path_class=path_class))
    assert raster(read_there).foreground[100, [300, 350]].tolist() == [UNKNOWN, 0]
    assert read_there.findings, "it is reported"


def test_background_within_a_large_outline_stays_known() -> None:
    for path_class in ("", "Tissue"):
        found = raster(read(BACKGROUND, annotation(shapely.box(1, 1, 399, 299), path_class)))
        assert found.foreground[100, 300] == 0


@pytest.mark.parametrize("form", ["NFC", "NFD"])
@pytest.mark.parametrize("name", ["R\u00e9gion", "\ud575"])
def test_the_form_of_accents_does_not_matter(form: Literal["NFC", "NFD"], name: str) -> None:
    other = unicodedata.normalize("NFD" if form == "NFC" else "NFC", name)
    drawn = annotation(shapely.box(0, 0, 200, 200), unicodedata.normalize(form, name))
    found = read(drawn, disc(100, 100), classes=ClassNames(training=other))
    assert (found.count(Split.TRAINING), found.findings) == (1, ())
