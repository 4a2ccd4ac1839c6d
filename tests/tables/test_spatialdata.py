"""SpatialData stores: their layout, and what the library reads from them.

The library lives in an environment of its own, as its releases pin another Dask (see CONTRIBUTING.md).
"""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import shapely

from cellgennet_qupath.core.errors import ExportError
from cellgennet_qupath.nuclei import Nuclei
from cellgennet_qupath.tables.spatialdata import element_names
from tests.helpers import run_tools

from .projects import Images, entry, export, nuclei

anndata = pytest.importorskip("anndata")
zarr = pytest.importorskip("zarr")

READ = """
import json, sys
import numpy as np
import spatialdata
store = spatialdata.read_zarr(sys.argv[1])
table = store.tables["nuclei"]
found = {"elements": {}, "systems": sorted(store.coordinate_systems), "names": list(table.obs.columns)}
for name, shapes in store.shapes.items():
    moved = spatialdata.transform(shapes, to_coordinate_system="global")
    found["elements"][name] = {
        "n": len(shapes),
        "um2": float(moved.area.sum()),
        "x": float(moved.centroid.x.iloc[0]),
    }
box = spatialdata.bounding_box_query(
    store, axes=("x", "y"), min_coordinate=[0, 0], max_coordinate=[4, 4], target_coordinate_system="global"
)
found["box"] = {name: len(shapes) for name, shapes in box.shapes.items() if not name.endswith("_cells")}
found["box_rows"] = box.tables["nuclei"].obs["region"].value_counts().to_dict()
found["rows"] = table.n_obs
found["um2"] = float(np.asarray(table[:, "Area µm^2"].X).sum())
store.write(sys.argv[1] + "-again.zarr")
print(json.dumps(found))
"""


def images() -> Images:
    cells = nuclei(*((x, 8, x + 6, 12) for x in range(0, 90, 10)))
    around = np.array([shapely.box(*outline.bounds).buffer(2) for outline in cells.polygons], object)
    around[3] = None
    return (
        (entry(1, "a b/µ.svs"), replace(cells, cells=around)),
        (entry(2, "second", (0.5, 0.5)), nuclei((0, 0, 4, 4), (50, 50, 59, 58), mpp=(0.5, 0.5))),
    )


def test_the_table_and_the_elements(tmp_path: Path) -> None:
    store = zarr.open_group(str(export(tmp_path, "t.zarr", images())), mode="r")
    assert sorted(store["shapes"].keys()) == ["a_b_µ.svs", "a_b_µ.svs_cells", "second"]
    scales = store["shapes"]["second"].attrs["coordinateTransformations"]
    assert [(s["type"], s["scale"], s["output"]["name"]) for s in scales] == [
        ("scale", [0.5, 0.5], "second"),
        ("scale", [0.5, 0.5], "global"),
    ]
    table = anndata.io.read_elem(store["tables"]["nuclei"])
    assert table.obs["region"].tolist() == ["a_b_µ.svs"] * 9 + ["second"] * 2
    assert table.obs["instance_id"].tolist() == table.obs_names.tolist()
    assert table.uns["cellgennet"]["unit"] == "µm"
    assert list(tmp_path.glob(".*")) == []


def test_pixels_have_no_scale(tmp_path: Path) -> None:
    store = zarr.open_group(str(export(tmp_path, "t.zarr", images(), unit="px")), mode="r")
    (own, _) = store["shapes"]["second"].attrs["coordinateTransformations"]
    assert (own["type"], own["output"]["axes"][0]["unit"]) == ("identity", "unit")


def test_names_of_elements_are_safe_and_unique() -> None:
    names = ["b_1", "b", "b", "B"]
    entries = [entry(number, name) for number, name in zip([4, 3, 1, 2], names, strict=True)]
    assert list(element_names(entries).values()) == ["b_1", "b", "b_1_1", "B_2"]
    names = ["a", "A", "a_cells", "..", "__x", "é 1", ""]
    entries = [entry(number, name) for number, name in enumerate(names)]
    assert list(element_names(entries).values()) == ["a", "A_1", "a_cells_2", "image", "x", "é_1", "image_6"]
    # The table is an element too.
    entries = [entry(number, name) for number, name in enumerate(["Nuclei", "nuclei", "nuclei_1", "nucle/i"])]
    assert list(element_names(entries).values()) == ["Nuclei_0", "nuclei_1", "nuclei_1_2", "nucle_i"]


def test_an_older_store_is_replaced_and_nothing_else(tmp_path: Path) -> None:
    file = export(tmp_path, "t.zarr", images())
    export(tmp_path, "t.zarr", images()[1:])
    assert sorted(zarr.open_group(str(file), mode="r")["shapes"].keys()) == ["second"]
    (tmp_path / "own.zarr").mkdir()
    (tmp_path / "own.zarr" / "notes.txt").write_text("mine", encoding="utf-8")
    with pytest.raises(ExportError, match="is a folder that holds something else"):
        export(tmp_path, "own.zarr", images())
    assert (tmp_path / "own.zarr" / "notes.txt").is_file()
    zarr.open_group(str(tmp_path / "slide.zarr"), mode="w").create_array("0", shape=(4, 4), dtype="u1")
    for part in ("images", "tables/scores"):
        zarr.open_group(str(export(tmp_path, part[:3] + ".zarr", images())), mode="a").create_group(part)
    for theirs in ("slide.zarr", "ima.zarr", "tab.zarr"):
        with pytest.raises(ExportError, match="is a folder that holds something else"):
            export(tmp_path, theirs, images())
    assert (tmp_path / "slide.zarr" / "0").is_dir()
    (tmp_path / "file.zarr").write_text("mine", encoding="utf-8")
    with pytest.raises(ExportError, match="is a file"):
        export(tmp_path, "file.zarr", images())
    (tmp_path / "folder.csv").mkdir()
    with pytest.raises(ExportError, match="is a folder"):
        export(tmp_path, "folder.csv", images())


@pytest.mark.slow
def test_the_library_reads_what_was_written(tmp_path: Path) -> None:
    file = export(tmp_path, "t.zarr", images())
    found: dict[str, Any] = json.loads(run_tools(READ, file).splitlines()[-1])
    assert found["systems"] == ["a_b_µ.svs", "global", "second"]
    elements = found["elements"]
    assert {name: one["n"] for name, one in elements.items()} == {
        "a_b_µ.svs": 9,
        "a_b_µ.svs_cells": 8,
        "second": 2,
    }
    assert elements["a_b_µ.svs"]["um2"] == pytest.approx(9 * 24 / 16)
    assert elements["second"]["um2"] == pytest.approx((16 + 72) / 4)
    assert elements["second"]["x"] == pytest.approx(1)
    assert found["um2"] == pytest.approx(9 * 24 / 16 + 22)
    assert found["box"] == found["box_rows"] == {"a_b_µ.svs": 2, "second": 1}
    assert found["rows"] == 11


@pytest.mark.slow
def test_a_nucleus_without_an_area_has_a_row_and_no_shape(tmp_path: Path) -> None:
    line = shapely.Polygon([(0, 0), (5, 0), (0, 0)])
    detected = Nuclei.from_polygons([shapely.box(0, 0, 4, 4), line])
    detected = replace(nuclei((0, 0, 4, 4), (8, 8, 9, 9)), polygons=detected.polygons)
    file = export(tmp_path, "t.zarr", [(entry(1, "a"), detected)])
    found: dict[str, Any] = json.loads(run_tools(READ, file).splitlines()[-1])
    assert (found["elements"]["a"]["n"], found["rows"]) == (1, 2)
    assert found["box"] == found["box_rows"] == {"a": 1}
