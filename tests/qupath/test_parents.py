"""Parents of nuclei by QuPath's rules."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import shapely

from cellgennet_qupath.nuclei import Nuclei
from cellgennet_qupath.qupath.parents import cells_decide, parents_of, parents_within
from cellgennet_qupath.qupath.project import Annotation, Core, Plane, Within

OUTER = Annotation("outer", shapely.box(0, 0, 100, 100), "Rectangle", "Tumor")
INNER = Annotation("inner", shapely.box(0, 0, 50, 100), "Rectangle", "Tumor")
OTHER = Annotation("other", shapely.box(90, 0, 300, 100), "Rectangle", "Stroma")
EMPTY = Annotation("empty", shapely.Point(20, 20), "Points", "Tumor")


def at(*centres: tuple[float, float]) -> Nuclei:
    return Nuclei.from_polygons([shapely.box(x - 4, y - 4, x + 4, y + 4) for x, y in centres])


def test_the_smallest_of_several_by_the_centroid_border_included() -> None:
    found = parents_of(at((20, 20), (50, 20), (51, 20), (100, 50), (95, 5), (101, 50)), [OUTER, INNER, EMPTY])
    assert found.tolist() == ["inner", "inner", "outer", "outer", "outer", ""]
    assert parents_of(at((20, 20)), []).tolist() == [""]


def test_the_middle_of_the_bounding_box_does_not_count() -> None:
    bent = shapely.Polygon([(40, 0), (60, 0), (60, 2), (42, 2), (42, 20), (40, 20)])
    assert bent.envelope.centroid.x > bent.centroid.x > 40
    left = Annotation("left", shapely.box(0, 0, bent.centroid.x + 1, 100), "Rectangle")
    assert parents_of(Nuclei.from_polygons([bent]), [left]).tolist() == ["left"]


def test_only_on_the_same_plane() -> None:
    nuclei = replace(at((20, 20), (20, 20)), z=np.array([0, 2], np.int32))
    above = replace(OUTER, id="above", plane=Plane(z=2))
    assert parents_of(nuclei, [OUTER, above]).tolist() == ["outer", "above"]


@pytest.mark.parametrize(("version", "parent"), [("0.5.1", "inner"), ("0.6.0", "outer"), ("v0.7.0", "outer")])
def test_a_cell_is_placed_as_its_version_of_qupath_does(version: str, parent: str) -> None:
    nuclei = at((48, 20))
    cells = np.array([shapely.box(40, 10, 80, 30)], dtype=object)
    assert cells_decide(version) == (parent == "outer")
    for around in (cells, np.array([None], dtype=object)):
        found = parents_within(replace(nuclei, cells=around), [OUTER, INNER], [], Within("Tumor"), version)
        assert found.tolist() == [parent if around[0] else "inner"]


def test_what_was_wanted_within_has_these_parents_alone() -> None:
    nuclei = at((20, 20), (95, 20), (200, 20))
    core = Core("core", shapely.Point(200, 20).buffer(30), "Ellipse", name="A-1")
    missing = Core("gone", shapely.Point(20, 20).buffer(30), "Ellipse", name="A-2", missing=True)
    drawn, grid = [OUTER, INNER, OTHER], [core, missing]

    def parents(within: Within) -> list[str]:
        return list(parents_within(nuclei, drawn, grid, within, "0.7.0"))

    assert parents(Within("Tumor")) == ["inner", "outer", ""]
    assert parents(Within(ids=("outer", "other"))) == ["outer", "outer", "other"]
    assert parents(Within(cores=("all",))) == ["", "", "core"]
    assert parents(Within("Stroma", cores=("A-1",))) == ["", "other", "core"]
    # In the whole image a core is a parent, missing or not, as in QuPath; an annotation is not.
    assert parents(Within()) == ["gone", "", "core"]
    assert parents_within(nuclei, drawn, [], Within(), "").tolist() == ["", "", ""]
