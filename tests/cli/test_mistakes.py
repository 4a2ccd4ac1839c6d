"""Mistakes that people make at the keyboard are answered with what they probably meant."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from cellgennet_qupath.core.config_file import config_from
from cellgennet_qupath.core.errors import ConfigError

from ..helpers import invoke


@pytest.mark.parametrize(
    ("option", "value", "meant"),
    [
        ("--mpp", "0,25", "0.25"),
        ("--cells", "3,5", "3.5"),
        ("--threshold", ",5", "0.5"),
        ("--scale", "0,4", "0.4"),
    ],
)
def test_a_decimal_comma(
    option: str, value: str, meant: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    code, _, err = invoke(capsys, "segment", tmp_path, option, value)
    assert code == 2
    assert f"'{value}' has a decimal comma: write {meant}" in err


def test_other_numbers_are_read_as_before(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for value in ("many", "1,000,000", ",", "nan"):
        code, _, err = invoke(capsys, "segment", tmp_path, "--mpp", value)
        assert code == 2
        assert "decimal comma" not in err


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        (
            {"student": {"widht": 3}},
            "`student.widht`: there is no such setting; did you mean `student.width`?",
        ),
        ({"classesx": {}}, "did you mean `classes`?"),
        ({"epochs": 3}, "did you mean `teacher.epochs` or `student.epochs`?"),
        ({"loss": {"epochs": 3}}, "did you mean `teacher.epochs` or `student.epochs`?"),
        ({"student": {"qqq": 3}}, "`student.qqq`: there is no such setting."),
        ({"mpp": "0,25"}, "`mpp`: 0,25 has a decimal comma; write 0.25"),
    ],
)
def test_a_misspelt_setting(settings: object, words: str) -> None:
    with pytest.raises(ConfigError) as raised:
        config_from(settings, "c.yaml")
    assert words in str(raised.value)


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_a_shell_completes_commands_and_options(shell: str) -> None:
    def answer(variables: dict[str, str]) -> str:
        return subprocess.run(
            [sys.executable, "-m", "cellgennet_qupath"],
            env={**os.environ, **variables},
            capture_output=True,
            encoding="utf-8",
            timeout=120,
            check=True,
        ).stdout

    assert "_CELLGENNET_COMPLETE" in answer({"_CELLGENNET_COMPLETE": f"{shell}_source"})
    words = {"_CELLGENNET_COMPLETE": f"{shell}_complete", "COMP_WORDS": "cellgennet segment --thre"}
    assert "--threshold" in answer({**words, "COMP_CWORD": "--thre" if shell == "fish" else "2"})


def test_a_misspelt_command(capsys: pytest.CaptureFixture[str]) -> None:
    code, _, err = invoke(capsys, "segmentt")
    assert code == 2
    assert "Did you mean segment?" in err
    assert "Did you mean" not in invoke(capsys, "fly")[2]
    assert "Did you mean list? To list the bundles" in invoke(capsys, "models", "lst")[2]
