"""Leica SCN: areas on a canvas, and where coordinates begin."""

from __future__ import annotations

import json
import pickle
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from cellgennet_qupath.qupath.formats.qpproj import read_project
from cellgennet_qupath.slides.reader import open_slide
from cellgennet_qupath.slides.source import Frame
from cellgennet_qupath.slides.view import FLIPS, QUARTER_TURNS, View

from .formats.nuclei import write_project
from .formats.test_kinds import marked
from .formats.tiffs import SCN_CANVAS, SCN_CORNER, Pixels, halved, write_scn

GAP = 200
LOWER = 96
CANVAS, APART = View(frame="canvas"), View(frame="image")


@pytest.fixture
def scn(tmp_path: Path) -> Path:
    """Two areas with a gap between them, the second one lower."""
    image, _ = marked()
    x, y = SCN_CORNER
    return write_scn(
        tmp_path / "a.scn", [(image, (x, y)), (image[:, :512], (x + 1003 + GAP, y + LOWER))], (4, 16)
    )


def test_coordinates_begin_at_the_bounds_of_all_areas(scn: Path) -> None:
    image, _ = marked()
    with open_slide(scn) as reader:
        assert (reader.width, reader.height) == (1003 + GAP + 512, 762 + LOWER)
        assert reader.level_downsamples == (1.0, 4.0, 16.0)
        whole = reader.read_grid(0, 0, reader.width, reader.height, 1.0)
        copy = pickle.loads(pickle.dumps(reader))  # noqa: S301
    with copy:
        assert (copy.width, copy.height) == (1003 + GAP + 512, 762 + LOWER)
    assert np.abs(whole[:762, :1003].astype(int) - image).max() < 24
    assert np.abs(whole[LOWER:, 1003 + GAP :].astype(int) - image[:, :512]).max() < 24
    assert (whole[:, 1003 : 1003 + GAP] == 255).all() and (whole[:LOWER, 1003 + GAP :] == 255).all()


def test_without_cropping_coordinates_begin_at_the_canvas(scn: Path) -> None:
    x, y = SCN_CORNER
    with open_slide(scn, view=CANVAS) as canvas, open_slide(scn) as cropped:
        assert (canvas.width, canvas.height) == SCN_CANVAS
        for downsample in (1.0, 4.0, 8.0):
            columns, rows = (int(n / downsample) for n in (800, 600))
            left, top = int(x / downsample), int(y / downsample)
            assert np.array_equal(
                canvas.read_grid(left, top, columns, rows, downsample),
                cropped.read_grid(0, 0, columns, rows, downsample),
            )


def test_by_bio_formats_each_area_is_an_image(scn: Path) -> None:
    image, _ = marked()
    with open_slide(scn, 1, APART) as reader:
        assert (reader.width, reader.height) == (1003, 762)
        assert np.abs(reader.read_grid(0, 0, 1003, 762, 1.0).astype(int) - image).max() < 24
    with open_slide(scn, 2, APART) as reader:
        assert (reader.width, reader.height) == (512, 762)
        assert (
            np.abs(reader.read_grid(0, 0, 128, 190, 4.0).astype(int) - halved(image[:, :512], 4)).max() < 24
        )
    with open_slide(scn, 0, APART) as reader:
        assert (reader.width, reader.height) == (SCN_CANVAS[0] // 32, SCN_CANVAS[1] // 32)


@pytest.mark.parametrize("corner", [(1027, 643), (1021, 650), (1024, 641)])
def test_marks_are_in_place_where_areas_begin_off_the_grid_of_levels(
    corner: tuple[int, int], tmp_path: Path
) -> None:
    image, _ = marked()
    path = write_scn(tmp_path / "a.scn", [(image, corner)], (4,))
    with open_slide(path) as reader:
        read = reader.read_grid(0, 0, 250, 190, 4.0).astype(int)
    assert np.abs(read - halved(image, 4)).mean() < 1.5


@pytest.mark.parametrize(
    ("view", "turned"),
    [
        (QUARTER_TURNS["ROTATE_90"], lambda pixels: np.rot90(pixels, -1)),
        (QUARTER_TURNS["ROTATE_270"], np.rot90),
        (FLIPS["HORIZONTAL"], lambda pixels: pixels[:, ::-1]),
    ],
)
def test_bounds_turn_with_the_slide(scn: Path, view: View, turned: Callable[[Pixels], Pixels]) -> None:
    with open_slide(scn) as plain, open_slide(scn, view=view) as reader:
        whole = turned(plain.read_grid(0, 0, plain.width, plain.height, 1.0))
        assert (reader.height, reader.width) == whole.shape[:2]
        assert np.array_equal(reader.read_grid(0, 0, reader.width, reader.height, 1.0), whole)


def test_openslide_shows_the_same(scn: Path) -> None:
    openslide = pytest.importorskip("openslide")
    with openslide.OpenSlide(str(scn)) as other, open_slide(scn, view=CANVAS) as canvas:
        assert other.dimensions == (canvas.width, canvas.height)
        bounds = [int(other.properties[f"openslide.bounds-{n}"]) for n in ("x", "y", "width", "height")]
        with open_slide(scn) as cropped:
            assert bounds == [*SCN_CORNER, cropped.width, cropped.height]
        x, y, width, height = bounds
        seen = np.asarray(other.read_region((x, y), 0, (width, height)))
        read = canvas.read_grid(x, y, width, height, 1.0)
        opaque = seen[..., 3] == 255
        assert np.abs(read[opaque].astype(int) - seen[opaque][:, :3]).max() <= 3
        assert (read[seen[..., 3] == 0] == 255).all()


@pytest.mark.parametrize(
    ("provider", "args", "frame"),
    [
        ("openslide.OpenslideServerBuilder", [], "bounds"),
        ("openslide.OpenslideServerBuilder", ["--no-crop"], "canvas"),
        ("bioformats.BioFormatsServerBuilder", ["--series", "0"], "image"),
        ("bioformats.BioFormatsServerBuilder", [], "image"),
    ],
)
def test_what_a_project_records_decides(provider: str, args: list[str], frame: Frame, scn: Path) -> None:
    folder = write_project(scn.parent / "project", [scn], (10, 10))
    file = folder / "project.qpproj"
    content = json.loads(file.read_text(encoding="utf-8"))
    builder = content["images"][0]["serverBuilder"]
    builder |= {"providerClassName": f"qupath.lib.images.servers.{provider}", "args": args}
    file.write_text(json.dumps(content), encoding="utf-8")
    assert read_project(folder).images[0].entry.view.frame == frame
