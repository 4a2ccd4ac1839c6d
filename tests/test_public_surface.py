"""What importing the package gives and costs: few names, and no heavy library before it is needed."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

import cellgennet_qupath
from cellgennet_qupath.cli import COMMANDS

HEAVY = {
    "cv2",
    "dask",
    "jinja2",
    "jpype",
    "matplotlib",
    "numpy",
    "pandas",
    "paquo",
    "pyarrow",
    "rich",
    "scipy",
    "shapely",
    "skimage",
    "stardist",
    "tensorflow",
    "tiffslide",
    "torch",
}


def fresh(*arguments: str) -> subprocess.CompletedProcess[str]:
    """Run Python anew: this process has long loaded everything."""
    return subprocess.run(
        [sys.executable, *arguments], capture_output=True, encoding="utf-8", check=False, timeout=120
    )


def loaded_by(statement: str) -> set[str]:
    code = f"import json, sys\n{statement}\nprint(json.dumps(sorted(sys.modules)))"
    result = fresh("-c", code)
    assert result.returncode == 0, result.stderr
    return {name.split(".")[0] for name in json.loads(result.stdout)}


def test_the_public_names_are_these() -> None:
    assert cellgennet_qupath.__all__ == ["__version__"]
    assert all(hasattr(cellgennet_qupath, name) for name in cellgennet_qupath.__all__)


def test_the_check_sees_a_heavy_library() -> None:
    assert "shapely" in loaded_by("import cellgennet_qupath.geometry.raster")


@pytest.mark.parametrize(
    "statement",
    [
        "import cellgennet_qupath",
        "import cellgennet_qupath.cli",
        "from cellgennet_qupath.cli import run; sys.stdout, out = sys.stderr, sys.stdout; run(['--help']); "
        "sys.stdout = out",
    ],
    ids=["package", "cli", "help"],
)
def test_heavy_libraries_wait_until_they_are_needed(statement: str) -> None:
    assert not loaded_by(statement) & HEAVY


def test_help_names_every_command() -> None:
    result = fresh("-m", "cellgennet_qupath", "--help")
    assert result.returncode == 0, result.stderr
    assert result.stderr == ""
    for name, what in COMMANDS.items():
        assert name in result.stdout
        assert what.split(",")[0] in " ".join(result.stdout.split())


def test_version() -> None:
    result = fresh("-m", "cellgennet_qupath", "--version")
    assert result.stdout.split() == ["cellgennet,", "version", cellgennet_qupath.__version__]
