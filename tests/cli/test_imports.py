"""A command loads no library that it does not use: that is most of the time until it answers."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import shapely

from cellgennet_qupath.core.lazy import lazy
from cellgennet_qupath.nuclei import Nuclei
from cellgennet_qupath.qupath.open import open_project
from tests.projects import annotate, drawn_slide, feature, write_project

_RUN = """
import sys
from cellgennet_qupath.cli import run
code = run(sys.argv[2:])
print("loaded:", *sorted(set(sys.argv[1].split(",")) & set(sys.modules)), file=sys.stderr)
sys.exit(code)
"""
NETWORKS = "torch,openvino,tensorflow,stardist"
PLOTS = "matplotlib,jinja2"
SLIDES = "zarr,tiffslide,tifffile,imagecodecs,cv2"
ALGORITHMS = "scipy,skimage,anndata,xlsxwriter,dask"
TABLES = "pandas,pyarrow"
SETTINGS = "pydantic,yaml"
LOCKS = "filelock"


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A project of a picture with an annotation and nuclei."""
    folder = tmp_path_factory.mktemp("imports")
    write_project(folder, [drawn_slide(folder / "slide.png")])
    annotate(folder, 1, [feature(shapely.box(0, 0, 90, 90), "Training"), feature(shapely.box(9, 9, 30, 30))])
    with open_project(folder, "files", writable=True) as opened:
        nuclei = Nuclei.from_polygons([shapely.box(0, 0, 9, 9), shapely.box(20, 20, 29, 29)], np.ones(2))
        opened.write_detections(opened.entries[0], nuclei)
    return folder


def loaded(project: Path, libraries: str, *arguments: str) -> str:
    command = [sys.executable, "-c", _RUN, libraries, *arguments, "--backend", "files"]
    done = subprocess.run(command, capture_output=True, encoding="utf-8", cwd=project)
    assert done.returncode == 0, done.stderr
    return done.stderr.splitlines()[-1]


def test_inspect_loads_no_networks_tables_or_plots(project: Path) -> None:
    unused = f"{NETWORKS},{PLOTS},{ALGORITHMS},{TABLES},{LOCKS},zarr,tiffslide"
    assert loaded(project, unused, "inspect", str(project)) == "loaded:"


@pytest.mark.parametrize("name", ["t.csv", "t.parquet", "t.geojson"])
def test_export_loads_no_networks_readers_plots_or_settings(project: Path, tmp_path: Path, name: str) -> None:
    unused = f"{NETWORKS},{PLOTS},{SLIDES},{ALGORITHMS},{SETTINGS},{LOCKS}"
    assert loaded(project, unused, "export", str(project), "-o", str(tmp_path / name)) == "loaded:"


def test_a_lazy_module_is_loaded_at_its_first_use(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(sys.modules, "wave", raising=False)
    module = lazy("wave")
    assert "wave" not in sys.modules
    assert module.Wave_read is sys.modules["wave"].Wave_read
    with pytest.raises(ModuleNotFoundError, match="no_such_module"):
        _ = lazy("no_such_module").anything
