"""Pictures of slides and regions of every size and shape, from a line to a needle biopsy."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import shapely
import tifffile
from hypothesis import example, given, settings
from hypothesis import strategies as st

from cellgennet_qupath.core.config import ClassNames
from cellgennet_qupath.metrics.matching import match_labels
from cellgennet_qupath.nuclei import Nuclei
from cellgennet_qupath.qupath.project import Annotation, Core, DetectionChunk, ImageEntry, WrittenDetections
from cellgennet_qupath.report.density import count_squares, density_map, thumbnail_grid
from cellgennet_qupath.report.locations import locate
from cellgennet_qupath.report.overlay import outlined
from cellgennet_qupath.report.segmentation_page import slide_card, with_pictures
from cellgennet_qupath.segmentation.result import ImageResult

side = st.one_of(st.integers(1, 40), st.integers(1, 6000), st.integers(1, 300_000))


@settings(max_examples=150)
@given(width=side, height=side, count=st.integers(0, 30), mpp=st.sampled_from([None, 0.25]))
@example(390, 5000, 9, 0.25)
@example(5000, 390, 9, 0.25)
@example(1, 5000, 3, 0.25)
@example(1, 1, 1, None)
def test_the_density_map_has_the_size_of_the_picture(
    width: int, height: int, count: int, mpp: float | None
) -> None:
    _, columns, rows = thumbnail_grid((width, height))
    assert max(columns, rows) <= 480
    picture = np.full((rows, columns, 3), 200, np.uint8)
    rng = np.random.default_rng(count)
    centres = (rng.random((count, 2)) * (width, height)).astype(np.float32)
    squares = count_squares(centres, (width, height))
    assert squares.sum() == count
    density, densest = density_map(picture, squares, (width, height), mpp)
    assert density.shape == picture.shape
    assert density.dtype == np.uint8
    assert (densest is not None) == bool(mpp and count)


@pytest.mark.parametrize(("width", "height"), [(390, 5000), (5000, 390), (1000, 1000), (77, 9000)])
def test_the_density_is_drawn_where_the_nuclei_are(width: int, height: int) -> None:
    _, columns, rows = thumbnail_grid((width, height))
    picture = np.full((rows, columns, 3), 255, np.uint8)
    at = np.array([0.5 * width, 0.8 * height])
    squares = count_squares(np.full((50, 2), at, np.float32), (width, height))
    density, _ = density_map(picture, squares, (width, height), 0.25)
    changed = np.argwhere((density != 255).any(axis=2)).mean(axis=0) / (rows, columns)
    # A short side is one to five squares wide: only the long ones are resolved.
    resolved = np.array([width, height]) >= 1000
    assert changed[::-1][resolved] == pytest.approx((at / (width, height))[resolved], abs=0.04)


def test_empty_outlines_have_no_place() -> None:
    found = locate([Nuclei.from_polygons([shapely.Polygon(), shapely.box(2, 2, 4, 6)], np.array([0.1, 0.9]))])
    assert found.centres.tolist() == [[3, 4]]
    assert found.median_area == 8
    assert found.mean_probability == pytest.approx(0.9)


@pytest.mark.parametrize(("width", "height"), [(1, 700), (700, 1), (13, 1300), (390, 5000), (3, 3)])
def test_the_card_of_a_narrow_slide(tmp_path: Path, width: int, height: int) -> None:
    file = tmp_path / "s.tif"
    tifffile.imwrite(file, np.full((height, width, 3), 230, np.uint8), photometric="rgb")

    class Slides:
        work_folder = tmp_path

        def detection_chunks(self, entry: ImageEntry) -> Iterator[DetectionChunk]:
            nothing = np.full(1, "", dtype=object)
            nuclei = Nuclei.from_polygons([shapely.box(0, 0, width, 1 + height / 2)], np.array([0.4]))
            yield DetectionChunk(nuclei, nothing, nothing, nothing)

        def annotations(self, entry: ImageEntry) -> list[Annotation]:
            return []

        def cores(self, entry: ImageEntry) -> list[Core]:
            return []

    entry = ImageEntry("1", "s", file.as_uri(), file, (width, height), (0.25, 0.25))
    result = ImageResult("1", "s", "done", 1, "", 1.0, WrittenDetections(1, tmp_path / "x", ""))
    project: Any = Slides()
    card = with_pictures(project, entry, slide_card(project, entry, result, None, ClassNames()))
    assert card.problem == ""
    assert card.pictures.thumbnail.startswith("data:image/jpeg")
    assert card.pictures.density.startswith("data:image/jpeg")
    [crop] = card.pictures.crops
    assert (crop.kind, crop.nuclei, crop.sure) == ("typical", 1, "")
    assert crop.unsure.startswith("M")


@settings(max_examples=40)
@given(rows=st.integers(1, 900), columns=st.integers(1, 900), seed=st.integers(0, 99))
def test_regions_of_every_shape_can_be_outlined(rows: int, columns: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    true = np.kron(rng.integers(0, 9, (rows // 30 + 1, columns // 30 + 1)), np.ones((30, 30), np.int32))
    true = np.asarray(true[:rows, :columns], np.int32)
    predicted = np.asarray(np.roll(true, 1, 1), np.int32)
    unknown = rng.random((rows, columns)) < 0.05
    picture = outlined(
        "n",
        np.full((rows, columns, 3), 200, np.uint8),
        true,
        unknown,
        {"m": (predicted, match_labels(true, predicted, unknown).outcome)},
    )
    assert (picture.height, picture.width) == (min(rows, 720), min(columns, 720))
