"""What tests of both backends share: nuclei of every kind, compared as precisely as QuPath keeps them."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
import shapely

from cellgennet_qupath.nuclei import Nuclei
from cellgennet_qupath.qupath.java.installation import find_qupath


def needs_qupath() -> None:
    if find_qupath() is None:
        pytest.skip("no QuPath that paquo can find (set PAQUO_QUPATH_DIR)")


def nuclei(n: int = 8) -> Nuclei:
    """Plain outlines, a box, one with a hole, one of two parts; two classes; a measurement that some lack."""
    outlines: list[shapely.Geometry] = [shapely.Point(20 + 30 * k, 40.125).buffer(9) for k in range(n - 2)]
    outlines[min(3, n - 3)] = shapely.box(110, 30, 128, 50)
    outlines.append(shapely.box(0, 0, 50, 50).difference(shapely.box(10, 10, 20, 20)))
    outlines.append(shapely.MultiPolygon([shapely.box(0, 0, 5, 5), shapely.box(9, 9, 12, 12)]))
    base = Nuclei.from_polygons(outlines, np.linspace(0.5, 1, n))
    base.classes[1] = "Tumor: Positive"
    base.classes[2] = ""
    sizes = pd.DataFrame({"Area µm^2": shapely.area(base.polygons), "Some": [np.nan, *range(n - 1)]})
    return base.with_measurements(sizes)


def with_cells(found: Nuclei) -> Nuclei:
    """The same nuclei inside cells, the first without."""
    cells = np.asarray(shapely.buffer(found.polygons, 3, quad_segs=2), dtype=object)
    cells[0] = None
    return Nuclei(
        found.polygons,
        found.probability,
        found.classes,
        found.ids,
        found.z,
        found.t,
        found.measurements,
        cells,
    )


def assert_equal(found: Nuclei, expected: Nuclei) -> None:
    """The same nuclei in any order: vertices to 0.01 px, measurements to 32 bits."""
    order, other = np.argsort(found.ids.astype(str)), np.argsort(expected.ids.astype(str))
    found, expected = found.take(order), expected.take(other)
    np.testing.assert_array_equal(found.ids, expected.ids)
    np.testing.assert_array_equal(found.classes, expected.classes)
    np.testing.assert_array_equal(found.probability, expected.probability)
    assert set(found.measurements) == set(expected.measurements)
    table = found.measurements[list(expected.measurements)]
    np.testing.assert_array_equal(table.astype(np.float32), expected.measurements.astype(np.float32))
    assert_same_outlines(found.polygons, expected.polygons)
    assert (found.cells is None) == (expected.cells is None)
    if found.cells is not None and expected.cells is not None:
        np.testing.assert_array_equal(shapely.is_missing(found.cells), shapely.is_missing(expected.cells))
        there = ~shapely.is_missing(found.cells)
        assert_same_outlines(found.cells[there], expected.cells[there])
    assert (found.z == expected.z).all()
    assert (found.t == expected.t).all()


def assert_same_outlines(found: np.ndarray, expected: np.ndarray) -> None:
    """Vertex by vertex, wherever an outline begins and however it turns."""
    grid = [
        shapely.normalize(shapely.transform(shapes, lambda xy: np.round(xy, 2)))
        for shapes in (found, expected)
    ]
    assert shapely.equals_exact(grid[0], grid[1], 0.0101).all()
