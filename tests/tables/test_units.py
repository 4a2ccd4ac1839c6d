"""One unit for all images, or a word about it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest

from cellgennet_qupath.core.errors import CalibrationError, UsageError
from cellgennet_qupath.nuclei import Nuclei, empty
from cellgennet_qupath.tables.project import export_project
from cellgennet_qupath.tables.units import Units
from tests.helpers import Recorder, csv_rows

from .projects import TWO, Images, MemoryProject, entry, export, nuclei, segmented

ONE_UNIT = (".h5ad", ".zarr", ".parquet")
OWN_COLUMNS = (".csv", ".tsv", ".csv.gz", ".xlsx", ".geojson")


def measured(name: str, value: float = 8.0) -> Nuclei:
    return nuclei((0, 0, 4, 4), mpp=None).with_measurements(pd.DataFrame({name: [value]}))


@pytest.mark.parametrize("ending", ONE_UNIT)
def test_formats_of_one_unit_refuse_to_mix_before_anything_is_read(tmp_path: Path, ending: str) -> None:
    if ending != ".parquet":
        pytest.importorskip("anndata")
    with pytest.raises(UsageError, match=r"^uncalibrated: has no pixel size.*--mpp.*--units px") as error:
        export(tmp_path, f"t{ending}", TWO)
    assert error.value.exit_code == 2
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("ending", OWN_COLUMNS)
def test_other_formats_keep_the_units_apart_and_say_so(tmp_path: Path, ending: str) -> None:
    listener = Recorder()
    export(tmp_path, f"t{ending}", TWO, reporter=listener)
    assert listener.warnings[0].startswith("uncalibrated: without a pixel size in the project")
    assert "--units px" in listener.warnings[0]


@pytest.mark.parametrize("ending", [".parquet", ".csv"])
@pytest.mark.parametrize(
    ("options", "x", "area"),
    [
        ({"mpp": 0.5}, [5, 5.0625, 4002.75], [50, 24.765, 22]),
        ({"unit": "px"}, [20, 20.25, 8005.5], [800, 396.24, 88]),
    ],
)
def test_one_unit_for_all(
    tmp_path: Path, ending: str, options: dict[str, object], x: list[float], area: list[float]
) -> None:
    listener = Recorder()
    file = export(tmp_path, f"t{ending}", TWO, reporter=listener, **options)
    table = pd.read_parquet(file) if ending == ".parquet" else pd.read_csv(file)
    unit, other = ("px", "µm") if "unit" in options else ("µm", "px")
    assert table[f"Centroid X {unit}"].tolist() == pytest.approx(x, abs=0.1)
    assert table[f"Area {unit}^2"].tolist() == pytest.approx(area)
    assert table[f"Length {unit}"].notna().all()
    assert not [name for name in table.columns if other in name]
    assert listener.warnings == []


def test_what_has_no_nuclei_is_not_mixed(tmp_path: Path) -> None:
    label: Images = (*TWO[:2], (entry(3, "label", None), empty()))
    assert pq.read_table(export(tmp_path, "t.parquet", label)).num_rows == 2
    alone: Images = ((entry(1, "empty"), empty()), TWO[2])
    assert "Centroid X px" in pq.read_table(export(tmp_path, "u.parquet", alone)).column_names
    listener = Recorder()
    export(tmp_path, "t.csv", label, reporter=listener)
    assert listener.warnings == []


def test_one_file_per_image_has_the_unit_of_its_image(tmp_path: Path) -> None:
    export(tmp_path, "{image}.parquet", TWO)
    assert "Area px^2" in pq.read_table(tmp_path / "uncalibrated.parquet").column_names
    assert "Area µm^2" in pq.read_table(tmp_path / "a, b.svs.parquet").column_names


def test_units_um_needs_a_size_for_every_image(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="uncalibrated: has no pixel size"):
        export(tmp_path, "t.csv", TWO, unit="µm")
    with pytest.raises(UsageError, match="exclude each other"):
        export(tmp_path, "t.csv", TWO, unit="px", mpp=0.5)
    with pytest.raises(CalibrationError, match="--mpp 250"):
        export(tmp_path, "t.csv", TWO, mpp=250)


def test_an_option_does_not_rescale_calibrated_images(tmp_path: Path) -> None:
    rows = csv_rows(export(tmp_path, "t.csv", TWO[:2], mpp=0.5))
    assert rows[0]["Area µm^2"] == "50"


def test_an_impossible_size_is_replaced_by_the_option(tmp_path: Path) -> None:
    odd: Images = ((entry(1, "odd", (352.8, 352.8)), nuclei((0, 0, 4, 4), mpp=None)),)
    listener = Recorder()
    (row,) = csv_rows(export(tmp_path, "t.csv", odd, mpp=0.5, reporter=listener))
    assert (row["Centroid X µm"], row["Area µm^2"]) == ("1", "4")
    assert listener.warnings == []


def test_measured_before_the_image_got_its_pixel_size(tmp_path: Path) -> None:
    later: Images = ((entry(1, "later"), nuclei((0, 0, 8, 4), mpp=None)),)
    listener = Recorder()
    (row,) = csv_rows(export(tmp_path, "t.csv", later, reporter=listener))
    assert (row["Centroid X µm"], row["Area px^2"]) == ("1", "32")
    (warning,) = listener.warnings
    assert warning.startswith("later: measured in another unit than the image has now.")
    (row,) = csv_rows(export(tmp_path, "u.csv", later, unit="µm"))
    assert (row["Area µm^2"], row["Length µm"]) == ("2", "6")
    assert pq.read_table(export(tmp_path, "t.parquet", later))["Area µm^2"].to_pylist() == [2]


@pytest.mark.parametrize(
    ("name", "converted", "value"),
    [
        ("Cell: Area px^2", "Cell: Area µm^2", 0.5),
        ("Distance to annotation Tumor px", "Distance to annotation Tumor µm", 2.0),
        ("Smoothed: 25 µm: Area px^2", "Smoothed: 25 µm: Area µm^2", 0.5),
        ("Nuclei within 50 px", "Nuclei within 50 px", 8.0),
        ("Circularity", "Circularity", 8.0),
        ("px", "px", 8.0),
        ("Hematoxylin: Mean", "Hematoxylin: Mean", 8.0),
    ],
)
def test_which_measurements_have_a_unit(tmp_path: Path, name: str, converted: str, value: float) -> None:
    (row,) = csv_rows(export(tmp_path, "t.csv", [(entry(1, "a"), measured(name))], unit="µm"))
    assert float(row[converted]) == value


def test_nuclei_measured_in_both_units_share_one_column(tmp_path: Path) -> None:
    both = nuclei((0, 0, 4, 4), (0, 0, 8, 4), mpp=None)
    table = pd.DataFrame({"Area px^2": [16, np.nan], "Area µm^2": [np.nan, 2.0]})
    both = both.with_measurements(table)
    rows = csv_rows(export(tmp_path, "t.csv", [(entry(1, "a"), both)], unit="µm"))
    assert [row["Area µm^2"] for row in rows] == ["1", "2"]


def test_nothing_is_converted_without_a_size(tmp_path: Path) -> None:
    images = [(entry(1, "lost", None), measured("Area µm^2"))]
    with pytest.raises(UsageError, match="lost: has no pixel size in the project, but measurements in µm"):
        export(tmp_path, "t.parquet", images)
    assert Units("px").entry(entry(1, "a")).mpp is None


def test_summaries_and_neighbours_follow(tmp_path: Path) -> None:
    rows = csv_rows(export(tmp_path, "s.csv", TWO, summary=True, mpp=0.5))
    assert float(rows[2]["Area mm^2"]) == pytest.approx(0.0025)
    assert float(rows[2]["Mean of Area µm^2"]) == 22
    near = csv_rows(export(tmp_path, "n.csv", TWO, neighbours=True, mpp=0.5))
    assert near[0]["Nearest nucleus µm"] != ""
    assert (near[2]["Nuclei within 50 µm"], near[2]["Nuclei per mm^2 within 50 µm"]) == ("0", ""), "outside"
    content = json.loads(export(tmp_path, "t.geojson", TWO, unit="px").read_text(encoding="utf-8"))
    assert content["features"][0]["properties"]["measurements"]["Area px^2"] == 800


@pytest.mark.parametrize(
    ("then", "options", "said"),
    [
        ((0.25, 0.25), {}, False),
        ((0.2500001, 0.25), {}, False),
        ((0.5, 0.5), {}, True),
        ((0.5, 0.5), {"unit": "px"}, True),
        ((0.25, 0.3), {"unit": "µm"}, True),
        (None, {}, False),
    ],
)
@pytest.mark.parametrize("ending", ["t.csv", "t.parquet"])
def test_a_pixel_size_that_was_changed_since_is_reported(
    tmp_path: Path,
    then: tuple[float, float] | None,
    options: dict[str, Any],
    said: bool,
    ending: str,
) -> None:
    project = MemoryProject(tmp_path, [*TWO[:2]])
    about: dict[str, Any] = {"measured in": then}
    segmented(project, TWO[0][0], 2, **about)
    listener = Recorder()
    export_project(project, tmp_path / ending, reporter=listener, **options)  # type: ignore[arg-type]
    lines = [line for line in listener.warnings if "pixel size was changed" in line]
    assert len(lines) == said
    assert all(line.startswith("a, b.svs: ") for line in lines)
