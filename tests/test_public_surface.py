"""What importing the package offers and costs: few names, and no heavy library before it is needed."""

from __future__ import annotations

import inspect
import json
import subprocess
import sys
from pathlib import Path

import pytest

import cellgennet_qupath
from cellgennet_qupath.cli import COMMANDS

FUNCTIONS = [
    "create_project",
    "evaluate",
    "export",
    "load_bundle",
    "open_images",
    "open_project",
    "segment",
    "suggest",
    "train",
]

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
    """Run Python in a new process: this one has loaded everything."""
    return subprocess.run(
        [sys.executable, *arguments], capture_output=True, encoding="utf-8", check=False, timeout=120
    )


def loaded_by(statement: str) -> set[str]:
    code = f"import json, sys\n{statement}\nprint(json.dumps(sorted(sys.modules)))"
    result = fresh("-c", code)
    assert result.returncode == 0, result.stderr
    return {name.split(".")[0] for name in json.loads(result.stdout)}


def test_the_public_names_are_these() -> None:
    assert cellgennet_qupath.__all__ == ["__version__", *FUNCTIONS]
    assert set(cellgennet_qupath.__all__) <= set(dir(cellgennet_qupath))
    with pytest.raises(AttributeError, match="fly"):
        _ = cellgennet_qupath.fly


@pytest.mark.parametrize("name", FUNCTIONS)
def test_every_function_is_documented_and_options_are_keywords(name: str) -> None:
    function = getattr(cellgennet_qupath, name)
    assert ">>> " in function.__doc__, "an example"
    assert "Raises " in function.__doc__ or name in {"load_bundle"}
    positional = [
        parameter.name
        for parameter in inspect.signature(function).parameters.values()
        if parameter.kind is not inspect.Parameter.KEYWORD_ONLY
    ]
    assert len(positional) <= 2, "what it works on and where it writes; every option by name"


def test_examples_are_where_they_are_run() -> None:
    """tests/test_api.py runs the examples of the package and of its functions; others would go unchecked."""
    package = Path(cellgennet_qupath.__file__).parent
    holders = {p.name for p in package.rglob("*.py") if ">>> " in p.read_text(encoding="utf-8")}
    assert holders == {"__init__.py", "api.py", "images.py"}


def test_importing_the_package_takes_under_a_fifth_of_a_second() -> None:
    code = "import time; t = time.perf_counter(); import cellgennet_qupath; print(time.perf_counter() - t)"
    assert min(float(fresh("-c", code).stdout) for _ in range(5)) < 0.2


def test_the_package_says_that_it_is_typed() -> None:
    assert (Path(cellgennet_qupath.__file__).parent / "py.typed").is_file()


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
