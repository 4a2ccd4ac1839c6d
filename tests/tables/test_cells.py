"""Names from other people's files in tables: no formulas, no characters that break a file."""

from __future__ import annotations

import csv
import io
import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest
import shapely
from hypothesis import given
from hypothesis import strategies as st

from cellgennet_qupath.evaluation.run import Evaluation
from cellgennet_qupath.qupath.project import Annotation
from cellgennet_qupath.report.evaluation_files import REPORT
from cellgennet_qupath.report.evaluation_page import write_report
from cellgennet_qupath.tables.cells import text_cell, text_cells, text_column, text_frame, writable
from cellgennet_qupath.tables.formats import FORMATS
from cellgennet_qupath.tables.project import export_project
from tests.helpers import annotation
from tests.tables.projects import MemoryProject, entry, nuclei

FORMULAS = ['=HYPERLINK("http://x",1)', "+1+1", "-2+3", "@SUM(A1)", "\t=1", "\r=1", "\n=1"]
HARMLESS = ["a=b", "CD3+", "slide-1.svs", " =1", "", "'x", "Tumor: Positive", "5 µm", "a\nb", "É", "細胞"]
UNWRITABLE = ["a\ud800b", "\udcff.svs", "x\x00y", "\x1b[31mred", "\x7f"]


@pytest.mark.parametrize("text", FORMULAS)
def test_formulas_become_text(text: str) -> None:
    assert text_cell(text) == "'" + text.replace("\r", "\n")


@pytest.mark.parametrize("text", HARMLESS)
def test_ordinary_names_stay_as_they_are(text: str) -> None:
    assert text_cell(text) == writable(text) == text


@pytest.mark.parametrize("text", UNWRITABLE)
def test_what_no_file_can_hold_is_replaced(text: str) -> None:
    assert "\ufffd" in writable(text)
    writable(text).encode("utf-8")


@given(st.lists(st.text(st.characters(codec=None)), max_size=6))
def test_columns_and_single_texts_agree(texts: list[str]) -> None:
    cells = text_cells(text_column([*texts, None])).to_pylist()
    assert cells == [*(text_cell(text) for text in texts), None]
    for cell in cells[:-1]:
        assert not cell.startswith(("=", "+", "-", "@", "\t", "\r", "\n"))
        cell.encode("utf-8")


def test_numbers_are_never_changed() -> None:
    table = pd.DataFrame({"=name": ["=1", "x"], "n": [-1.5, 2.0], "none": [None, -3]})
    made = text_frame(table)
    assert list(made.columns) == ["'=name", "n", "none"]
    assert made["'=name"].tolist() == ["'=1", "x"]
    assert made["n"].tolist() == [-1.5, 2.0]


NAMES = [*FORMULAS, *UNWRITABLE]


@pytest.fixture
def project(tmp_path: Path) -> MemoryProject:
    """A project whose images, classes and measurements are named like that."""
    images = []
    for number, name in enumerate(NAMES):
        own = nuclei((1, 1, 9, 9), (20, 20, 30, 28))
        own = replace(own, classes=np.array([name.replace("\r", ""), "Tumor"], object))
        images.append((entry(number, name), own.with_measurements(pd.DataFrame({"=sum": [-1.0, 2.0]}))))
    drawn: dict[str, list[Annotation]] = {
        str(number): [annotation(shapely.box(0, 0, 50, 50), name, name=name)]
        for number, name in enumerate(NAMES)
    }
    return MemoryProject(tmp_path / "project", images, drawn, parent="=1+1")


