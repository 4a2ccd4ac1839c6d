"""Where nuclei are kept: inside a class, chosen annotations and cores, outside ignored areas."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import shapely

from cellgennet_qupath.core.errors import UsageError
from cellgennet_qupath.qupath.project import Annotation, Core, Plane, Within
from cellgennet_qupath.segmentation.covered import covered_area
from cellgennet_qupath.segmentation.record import read_record
from cellgennet_qupath.segmentation.result import tally

from .fakes import draw
from .projects import DISCS, MemoryProject, picture, segment


def test_within_a_class(project: MemoryProject) -> None:
    inside = project.add("inside", picture())
    project.add("without", picture())
    project.drawn[inside.id] = [
        Annotation("a", shapely.box(0, 0, 130, 300), "Rectangle", "Tumor"),
        Annotation("b", shapely.box(300, 0, 440, 300), "Rectangle", "Stroma"),
        Annotation("c", shapely.Point(200, 40), "Points", "Tumor"),
    ]
    first, second = segment(project, within="Tumor")
    assert first.count == sum(x < 130 for x, _, _ in DISCS)
    assert (second.status, project.writes) == ("skipped", [inside.id])
    assert "Tumor" in second.sentence()


def test_parts_that_overlap_are_all_within(project: MemoryProject) -> None:
    entry = project.add("one", picture())
    parts = shapely.MultiPolygon([shapely.box(0, 0, 300, 300), shapely.box(100, 0, 440, 300)])
    project.drawn[entry.id] = [Annotation("a", parts, "Geometry", "Tumor")]
    (result,) = segment(project, within="Tumor")
    assert result.count == len(DISCS)


def test_why_annotations_hold_no_nuclei(project: MemoryProject) -> None:
    entry = project.add("one", picture())
    for x, why in ((63.0, "too faint or centred outside the annotations"), (5000.0, "beside the image")):
        box = shapely.box(x, 40, x + 4, 44)
        project.drawn[entry.id] = [Annotation("a", box, "Rectangle", "Tumor")]
        (result,) = segment(project, within="Tumor")
        assert (result.status, result.count) == ("done", 0)
        assert why in result.reason
    project.drawn[entry.id] = [Annotation("a", shapely.box(-9000, -9000, 9000, 9000), "Rectangle", "Ignore*")]
    (result,) = segment(project)
    assert result.reason.startswith("no tissue is left to segment (ignored")


def test_why_limits_leave_no_nuclei(project: MemoryProject) -> None:
    project.add("one", picture())
    (result,) = segment(project, threshold=1.0, min_area=500)
    assert (result.status, result.count) == ("done", 0)
    assert "too faint, below the least area (500 µm²) or below the threshold (1)" in result.reason


def test_only_the_first_plane_is_segmented_within_annotations(project: MemoryProject) -> None:
    one, two = project.add("stack", picture()), project.add("plain", picture())
    above = Annotation("a", shapely.box(0, 0, 130, 300), "Rectangle", "Tumor", plane=Plane(z=2))
    project.drawn[one.id] = [above]
    with pytest.raises(UsageError, match=r"of this class on its first z-slice.* classes are: none"):
        segment(project, within="Tumor")
    project.drawn[two.id] = [Annotation("b", shapely.box(0, 0, 130, 300), "Rectangle", "Tumor")]
    first, second = segment(project, within="Tumor")
    assert (first.status, second.status) == ("skipped", "done")
    (first, _) = segment(project, within_ids=["a", "b"])
    assert first.status == "skipped"


def core(name: str, x: float, missing: bool = False) -> Core:
    return Core(f"id {name}", shapely.Point(x, 130).buffer(70), "Ellipse", name=name, missing=missing)


def in_circle(x: float) -> int:
    return sum((cx - x) ** 2 + (cy - 130) ** 2 < 70**2 for cx, cy, _ in DISCS)


@pytest.mark.parametrize(
    ("names", "circles"), [(["A-1"], [100]), (["A-1", "A-3"], [100, 340]), (["all"], [100, 340])]
)
def test_within_cores_of_a_tissue_microarray(
    project: MemoryProject, names: list[str], circles: list[int]
) -> None:
    one, two = project.add("tma", picture()), project.add("plain", picture())
    project.grid[one.id] = [core("A-1", 100), core("A-2", 220, missing=True), core("A-3", 340)]
    first, second = segment(project, cores=names)
    assert first.count == sum(in_circle(x) for x in circles) > 0
    assert project.options.within == Within(cores=tuple(names))
    assert (second.status, second.id) == ("skipped", two.id)
    assert "core" in second.reason


def test_cores_that_do_not_exist_or_are_missing(project: MemoryProject) -> None:
    one = project.add("tma", picture())
    with pytest.raises(UsageError, match=r"--core all: no image has the grid .*TMA dearrayer"):
        segment(project, cores=["all"])
    project.grid[one.id] = [core("A-1", 100), core("A-2", 220, missing=True)]
    with pytest.raises(UsageError, match=r"--core B-1: no core has this name.*A-1, A-2"):
        segment(project, cores=["B-1"])
    (result,) = segment(project, cores=["A-2"])
    assert result.status == "skipped"
    assert result.reason == "no core that is not missing and has the name A-2"


def test_within_annotations_chosen_by_their_ids(project: MemoryProject) -> None:
    entry = project.add("one", picture())
    boxes = [shapely.box(0, 0, 100, 300), shapely.box(200, 0, 300, 300), shapely.box(300, 0, 440, 300)]
    project.drawn[entry.id] = [
        Annotation(f"a{row}", box, "Rectangle", "Tumor" if row else "") for row, box in enumerate(boxes)
    ]
    (result,) = segment(project, within_ids=["a0", "a2"])
    assert result.count == sum(x <= 100 or x > 300 for x, _, _ in DISCS)
    (result,) = segment(project, within_ids=["a1"])  # not taken for the same run
    assert result.count == sum(200 < x < 300 for x, _, _ in DISCS)
    (result,) = segment(project, within_ids=["a9"])
    assert (result.status, result.reason) == ("skipped", "no closed annotation of the id a9")


@pytest.mark.parametrize("within", ["tumor", "Tumor ", "Stroma", ""])
def test_within_a_class_that_no_image_has_is_wrong_usage(project: MemoryProject, within: str) -> None:
    entry = project.add("one", picture())
    project.add("two", picture())
    project.drawn[entry.id] = [
        Annotation("a", shapely.box(0, 0, 130, 300), "Rectangle", "Tumor"),
        Annotation("b", shapely.Point(20, 40), "Points", "Stroma"),
    ]
    with pytest.raises(UsageError, match=r"The classes are: Tumor\.") as raised:
        segment(project, within=within)
    assert raised.value.exit_code == 2
    assert project.writes == []


def test_a_skipped_image_is_not_done(project: MemoryProject) -> None:
    entry = project.add("one", picture())
    project.add("two", picture())
    project.add("lost", None)
    project.drawn["1"] = project.drawn["3"] = [
        Annotation("a", shapely.box(0, 0, 110, 300), "Rectangle", "Tumor")
    ]
    results = segment(project, within="Tumor")
    assert tally(results) == "1 of 3 images done, 1 skipped, 1 failed."
    assert entry.id == results[0].id
    # 110 x 300 pixels of 0.25 µm
    assert results[0].mm2 == pytest.approx(110 * 300 * 0.0625 / 1e6)
    assert results[0].density == pytest.approx(results[0].count / (110 * 300 * 0.0625 / 1e6))
    assert results[1].as_dict()["per_mm2"] is None


FIGURE_OF_EIGHT = shapely.Polygon([(0, 0), (440, 300), (440, 0), (0, 300)])


def test_a_figure_of_eight_does_not_vanish(project: MemoryProject) -> None:
    entry = project.add("one", picture())
    project.drawn[entry.id] = [Annotation("a", FIGURE_OF_EIGHT, "Polygon", "Tumor")]
    assert shapely.area(FIGURE_OF_EIGHT) == 0
    (result,) = segment(project, within="Tumor")
    inside = shapely.make_valid(FIGURE_OF_EIGHT)
    expected = sum(bool(shapely.intersects_xy(inside, x, y)) for x, y, _ in DISCS)
    assert 0 < expected < len(DISCS)
    assert abs(result.count - expected) <= 2
    project.drawn[entry.id] = [Annotation("a", FIGURE_OF_EIGHT, "Polygon", "Ignore")]
    (rest,) = segment(project)
    assert rest.count == len(DISCS) - result.count


@pytest.mark.parametrize(
    ("path_class", "ignored"), [("Ignore*", True), ("Ignore pen", True), ("ignore", False), ("Tumor", False)]
)
def test_no_nucleus_in_an_ignored_area(project: MemoryProject, path_class: str, ignored: bool) -> None:
    entry = project.add("one", picture())
    area = shapely.box(30, 0, 130, 300)
    project.drawn[entry.id] = [Annotation("a", area, "Rectangle", path_class)]
    (result,) = segment(project)
    inside = shapely.intersects(area, shapely.centroid(project.found["1"].polygons))
    assert inside.any() != ignored
    gone = sum(30 <= x <= 130 for x, _, _ in DISCS) if ignored else 0
    assert result.count == len(DISCS) - gone
    looked = (440 * 300 - (100 * 300 if ignored else 0)) * 0.0625 / 1e6
    assert result.mm2 == pytest.approx(looked)


def test_a_wholly_ignored_image_says_why_it_has_no_nuclei(project: MemoryProject) -> None:
    entry = project.add("one", picture())
    project.drawn[entry.id] = [Annotation("a", shapely.box(-50, -50, 500, 400), "Rectangle", "Ignore*")]
    (result,) = segment(project)
    assert (result.count, result.density) == (0, None)
    assert "ignored" in result.reason


def test_nuclei_belong_to_an_area_by_their_centroid_however_tiles_are_cut(project: MemoryProject) -> None:
    image = draw(440, 300, DISCS)
    entry = project.add("one", image)
    stripes = [shapely.box(x, 0, x + 6, 300) for x in range(0, 440, 12)]
    project.drawn[entry.id] = [Annotation(str(k), s, "Rectangle", "Tumor") for k, s in enumerate(stripes)]
    union = shapely.union_all(stripes)
    counts = set()
    for tile in (64, 128, 512):
        (result,) = segment(project, within="Tumor", tile=tile, resume=False)
        counts.add(result.count)
        assert shapely.intersects(union, shapely.centroid(project.found["1"].polygons)).all()
    assert len(counts) == 1


def covered_mm2(project: MemoryProject, row: int = 0) -> float:
    entry = project.entries[row]
    area = covered_area(read_record(project, entry), (440, 300), [])
    return float(shapely.area(area)) * 0.0625 / 1e6


def test_records_keep_the_area_in_which_nuclei_were_looked_for(project: MemoryProject) -> None:
    """Of all runs whose nuclei are kept; the area does not follow annotations that are changed later."""
    entry = project.add("one", picture())
    boxes = {
        "a": shapely.box(0, 0, 130, 300),
        "b": shapely.box(100, 0, 200, 300),
        "i": shapely.box(0, 0, 440, 30),
    }
    project.drawn[entry.id] = [
        Annotation(name, box, "Rectangle", "Ignore*" if name == "i" else "Tumor")
        for name, box in boxes.items()
    ]
    pixel = 0.0625 / 1e6
    (result,) = segment(project, within_ids=["a"])
    assert covered_mm2(project) == pytest.approx(130 * 270 * pixel) == result.mm2
    (result,) = segment(project, within_ids=["b"], existing="keep")
    assert covered_mm2(project) == pytest.approx(200 * 270 * pixel) == result.mm2
    assert result.density == pytest.approx(result.count / (200 * 270 * pixel))
    segment(project, within_ids=["b"])
    assert covered_mm2(project) == pytest.approx(100 * 270 * pixel)
    project.drawn[entry.id] = []
    assert covered_mm2(project) == pytest.approx(100 * 270 * pixel)
    (whole,) = segment(project)
    assert covered_mm2(project) == pytest.approx(440 * 300 * pixel)
    segment(project, within_ids=["b"], existing="keep")  # skipped: there is no such annotation
    assert covered_mm2(project) == pytest.approx(440 * 300 * pixel)
    # A part of what was done adds nothing to it.
    project.drawn[entry.id] = [Annotation("a", boxes["a"], "Rectangle", "Tumor")]
    (result,) = segment(project, within="Tumor", existing="keep")
    assert result.mm2 == pytest.approx(440 * 300 * pixel) == whole.mm2


@pytest.mark.parametrize("second", [{"within": "Stroma"}, {"within_ids": ["b"]}])
def test_areas_that_add_up_to_the_whole_image_are_the_whole_image(
    project: MemoryProject, second: dict[str, Any]
) -> None:
    entry = project.add("one", picture())
    annotations = [
        Annotation("a", shapely.box(0, 0, 220, 300), "Rectangle", "Tumor"),
        Annotation("b", shapely.box(200, 0, 440, 300), "Rectangle", "Stroma"),
    ]
    project.drawn[entry.id] = annotations
    segment(project, within="Tumor")
    segment(project, existing="keep", **second)
    area = covered_area(read_record(project, entry), (440, 300), annotations)
    assert shapely.area(area) == 440 * 300


def test_nuclei_that_are_gone_cover_nothing(project: MemoryProject) -> None:
    entry = project.add("one", picture())
    left, right = shapely.box(0, 0, 130, 300), shapely.box(200, 0, 440, 300)
    project.drawn[entry.id] = [
        Annotation("a", left, "Rectangle", "Tumor"),
        Annotation("b", right, "Rectangle", "Stroma"),
    ]
    segment(project, within="Tumor")
    project.found[entry.id] = project.found[entry.id].take(np.zeros(0, np.intp))
    (project.work_folder / "1.written").write_text("cleared in QuPath", encoding="utf-8")
    segment(project, within="Stroma", existing="keep")
    assert covered_mm2(project) == pytest.approx(240 * 300 * 0.0625 / 1e6)
