"""The page "Use it in ...": each program brings back the same count, area and coordinate as our own table."""

from __future__ import annotations

import re
import shlex
import shutil
import sys
from importlib.util import find_spec
from pathlib import Path

import pandas as pd
import pytest

from .helpers import run_tools
from .pages import DOCS, code_blocks, run_commands, run_program, segmented_project

SECTIONS = code_blocks(DOCS / "tools.md")
HERE = ("pandas", "polars", "geopandas", "scanpy")
"""Programs in Python that share our environment."""
ELSEWHERE = ("squidpy", "SpatialData", "lazyslide", "napari")


@pytest.fixture(scope="module")
def folder(sample_project: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with ``MyProject`` and what the commands of the page write."""
    pytest.importorskip("anndata")
    here = tmp_path_factory.mktemp("tools")
    segmented_project(sample_project, here)
    ((language, text),) = SECTIONS["Use it in other programs"]
    assert language == "sh"
    run_commands(text, here)
    return here


@pytest.fixture(scope="module")
def ours(folder: Path) -> dict[int, tuple[float, float]]:
    """Area in µm² and first x in µm by the number of nuclei: of the project and of each of its slides."""
    table = pd.read_parquet(folder / "nuclei.parquet")
    parts = [table, *(part for _, part in table.groupby("Image"))]
    return {len(part): (part["Area µm^2"].sum(), part["Centroid X µm"].iloc[0]) for part in parts}


def check(printed: str, ours: dict[int, tuple[float, float]], lines: int = 1) -> None:
    """Compare every line of three numbers; areas of texts are rounded to four decimals, x to two."""
    number = r"(\d+(?:\.\d+)?(?:e\+?\d+)?)"
    found = re.findall(rf"^(\d+) {number} {number}\s*$", printed, re.MULTILINE)
    assert len(found) == lines, printed
    for count, area, x in found:
        assert ours[int(count)][0] == pytest.approx(float(area), rel=1e-6)
        assert ours[int(count)][1] == pytest.approx(float(x), abs=0.006)


def program(heading: str, language: str = "python", number: int = 0) -> str:
    return [text for kind, text in SECTIONS[heading] if kind == language][number]


def test_every_section_is_run_or_says_that_it_is_not() -> None:
    run = {*HERE, *ELSEWHERE, "R", "R with sf", "GDAL", "Use it in other programs"}
    assert {heading for heading, blocks in SECTIONS.items() if blocks} == run


@pytest.mark.parametrize("heading", HERE)
def test_programs_in_python(folder: Path, ours: dict[int, tuple[float, float]], heading: str) -> None:
    if find_spec(heading) is None:
        pytest.skip(f"{heading} is not installed")
    printed = run_program(folder, sys.executable, "-X", "utf8", "-W", "ignore", "-c", program(heading))
    check(printed, ours, 2 if heading == "geopandas" else 1)
    if heading == "scanpy":
        values = [float(value) for value in re.findall(r"Moran's I (-?\d\.\d\d)", printed)]
        assert len(values) == 3
        assert values[2] > 0.5, "neighbours have a similar density"


@pytest.mark.slow
@pytest.mark.parametrize("heading", ELSEWHERE)
def test_programs_of_an_environment_of_their_own(
    folder: Path, ours: dict[int, tuple[float, float]], heading: str
) -> None:
    check(run_tools(program(heading), folder=folder), ours)


@pytest.mark.slow
def test_the_plugin_of_napari(folder: Path, ours: dict[int, tuple[float, float]]) -> None:
    count, kind, area = run_tools(program("napari", number=1), folder=folder).split()
    assert kind == "shapes"
    assert float(area) == pytest.approx(ours[int(count)][0], rel=1e-6)


@pytest.mark.parametrize("heading", ["R", "R with sf"])
def test_programs_in_r(folder: Path, ours: dict[int, tuple[float, float]], heading: str) -> None:
    interpreter = shutil.which("Rscript")
    if interpreter is None:
        pytest.skip("Rscript is not installed, so the programs in R were not run")
    text = program(heading, "r")
    package = re.findall(r"library\((\w+(?:\.\w+)?)\)", text)[0]
    if "TRUE" not in run_program(
        folder, interpreter, "-e", f'cat(requireNamespace("{package}", quietly = TRUE))'
    ):
        pytest.skip(f"the package {package} of R is not installed")
    (folder / "recipe.R").write_text("options(digits = 10)\n" + text, encoding="utf-8")
    printed = run_program(folder, interpreter, "--encoding=UTF-8", "recipe.R")
    check(printed, ours)
    assert heading == "R with sf" or "Kruskal-Wallis" in printed


def test_gdal(folder: Path, ours: dict[int, tuple[float, float]]) -> None:
    command = shlex.split(program("GDAL", "sh"))
    if shutil.which(command[0]) is None:
        pytest.skip(f"{command[0]} is not installed, so GDAL was not tried")
    run_program(folder, *command)
    (row,) = pd.read_csv(folder / "result.csv").to_numpy().tolist()
    assert ours[int(row[0])][0] == pytest.approx(float(row[1]), rel=1e-6)
    assert 0 < float(row[2]) < 512


def test_a_workbook_has_the_numbers_of_the_table(folder: Path, ours: dict[int, tuple[float, float]]) -> None:
    pytest.importorskip("openpyxl")
    table = pd.read_excel(folder / "nuclei.xlsx", engine="openpyxl")
    check(f"{len(table)} {table['Area µm^2'].sum()} {table['Centroid X µm'][0]}", ours)
