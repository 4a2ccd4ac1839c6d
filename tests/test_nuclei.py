"""The columns in which nuclei travel."""

from __future__ import annotations

import uuid

import numpy as np
import pandas as pd
import pytest
import shapely
from hypothesis import given
from hypothesis import strategies as st

from cellgennet_qupath.nuclei import OWN_MARK, Nuclei, own_id, stable_ids


def three() -> Nuclei:
    outlines = np.array([shapely.box(n, 0, n + 5, 5) for n in range(3)], dtype=object)
    base = Nuclei.from_polygons(outlines, np.array([0.5, 0.6, 0.7]))
    cells = np.array([shapely.buffer(outlines[0], 2), None, shapely.buffer(outlines[2], 2)], dtype=object)
    return Nuclei(
        base.polygons,
        base.probability,
        base.classes,
        base.ids,
        base.z,
        base.t,
        pd.DataFrame({"Area px^2": [1.0, 2.0, 3.0]}),
        cells,
    )


@pytest.mark.parametrize("rows", [np.array([2, 0]), np.array([True, False, True])])
def test_all_columns_are_taken_together(rows: np.ndarray) -> None:
    taken = three().take(rows)
    order = [2, 0] if rows.dtype != bool else [0, 2]
    assert taken.ids.tolist() == three().ids[order].tolist()
    assert taken.cells is not None
    assert [cell.area for cell in taken.cells] == [three().cells[n].area for n in order]  # type: ignore[index]
    assert taken.measurements["Area px^2"].tolist() == [n + 1.0 for n in order]


def test_columns_of_other_lengths_are_refused() -> None:
    full = three()
    with pytest.raises(ValueError, match="unequal"):
        Nuclei(
            full.polygons,
            full.probability,
            full.classes,
            full.ids,
            full.z,
            full.t,
            full.measurements,
            full.cells[:1],  # type: ignore[index]
        )


def test_ids_depend_on_outlines_and_planes_alone() -> None:
    outlines = three().polygons
    ids = stable_ids(outlines)
    assert ids.tolist() == stable_ids(shapely.transform(outlines, lambda xy: xy + 0.001)).tolist()
    assert not set(ids) & set(stable_ids(outlines, z=1))
    twins = stable_ids(np.array([outlines[0], outlines[0]], dtype=object))
    assert twins[0] == ids[0] != twins[1]


@given(st.binary())
def test_our_ids_are_recognisable_uuids(content: bytes) -> None:
    made = uuid.UUID(own_id(content))
    assert str(made) == own_id(content)
    assert made.version == 8
    assert made.variant == uuid.RFC_4122
    assert own_id(content).startswith(OWN_MARK)
