"""Situations from public bug reports, each run through the command line (``pytest -m cases``, 20 minutes)."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from .conftest import ROOT

CASES = Path(os.environ.get("CELLGENNET_SHARED", ROOT.parent / "shared")) / "cases"
SCRIPTS = sorted(file.name for file in CASES.glob("*.py") if file.name != "lib.py")

LATER = {
    "jpeg2000_ycbcr.py": "8-bit YCbCr rounds by one grey value; noise of that size moves 2 to 3 of 139",
}


@pytest.mark.cases
@pytest.mark.slow
@pytest.mark.timeout(900)
@pytest.mark.parametrize("script", SCRIPTS)
def test_the_situation_ends_right(script: str, tmp_path: Path) -> None:
    command = Path(sys.executable).with_name("cellgennet")
    result = subprocess.run(
        [sys.executable, CASES / script],
        cwd=CASES,
        env=os.environ | {"CASES": str(tmp_path), "CELLGENNET": str(command)},
        capture_output=True,
        encoding="utf-8",
        errors="replace",
        check=False,
    )
    lines = result.stdout.strip().splitlines() or [result.stderr]
    if script in LATER and lines[-1] != "RIGHT":
        pytest.xfail(LATER[script])
    assert lines[-1] == "RIGHT", result.stdout[-2000:]
