"""The page on measurements: it describes every column, and its analyses run on the sample project."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from click.testing import CliRunner

from cellgennet_qupath.cli import cellgennet
from cellgennet_qupath.evaluation.label_images import read_labels
from cellgennet_qupath.geometry.contours import label_polygons
from cellgennet_qupath.measure.tile import MeasureOptions, measure_tile
from cellgennet_qupath.nuclei import Nuclei
from cellgennet_qupath.qupath.open import open_project
from cellgennet_qupath.slides.reader import open_slide

PAGE = Path(__file__).resolve().parents[1] / "docs" / "measurements.md"
BLOCKS = re.findall(r"```(\w+)\n(.*?)```", PAGE.read_text(encoding="utf-8"), flags=re.DOTALL)


def code(language: str) -> list[str]:
    return [text for kind, text in BLOCKS if kind == language]


@pytest.fixture(scope="module")
def folder(sample_project: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with ``MyProject``: the sample project with its true nuclei as detections."""
    here = tmp_path_factory.mktemp("analysis")
    shutil.copytree(sample_project, here / "MyProject", ignore=shutil.ignore_patterns("cellgennet"))
    truth = sample_project.parent / "truth"
    with open_project(here / "MyProject", "files", writable=True) as project:
        for entry in project.entries:
            assert entry.slide is not None
            labels = read_labels(truth / f"{entry.name.split('.')[0]}.png")
            _, numbers = np.unique(labels, return_inverse=True)
            polygons = label_polygons(numbers.reshape(labels.shape).astype(np.int32))
            nuclei = Nuclei.from_polygons(polygons, np.linspace(0.5, 1, len(polygons)))
            with open_slide(entry.slide) as reader:
                options = MeasureOptions(entry.mpp, project.stains(entry), margin=2)
                table = measure_tile(reader, polygons, options)
            project.write_detections(entry, nuclei.with_measurements(table))
    for line in "".join(code("sh")).splitlines():
        program, *arguments = line.split()
        assert program == "cellgennet"
        arguments = [
            str(here / a) if a == "MyProject" or a.startswith(("nuclei.", "summary.")) else a
            for a in arguments
        ]
        done = CliRunner().invoke(cellgennet, [*arguments, "--backend", "files"])
        assert done.exit_code == 0, done.output
    return here


def test_every_column_is_described(folder: Path) -> None:
    page = PAGE.read_text(encoding="utf-8")
    table = pd.read_csv(folder / "nuclei.csv")
    # Two of the third slide's nuclei are inside its Ignore* area.
    assert len(table) == 879 + 1155 + (422 - 2) + 1016
    for name in table.columns:
        assert f"`{name.replace('Eosin', 'Hematoxylin')}`" in page, name
    assert table.drop(columns=["Name"]).notna().all(axis=None)
    summary = pd.read_csv(folder / "summary.csv")
    for name in summary.columns:
        described = name if " of " not in name else f"{name.split(' of ')[0]} of X"
        assert f"`{described}`" in page, name
    assert summary["Num Detections"][summary["Object type"] == "Image"].sum() == len(table)
    assert set(summary["Classification"].dropna()) == {"Training", "Validation", "Background", "Ignore*"}


def run(folder: Path, *command: str) -> str:
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, encoding="utf-8", timeout=300)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_pandas(folder: Path) -> None:
    script, _ = code("python")
    (folder / "pandas_analysis.py").write_text(script, encoding="utf-8")
    printed = run(folder, sys.executable, "-X", "utf8", "pandas_analysis.py")
    assert "slide4_mixed" in printed
    table = pd.read_csv(folder / "by_image.csv", index_col="Image")
    assert len(table) == 4
    assert table["area"].between(10, 80).all()
    assert table["hematoxylin"].between(0.1, 1.5).all()
    assert table["large"].between(0, 0.5).all()


def test_scanpy(folder: Path) -> None:
    pytest.importorskip("anndata")
    if subprocess.run(
        [sys.executable, "-c", "import importlib.util as u; exit(not u.find_spec('scanpy'))"]
    ).returncode:
        pytest.skip("scanpy is not installed")
    _, script = code("python")
    (folder / "scanpy_analysis.py").write_text(script, encoding="utf-8")
    printed = run(folder, sys.executable, "-X", "utf8", "scanpy_analysis.py")
    values = [float(value) for value in re.findall(r"Moran's I (-?\d\.\d\d)", printed)]
    assert len(values) == 3
    assert values[2] > 0.5, "neighbours have a similar density"


def test_r(folder: Path) -> None:
    interpreter = shutil.which("Rscript")
    if interpreter is None:
        pytest.skip("Rscript is not installed, so the analysis in R was not run")
    (folder / "analysis.R").write_text(code("r")[0], encoding="utf-8")
    assert "Kruskal-Wallis" in run(folder, interpreter, "--encoding=UTF-8", "analysis.R")
    assert len(pd.read_csv(folder / "by_image_r.csv")) == 4
