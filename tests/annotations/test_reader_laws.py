"""Whatever is drawn: laws of reading, and what may be a nucleus is no background."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest
import shapely
from hypothesis import given, settings
from hypothesis import strategies as st

from cellgennet_qupath.annotations.findings import Kind
from cellgennet_qupath.annotations.labels import UNKNOWN, Split, render
from cellgennet_qupath.qupath.project import Annotation
from tests.helpers import annotation

from .reading import REGION, SIZE, box, disc, kinds, raster, read

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
