"""Saving with a QuPath older than the one that wrote the project is refused, unless the user allows it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from cellgennet_qupath import cli
from cellgennet_qupath.core.errors import QuPathError
from cellgennet_qupath.qupath.java.backend import refuse_older
from cellgennet_qupath.qupath.lock import RECORD_FILE
from cellgennet_qupath.qupath.open import open_project
from tests.helpers import invoke, messages, project_hashes
from tests.qupath.backends import needs_qupath, nuclei

NEWER = "99.1.0"


@pytest.mark.parametrize(
    ("version", "wrote"), [("0.5.1", "0.6.0"), ("0.5.1", "0.7.0"), ("0.7.0", "v0.10.0"), ("", "0.5.1")]
)
def test_an_older_one_is_refused(version: str, wrote: str) -> None:
    with pytest.raises(QuPathError, match=r"is version .* wrote the project.*--older-qupath") as refused:
        refuse_older(version, wrote)
    assert wrote in str(refused.value)
    assert (version or "unknown") in str(refused.value)


@pytest.mark.parametrize(
    ("version", "wrote"),
    [("0.7.0", "0.5.1"), ("0.5.1", "0.5.1"), ("0.5.0", "0.5.1"), ("0.10.0", "0.7.0"), ("0.7.0", "")],
)
def test_the_same_or_a_newer_one_is_not(version: str, wrote: str) -> None:
    refuse_older(version, wrote)


@pytest.mark.parametrize("command", ["segment", "suggest", "restore"])
def test_every_command_that_saves_has_the_option_that_is_named(
    command: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.run([command, "--help"]) == 0
    assert "--older-qupath" in capsys.readouterr().out


def newer(project: Path) -> Path:
    """The project as if a later QuPath had written it."""
    file = project / "project.qpproj"
    content = json.loads(file.read_text(encoding="utf-8"))
    file.write_text(json.dumps({**content, "version": NEWER}), encoding="utf-8")
    return project


@pytest.mark.qupath
def test_nothing_is_saved_or_locked_before_it_is_allowed(
    project: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    needs_qupath()
    newer(project)
    before = project_hashes(project, times=True)
    for command in (["segment"], ["suggest"], ["restore"]):
        code, out, err = invoke(capsys, *command, project, "--backend", "qupath")
        assert (code, out) == (1, "")
        (line,) = messages(err)
        assert NEWER in line
    assert not (project / "cellgennet" / RECORD_FILE).exists()
    with open_project(project, "qupath") as reading:
        assert len(reading.annotations(reading.entries[0])) == 2
    assert project_hashes(project, times=True) == before
    with open_project(project, "qupath", writable=True, older_qupath=True) as allowed:
        entry = allowed.entries[0]
        allowed.write_detections(entry, nuclei())
        assert len(allowed.detections(entry)) == len(nuclei())
