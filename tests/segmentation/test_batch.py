"""A project's images one after the other: failures reported, interruptions resumed."""

from __future__ import annotations

from dataclasses import replace

import cv2
import numpy as np
import pytest
import shapely
from numpy.typing import NDArray

from cellgennet_qupath.qupath.project import Annotation, Within

from ..helpers import Recorder
from .fakes import ColourReader, draw, model
from .projects import DISCS, MemoryProject, picture, segment


def test_every_image_gets_its_nuclei(project: MemoryProject) -> None:
    for name in ("one", "two"):
        project.add(name, picture())
    results = segment(project)
    assert [(r.name, r.status, r.count) for r in results] == [
        ("one", "done", len(DISCS)),
        ("two", "done", len(DISCS)),
    ]
    assert set(project.found["1"].classes) == {"Nucleus"}
    assert project.found["1"].measurements["Area µm^2"].median() == pytest.approx(np.pi * 6.25, rel=0.1)
    assert f"{len(DISCS)} nuclei" in results[0].sentence()
    assert results[0].as_dict()["detections"] == len(DISCS)
    assert list((project.work_folder / "runs").glob("*")) == []


def test_one_bad_image_does_not_stop_the_others(project: MemoryProject) -> None:
    project.add("lost", None)
    project.add("torn", picture())
    file = project.path / "torn.png"
    file.write_bytes(file.read_bytes()[:500])
    project.change(project.add("other size", picture()), size=(880, 600))
    project.change(project.add("cut", picture()), altered="cropped")
    project.add("good", picture())
    listener = Recorder()
    results = segment(project, reporter=listener)
    assert [r.status for r in results] == ["failed"] * 4 + ["done"]
    assert project.writes == ["5"]
    assert "was not found" in results[0].reason
    assert "torn.png" in results[1].reason
    assert "880 x 600" in results[2].reason
    assert "shows it cropped" in results[3].reason
    assert len(listener.warnings) == 4
    assert all("\n" not in r.sentence() for r in results)


def test_a_fault_of_ours_is_one_line_too(project: MemoryProject) -> None:
    project.add("one", picture())

    def fail(number: int) -> None:
        raise RuntimeError("odd\nvalue")

    (result,) = segment(project, model(ColourReader(before=fail)))
    assert result.status == "failed"
    assert result.reason == "RuntimeError: odd value."


@pytest.mark.parametrize(
    ("image", "reason"),
    [
        (np.full((300, 300, 3), 255, np.uint8), "no tissue"),
        (draw(300, 300, [(x, 100.0, 2.2) for x in range(20, 300, 12)]), "too small"),
    ],
)
def test_no_nuclei_have_a_reason(project: MemoryProject, image: NDArray[np.uint8], reason: str) -> None:
    project.add("bare", image)
    (result,) = segment(project, model(min_area_um2=20.0))
    assert (result.status, result.count) == ("done", 0)
    assert reason in result.reason
    assert result.reason in result.sentence()
    assert len(project.found["1"]) == 0


def test_a_foreground_below_the_threshold_is_reported(project: MemoryProject) -> None:
    project.add("faint", picture())
    (result,) = segment(project, model(ColourReader(strength=0.3)))
    assert result.count == 0
    assert "at most 0.30, 0.45 is needed" in result.reason


def test_a_pixel_size_of_no_microscope_is_suspected(project: MemoryProject) -> None:
    project.change(project.add("odd", picture()), mpp=(0.06, 0.06))
    (result,) = segment(project, model(ColourReader(strength=0.3)))
    assert (result.status, result.count) == ("done", 0)
    assert "pixel size is probably wrong (0.06 µm per pixel)" in result.reason


def test_an_impossible_pixel_size_gives_way_to_the_option_alone(project: MemoryProject) -> None:
    project.change(project.add("odd", picture()), mpp=(0.00025, 0.00025))
    (refused,) = segment(project)
    assert refused.status == "failed"
    assert "0.25 µm, entered in millimetres" in refused.reason
    assert "--mpp" in refused.reason
    listener = Recorder()
    (used,) = segment(project, reporter=listener, mpp=0.25)
    assert (used.status, used.count) == ("done", len(DISCS))
    assert listener.warnings == [line for line in listener.warnings if "odd: --mpp 0.25 replaces" in line]
    # Measured with the size that was used, not with the one in QuPath.
    assert project.found["1"].measurements["Area µm^2"].mean() == pytest.approx(np.pi * 6.25, rel=0.15)


def test_pixels_larger_than_a_nucleus_are_refused(project: MemoryProject) -> None:
    project.change(project.add("millimetres", picture()), mpp=(25.0, 25.0))
    (result,) = segment(project)
    assert result.status == "failed"
    assert "25 µm, larger than a nucleus" in result.reason


def test_the_pixel_size_decides_the_scale(project: MemoryProject) -> None:
    small = cv2.resize(picture(), None, fx=0.5, fy=0.5, interpolation=cv2.INTER_AREA)
    project.change(project.add("coarse", np.asarray(small, np.uint8)), mpp=(0.5, 0.5))
    project.change(project.add("unknown", picture()), mpp=None)
    listener = Recorder()
    coarse, unknown = segment(project, reporter=listener)
    assert len(listener.warnings) == 1
    assert coarse.count == len(DISCS)
    assert shapely.area(project.found["1"].polygons).mean() == pytest.approx(np.pi * 25, rel=0.15)
    assert project.found["1"].measurements["Area µm^2"].mean() == pytest.approx(np.pi * 6.25, rel=0.15)
    assert unknown.status == "failed"
    assert "--mpp" in unknown.reason
    (known,) = segment(project, images=["unknown"], mpp=0.25)
    assert known.count == len(DISCS)
    (plain,) = segment(project, replace(model(), mpp=None), images=["unknown"])
    assert plain.count == len(DISCS)
    assert "Area px^2" in project.found["2"].measurements.columns


def test_a_slide_far_coarser_than_the_model_is_warned_of(project: MemoryProject) -> None:
    project.change(project.add("coarse", picture()[::4, ::4]), mpp=(1.0, 1.0))
    listener = Recorder()
    segment(project, reporter=listener)
    assert "much coarser" in listener.warnings[0]


def test_nuclei_become_cells_inside_their_annotation(project: MemoryProject) -> None:
    one = project.add("one", picture())
    frame = shapely.box(15, 15, 140, 140)
    project.drawn[one.id] = [Annotation("a", frame, "Rectangle", "Tumor")]
    (result,) = segment(project, cells=2.0, within="Tumor", existing="keep")
    assert result.status == "done"
    assert project.options.existing == "keep"
    assert project.options.within == Within("Tumor")
    assert project.options.history["cells"] == "2 µm"
    found = project.found[one.id]
    assert found.cells is not None
    grown = shapely.area(found.cells) - shapely.area(found.polygons)
    # by 8 pixels all around discs of radius 10
    assert 0.9 * np.pi * (18**2 - 10**2) < grown.max() < 1.1 * np.pi * (18**2 - 10**2)
    outside = shapely.difference(found.cells, shapely.union(frame, found.polygons))
    assert shapely.area(outside).max() < 1e-6


def test_cells_need_a_pixel_size(project: MemoryProject) -> None:
    one = project.add("one", picture())
    project.change(one, mpp=None)
    (result,) = segment(project, cells=2.0)
    assert result.status == "failed"
    assert "--mpp" in result.reason
