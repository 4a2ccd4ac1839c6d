"""Both parsers of features give the same columns."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pandas as pd
import pytest
import shapely

from cellgennet_qupath.nuclei import Nuclei
from cellgennet_qupath.qupath.formats import featurelines
from cellgennet_qupath.qupath.formats.detections import PROBABILITY, feature_lines
from cellgennet_qupath.qupath.formats.featurelines import parse_features, parse_lines


def nuclei(cells: bool, multiple: bool) -> Nuclei:
    shapes: list[Any] = [shapely.Point(20 * k, 9).buffer(5 + k / 7) for k in range(6)]
    shapes[1] = shapes[1].difference(shapely.Point(20, 9).buffer(2))
    if multiple:
        shapes[3] = shapely.MultiPolygon([shapely.box(60, 0, 62, 2), shapely.box(64, 0, 66, 2)])
    around = np.array(
        [None if k == 2 else shape.buffer(3) for k, shape in enumerate(shapes)], dtype=np.object_
    )
    base = Nuclei.from_polygons(shapes, np.linspace(0.4, 0.9, 6))
    found = Nuclei(
        polygons=base.polygons,
        probability=base.probability,
        classes=np.array(["", "Tumor", "Tumor: Positive", "a: b: ü", "Nucleus", ""], dtype=object),
        ids=base.ids,
        z=np.array([0, 0, 3, 0, 1, 0], np.int32),
        t=np.array([0, 0, 0, 2, 1, 0], np.int32),
        measurements=pd.DataFrame(index=pd.RangeIndex(6)),
        cells=around if cells else None,
    )
    return found.with_measurements(
        pd.DataFrame({'Area "µm^2"': np.arange(6) / 3, "Some": [np.nan, 1, 2, np.nan, -4e-9, 1e7]})
    )


@pytest.mark.parametrize("cells", [False, True])
@pytest.mark.parametrize("names", [["Some", 'Area "µm^2"'], []])
def test_equal_columns(cells: bool, names: list[str]) -> None:
    expected = nuclei(cells, multiple=False)
    parents = np.array(["", "a", "", "b", "", ""], dtype=object)
    lines = feature_lines(expected, parents=parents)
    fast, plain = parse_lines(lines, names), parse_features([json.loads(line) for line in lines], names)
    for found in (fast, plain):
        assert found.ids.tolist() == expected.ids.tolist()
        assert found.classes.tolist() == expected.classes.tolist()
        assert found.parents.tolist() == parents.tolist()
        assert (found.z.tolist(), found.t.tolist()) == (expected.z.tolist(), expected.t.tolist())
        assert shapely.equals_exact(found.polygons, expected.polygons, 0.0075).all()
        assert (found.cells is not None) == cells
        if found.cells is not None:
            assert [cell is None for cell in found.cells] == [k == 2 for k in range(6)]
        assert list(found.measurements)[: len(names)] == names
        assert found.measurements["Some"].tolist() == pytest.approx(
            [np.nan, 1, 2, np.nan, -4e-9, 1e7], nan_ok=True
        )
    assert shapely.equals(fast.polygons, plain.polygons).all()
    names = sorted(map(str, fast.measurements))
    assert names == sorted(map(str, plain.measurements))
    assert fast.measurements[names].equals(plain.measurements[names])


def test_nuclei_of_several_parts() -> None:
    expected = nuclei(True, multiple=True)
    found = parse_lines(feature_lines(expected), ["Some"])
    assert found.polygons[3].geom_type == "MultiPolygon"
    assert found.classes.tolist() == expected.classes.tolist()


@pytest.mark.parametrize(
    "line",
    [
        "{}",
        '{"type":"Feature","id":"a","properties":{}}',
        '{"id":"a","geometry":{"type":"Point","coordinates":[1,2]},"properties":{}}',
        '{"id":"a","geometry":{"type":"LineString","coordinates":[[1,2],[3,4]]},"properties":{}}',
        '{"id":"a","geometry":{"type":"Polygon","coordinates":[[[0,0,1],[1,0,1],[1,1,1],[0,0,1]]]},"properties":{}}',
        '{"id":"a","geometry":{"type":"Polygon","coordinates":[[[0,0],[1,0],[1,',
    ],
)
def test_anything_but_a_nucleus_is_refused(line: str) -> None:
    good = feature_lines(nuclei(False, multiple=False))[0]
    for lines in ([line], [good, line]):
        with pytest.raises((ValueError, LookupError, TypeError)):
            parse_lines(lines, [])


@pytest.mark.parametrize("cells", [False, True])
def test_what_this_tool_writes_takes_the_fast_way(cells: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    """Arrow refuses members that it was not told of; every member of our own lines is known to it."""
    written = nuclei(cells, multiple=False)
    lines = feature_lines(written, parents=np.full(len(written), "p", dtype=object))
    monkeypatch.setattr(featurelines, "parse_features", None)
    read = parse_lines(lines, [*map(str, written.measurements.columns), PROBABILITY])
    assert len(read.ids) == len(lines)
