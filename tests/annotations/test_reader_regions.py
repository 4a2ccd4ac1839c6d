"""Regions and classes: what is known in them, and what is not."""

from __future__ import annotations

import unicodedata
from typing import Literal, cast

import numpy as np
import pandas as pd
import pytest
import shapely

from cellgennet_qupath.annotations.findings import Kind
from cellgennet_qupath.annotations.labels import UNKNOWN, Split
from cellgennet_qupath.annotations.reader import ignored_area, read_supervision
from cellgennet_qupath.core.config import ClassNames
from cellgennet_qupath.nuclei import Nuclei
from cellgennet_qupath.qupath.project import Annotation, ImageEntry, ObjectCounts, Project
from tests.helpers import annotation

from .reading import GOOD, MPP, REGION, ROW, SIZE, box, disc, kinds, raster, read


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


def test_ignored_areas() -> None:
    area = ignored_area([box(0, 0, 10, 10, "Ignore"), box(5, 0, 10, 10, "Ignore folds"), *GOOD], ClassNames())
    assert area is not None
    assert shapely.area(area) == 150
    assert ignored_area([box(0, 0, 10, 10, "ignore"), box(0, 0, 9, 9, "validation")], ClassNames()) is None
    assert ignored_area(GOOD, ClassNames()) is None


@pytest.mark.parametrize("form", ["NFC", "NFD"])
@pytest.mark.parametrize("name", ["R\u00e9gion", "\ud575"])
def test_the_form_of_accents_does_not_matter(form: Literal["NFC", "NFD"], name: str) -> None:
    other = unicodedata.normalize("NFD" if form == "NFC" else "NFC", name)
    drawn = annotation(shapely.box(0, 0, 200, 200), unicodedata.normalize(form, name))
    found = read(drawn, disc(100, 100), classes=ClassNames(training=other))
    assert (found.count(Split.TRAINING), found.findings) == (1, ())
