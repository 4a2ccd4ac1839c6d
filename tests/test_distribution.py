"""The wheel and the source archive: complete, with bounds on what they need, usable outside the checkout."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tarfile
import zipfile
from email.parser import Parser
from pathlib import Path

import pytest

from cellgennet_qupath import __version__
from cellgennet_qupath.core.extras import EXTRAS

pytestmark = pytest.mark.slow

ROOT = Path(__file__).resolve().parents[1]


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with both, the wheel made from the source archive."""
    for module in ("build", "hatchling"):
        pytest.importorskip(module, reason="part of the extra dev")
    folder = tmp_path_factory.mktemp("dist")
    line = [sys.executable, "-m", "build", "--no-isolation", "-o", str(folder), str(ROOT)]
    done = subprocess.run(line, capture_output=True, encoding="utf-8", check=False, timeout=500)
    assert done.returncode == 0, done.stderr
    return folder


@pytest.fixture(scope="module")
def wheel(built: Path) -> Path:
    (file,) = built.glob("*.whl")
    return file


@pytest.fixture(scope="module")
def installed(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel as pip installs it, in a folder of its own; what it needs comes from this environment."""
    folder = tmp_path_factory.mktemp("installed")
    line = [sys.executable, "-m", "pip", "install", "-q", "--no-deps", "--no-index", "--target", str(folder)]
    done = subprocess.run(
        [*line, str(wheel)], capture_output=True, encoding="utf-8", check=False, timeout=300
    )
    assert done.returncode == 0, done.stderr
    return folder


def test_the_wheel_holds_all_that_the_commands_need_and_no_tests(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        names = set(archive.namelist())
    package = "cellgennet_qupath"
    assert {
        f"{package}/pretrained/nuclei-he.cgn/student.safetensors",
        f"{package}/pretrained/nuclei-he-fast.cgn/student.safetensors",
        f"{package}/sample_projects/quickstart/project.qpproj",
        f"{package}/sample_projects/truth/slide1_glands.png",
        f"{package}/groovy/library.groovy",
        f"{package}/demo.yaml",
        f"{package}/report/templates/page.css",
        f"{package}/py.typed",
    } <= names
    assert {name.split("/")[0] for name in names} == {package, f"{package}-{__version__}.dist-info"}
    sources = {
        f"{package}/{p.relative_to(ROOT / package).as_posix()}" for p in (ROOT / package).rglob("*.py")
    }
    assert sources <= names
    assert not any("__pycache__" in name for name in names)


def test_the_source_archive_holds_what_the_wheel_is_made_from(built: Path) -> None:
    (file,) = built.glob("*.tar.gz")
    with tarfile.open(file) as archive:
        names = {name.partition("/")[2] for name in archive.getnames()}
    assert {"pyproject.toml", "LICENSE", "README.md", "constraints.txt", "groovy/library.groovy"} <= names
    assert "tests/test_distribution.py" in names
    assert not any(name.startswith((".venv", "dist/")) for name in names)


def test_every_requirement_has_both_bounds(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        text = archive.read(f"cellgennet_qupath-{__version__}.dist-info/METADATA").decode()
    metadata = Parser().parsestr(text)
    assert metadata["Requires-Python"] == "<3.14,>=3.11"
    needed = metadata.get_all("Requires-Dist") or []
    extras = "|".join(EXTRAS)
    for requirement in needed:
        name, _, condition = requirement.partition(";")
        if condition and not re.search(rf"extra == '({extras})'", condition):
            continue
        assert ">=" in name, requirement
        assert "<" in name, requirement
    assert len(needed) > 30


def run(installed: Path, folder: Path, *arguments: object) -> str:
    """A command of the installed wheel, in a folder outside the checkout."""
    done = subprocess.run(
        [sys.executable, "-m", "cellgennet_qupath", *map(str, arguments)],
        cwd=folder,
        capture_output=True,
        encoding="utf-8",
        check=False,
        timeout=500,
        env={**os.environ, "PYTHONPATH": str(installed), "PYTHONUTF8": "1"},
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_the_installed_wheel_segments_and_exports(installed: Path, tmp_path: Path) -> None:
    where = subprocess.run(
        [sys.executable, "-c", "import cellgennet_qupath as c; print(c.__file__)"],
        cwd=tmp_path,
        capture_output=True,
        encoding="utf-8",
        check=True,
        env={**os.environ, "PYTHONPATH": str(installed)},
    ).stdout
    assert Path(where.strip()).is_relative_to(installed)
    assert "Segmenting, exporting and evaluating can run." in run(installed, tmp_path, "doctor")
    slide = installed / "cellgennet_qupath/sample_projects/quickstart/slides/slide4_mixed.ome.tif"
    run(installed, tmp_path, "segment", slide, "-o", "out")
    (table,) = (tmp_path / "out").glob("*.csv")
    assert table.read_text(encoding="utf-8").count("\n") > 900