@pytest.mark.parametrize("ending", [".csv", ".tsv", ".csv.gz"])
def test_text_tables_hold_no_formula(tmp_path: Path, project: MemoryProject, ending: str) -> None:
    file = tmp_path / f"t{ending}"
    export_project(project, file)  # type: ignore[arg-type]
    table = pd.read_csv(file, sep="\t" if ending == ".tsv" else ",", dtype=str, keep_default_na=False)
    assert len(table) == 2 * len(NAMES)
    assert [c for c in table.columns if c.startswith("'=")] == ["'=sum"]
    for column in ("Image", "Classification", "Parent"):
        assert not table[column].str.match(r"[=+\-@\t\r\n]").any()
    assert table["Image"].str.startswith("'=HYPERLINK").any()
    assert table["'=sum"].tolist()[:2] == ["-1", "2"], "numbers stay numbers"
    assert table["Object type"].unique().tolist() == ["Detection"]


@pytest.mark.parametrize("ending", [".csv", ".parquet"])
def test_summaries_hold_no_formula(tmp_path: Path, project: MemoryProject, ending: str) -> None:
    file = tmp_path / f"s{ending}"
    export_project(project, file, summary=True)  # type: ignore[arg-type]
    if ending == ".csv":
        rows = list(csv.DictReader(io.StringIO(file.read_text(encoding="utf-8"), newline="")))
        assert {row["Name"] for row in rows} >= {'\'=HYPERLINK("http://x",1)', "a\ufffdb"}
    assert len(rows if ending == ".csv" else pq.read_table(file)) == 2 * len(NAMES)


@pytest.mark.parametrize("ending", [e for e in FORMATS if not e.startswith((".csv", ".tsv"))])
def test_other_formats_keep_names_that_they_can_hold(
    tmp_path: Path, project: MemoryProject, ending: str
) -> None:
    if ending in (".h5ad", ".zarr"):
        pytest.importorskip("anndata")
    file = tmp_path / f"t{ending}"
    assert export_project(project, file) == 2 * len(NAMES)  # type: ignore[arg-type]
    if ending == ".parquet":
        names = set(pq.read_table(file)["Image"].to_pylist())
    elif ending == ".geojson":
        content = json.loads(file.read_text(encoding="utf-8"))
        names = {feature["properties"]["image"] for feature in content["features"]}
    else:
        return
    assert names == {writable(name) for name in NAMES}
    assert "+1+1" in names, "only spreadsheets run formulas"


def test_one_file_per_image_of_such_names(tmp_path: Path, project: MemoryProject) -> None:
    export_project(project, tmp_path / "{image}.csv")  # type: ignore[arg-type]
    assert len(list(tmp_path.glob("*.csv"))) == len(NAMES)


def test_the_report_of_such_names(tmp_path: Path, evaluation: Evaluation) -> None:
    methods = {"ours": "=cmd|'/c calc'!A1", "theirs": "b\ud800\x00\x1b"}
    names = [FORMULAS[0], FORMULAS[4], FORMULAS[5], *UNWRITABLE[:3]]
    regions = {
        r.name: replace(r, image=name, group=name) for r, name in zip(evaluation.regions, names, strict=True)
    }
    hostile = Evaluation(
        list(methods.values()),
        list(regions.values()),
        {
            (methods[m], r): replace(one, method=methods[m], region=regions[r])
            for (m, r), one in evaluation.results.items()
        },
    )
    document = write_report(tmp_path / "r", hostile, "s\ud800")
    assert (tmp_path / "r" / REPORT).is_file()
    assert json.loads((tmp_path / "r" / "report.json").read_text(encoding="utf-8"))["methods"]
    assert document["methods"][0]["method"] == methods["ours"]
    table = pd.read_csv(tmp_path / "r" / "per_image.csv", keep_default_na=False)
    assert set(table["method"]) == {"'" + methods["ours"], "b\ufffd\ufffd\ufffd"}
    for column in ("method", "image", "group"):
        assert not table[column].str.match(r"[=+\-@\t\r\n]").any()
    for figure in (tmp_path / "r" / "figures").iterdir():
        text = figure.read_text(encoding="utf-8")
        assert not set(text) & set("\x00\x1b"), "a browser would not show it"
