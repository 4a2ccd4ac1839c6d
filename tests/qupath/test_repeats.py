"""Detections with exactly the outline of another one are counted, and no others."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import shapely

from cellgennet_qupath.nuclei import Nuclei, empty
from cellgennet_qupath.qupath.repeats import RepeatedOutlines

SQUARE = shapely.box(0, 0, 9, 9)


def repeated(*chunks: Nuclei) -> int:
    outlines = RepeatedOutlines()
    for chunk in chunks:
        outlines.add(chunk)
    return outlines.count


def nuclei(*outlines: shapely.Geometry) -> Nuclei:
    return Nuclei.from_polygons(outlines)


def test_an_outline_is_found_again_in_another_chunk_too() -> None:
    assert repeated(nuclei(SQUARE, SQUARE.buffer(1)), nuclei(shapely.box(0, 0, 9, 9))) == 1
    assert repeated(nuclei(SQUARE, SQUARE, SQUARE)) == 2
    assert repeated() == repeated(empty()) == 0


def test_a_zero_with_a_sign_is_the_same_place() -> None:
    assert repeated(nuclei(SQUARE, shapely.Polygon([(9, -0.0), (9, 9), (-0.0, 9), (0, 0)]))) == 1


def test_whatever_differs_is_another_outline() -> None:
    others = [
        shapely.box(0, 0, 9, np.nextafter(9, 10)),
        shapely.Polygon([(9, 9), (0, 9), (0, 0), (9, 0)]),  # begins elsewhere
        shapely.reverse(SQUARE),
        shapely.Polygon(SQUARE.exterior, [shapely.box(2, 2, 4, 4).exterior]),
        shapely.box(0, 0, 9, 8),
        shapely.box(0, 0, 8, 9),
        shapely.MultiPolygon([SQUARE, shapely.box(20, 20, 24, 24)]),
        shapely.MultiPolygon([shapely.box(20, 20, 24, 24), SQUARE]),
    ]
    assert repeated(nuclei(SQUARE, *others)) == 0


def test_on_another_plane_it_is_another_one() -> None:
    one = nuclei(SQUARE)
    planes = [
        replace(one, z=np.array([z], np.int32), t=np.array([t], np.int32)) for z in range(3) for t in range(3)
    ]
    assert repeated(*planes) == 0
    assert repeated(*planes, replace(one, z=np.array([2], np.int32))) == 1


def test_among_many_none_is_taken_for_another() -> None:
    """Shifted copies of one outline: a weak key would give some of them the same number."""
    shifts = np.stack(np.meshgrid(np.arange(200), np.arange(200)), axis=-1).reshape(-1, 2) * 0.25
    corners = shapely.get_coordinates(SQUARE.buffer(3, quad_segs=2))
    every = Nuclei.from_polygons(np.asarray(shapely.polygons(corners[None] + shifts[:, None]), dtype=object))
    assert repeated(every) == 0
    assert repeated(every, every) == len(every)
