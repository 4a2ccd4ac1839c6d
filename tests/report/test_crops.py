"""Which windows of a slide are shown, and that a million outlines are never in memory."""

from __future__ import annotations

import base64
import gc
import weakref
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import shapely
import tifffile
from numpy.typing import NDArray

from cellgennet_qupath.core.config import ClassNames
from cellgennet_qupath.nuclei import Nuclei
from cellgennet_qupath.qupath.project import Annotation, Core, DetectionChunk, ImageEntry
from cellgennet_qupath.report.crops import Window, choose_windows, draw_crops
from cellgennet_qupath.report.density import colour_bar, rounded, scale_bar
from cellgennet_qupath.report.locations import Locations, locate
from cellgennet_qupath.report.segmentation_page import slide_card, with_pictures
from cellgennet_qupath.segmentation.result import ImageResult
from cellgennet_qupath.slides.reader import open_slide

SIDE = 400
"""Of a window in pixels: 100 µm at 0.25 µm per pixel."""


def _located(cells: dict[tuple[int, int], tuple[int, float]]) -> Locations:
    """Nuclei in the middle of cells (column, row) of a slide: their number and their probability."""
    centres, probability = [], []
    for (column, row), (number, sure) in cells.items():
        centres += [((column + 0.5) * SIDE, (row + 0.5) * SIDE)] * number
        probability += [sure] * number
    known = np.array(probability, np.float32)
    return Locations(np.array(centres, np.float32), np.ones_like(known), known)


def _corners(windows: list[Window]) -> dict[str, tuple[int, int]]:
    return {window.kind: (window.box.x0 // SIDE, window.box.y0 // SIDE) for window in windows}


def test_typical_densest_and_least_sure_windows() -> None:
    cells = {(0, 0): (2, 0.1), (1, 0): (9, 0.9), (2, 0): (10, 0.8), (0, 1): (11, 0.7), (2, 1): (40, 0.85)}
    found = _located(cells)
    # The share of all 72 nuclei in cells with less, half of the equal ones included, by the documented rule.
    counts = np.array([number for number, _ in cells.values()])
    sure = np.array([p for _, p in cells.values()])
    away = np.zeros(len(cells))
    for values in (counts.astype(float), sure):
        for i, value in enumerate(values):
            below, equal = counts[values < value].sum(), counts[values == value].sum()
            away[i] += abs((below + equal / 2) / counts.sum() - 0.5)
    typical = list(cells)[int(np.argmin(away))]
    chosen = _corners(choose_windows(found, (3 * SIDE, 2 * SIDE), 0.25))
    assert chosen["typical"] == typical == (2, 1)
    assert chosen["densest"] == (0, 1), "the densest of the others"
    assert chosen["least sure"] == (2, 0), "two nuclei are too few to be shown, whatever their probability"


def test_the_least_sure_window_needs_a_probability() -> None:
    found = _located({(0, 0): (5, np.nan), (1, 0): (7, np.nan)})
    assert set(_corners(choose_windows(found, (2 * SIDE, SIDE), 0.25))) == {"typical", "densest"}
    assert choose_windows(_located({}), (2 * SIDE, SIDE), 0.25) == []


@pytest.mark.parametrize("size", [(1, 1), (399, 400), (1000, 90), (100_001, 40_003)])
@pytest.mark.parametrize("mpp", [None, 0.25, 30.0])
def test_windows_are_inside_the_slide(size: tuple[int, int], mpp: float | None) -> None:
    rng = np.random.default_rng(0)
    centres = (rng.random((300, 2)) * size).astype(np.float32)
    probability = rng.random(300).astype(np.float32)
    windows = choose_windows(Locations(centres, probability, probability), size, mpp)
    assert 1 <= len(windows) <= 3
    assert len({window.box for window in windows}) == len(windows)
    side = SIDE if mpp != 30.0 else 3
    for window in windows:
        assert 0 <= window.box.x0 < window.box.x1 <= size[0]
        assert 0 <= window.box.y0 < window.box.y1 <= size[1]
        assert window.box.columns <= side and window.box.rows <= side


def test_outlines_are_drawn_where_the_nuclei_are(tmp_path: Path) -> None:
    file = tmp_path / "s.tif"
    pixels = np.full((900, 1300, 3), 230, np.uint8)
    pixels[300:340, 700:780] = (60, 20, 120)
    tifffile.imwrite(file, pixels, photometric="rgb")
    nuclei = Nuclei.from_polygons(
        [shapely.box(700, 300, 780, 340), shapely.box(0, 0, 9, 9)], np.array([1.0, 1])
    )
    with open_slide(file) as reader:
        [window] = choose_windows(locate([nuclei.take(np.array([0]))]), (1300, 900), 0.25)
        [crop] = draw_crops(reader, [window], nuclei.chunks(), 0.25)
    assert crop.nuclei == 1
    step = window.box.columns / crop.width
    points = [tuple(map(float, one.split())) for one in crop.sure[1:-1].split("L")]
    full = (np.array(points) * step + (window.box.x0, window.box.y0)).round()
    assert shapely.Polygon(full).symmetric_difference(shapely.box(700, 300, 780, 340)).area < 3 * 240
    assert crop.at == pytest.approx(((window.box.x0 + 200) / 1300, (window.box.y0 + 200) / 900))


def test_scale_bars_and_densities() -> None:
    bar = scale_bar(1000, 0.25)
    assert bar is not None and bar.label == "50 µm"
    assert bar.share == pytest.approx(50 / 250)
    wide = scale_bar(100_000, 0.25)
    assert wide is not None and wide.label == "5 mm"
    assert wide.share == pytest.approx(5 / 25)
    assert scale_bar(1000, None) is None
    assert [rounded(value) for value in (0, 0.123, 4.26, 43.4, 4349.0, 12_567)] == [
        "0", "0.12", "4.3", "43", "4,300", "13,000",
    ]  # fmt: skip
    encoded = np.frombuffer(base64.b64decode(colour_bar().partition("base64,")[2]), np.uint8)
    colours = cv2.imdecode(encoded, cv2.IMREAD_COLOR)
    assert colours is not None and colours.shape == (8, 128, 3)
    assert colours[4, 0] == pytest.approx([225] * 3, abs=6), "no nuclei: the picture in grey"
    blue, _, red = colours[4, -2].astype(int)
    assert red > blue + 60, "the brightest place is yellow"


class _Streamed:
    """A project whose nuclei come in chunks that must be gone when the next one is asked for."""

    def __init__(self, folder: Path, chunks: int) -> None:
        self.work_folder, self._chunks, self.passes = folder, chunks, 0

    def detection_chunks(self, entry: ImageEntry) -> Iterator[DetectionChunk]:
        self.passes += 1
        rng = np.random.default_rng(1)
        before: list[weakref.ref[NDArray[np.object_]]] = []
        for _ in range(self._chunks):
            gc.collect()
            alive = sum(one() is not None for one in before)
            assert alive <= 1, "only the chunk that was yielded last may still be in memory"
            corners = rng.uniform(0, 3900, (500, 2))
            discs = shapely.box(corners[:, 0], corners[:, 1], corners[:, 0] + 9, corners[:, 1] + 9)
            chunk = Nuclei.from_polygons(discs, rng.random(500))
            before.append(weakref.ref(chunk.polygons))
            del discs
            nothing = np.full(500, "", dtype=object)
            yield DetectionChunk(chunk, nothing, nothing, nothing)
            del chunk

    def annotations(self, entry: ImageEntry) -> list[Annotation]:
        return []

    def cores(self, entry: ImageEntry) -> list[Core]:
        return []


def test_outlines_of_a_slide_are_never_all_in_memory(tmp_path: Path, request: pytest.FixtureRequest) -> None:
    file = tmp_path / "s.tif"
    tifffile.imwrite(file, np.full((4000, 4000, 3), 230, np.uint8), photometric="rgb", tile=(256, 256))
    project: Any = _Streamed(tmp_path, 20)
    request.addfinalizer(gc.unfreeze)
    gc.freeze()  # what tests before this one left is not searched again for each chunk
    entry = ImageEntry("1", "s", file.as_uri(), file, (4000, 4000), (0.25, 0.25))
    result = ImageResult("1", "s", "done", 10_000)
    card = with_pictures(project, entry, slide_card(project, entry, result, None, ClassNames()))
    assert card.problem == ""
    assert project.passes == 2, "once for the numbers, once for the outlines in the windows"
    assert [crop.kind for crop in card.pictures.crops] == ["typical", "densest", "least sure"]
    assert all(50 < crop.nuclei < 200 for crop in card.pictures.crops)
