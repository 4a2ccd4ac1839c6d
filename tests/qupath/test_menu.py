"""The menu in QuPath: its dialogs have the options of the scripts. Run with ``pytest -m qupath``."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from .in_qupath import InQuPath, executable

pytestmark = pytest.mark.qupath

READ = """
def loader = new GroovyClassLoader(getClass().getClassLoader())
loader.parseClass(new File(%s))
def options = loader.loadClass("ScriptOptions")
new File(%s).listFiles().findAll { it.name.startsWith("cellgennet_") }.each { file ->
    def read = options.read(file.getText("UTF-8")).collect { [it.name, it.choices, it.help != ""] }
    println "READ " + groovy.json.JsonOutput.toJson([file.name, read])
}
def labels = loader.loadClass("CellGenNetMenu").LABELS.keySet() as List
println "LABELS " + groovy.json.JsonOutput.toJson(labels)
"""
EXISTING = ["replace-own", "replace-all", "keep"]
CHOICES = {
    ("cellgennet_segment_image.groovy", "existing"): EXISTING,
    ("cellgennet_segment_project.groovy", "existing"): EXISTING,
    ("cellgennet_import_detections.groovy", "existing"): ["", *EXISTING],
    ("cellgennet_correct.groovy", "className"): ["Training", "Validation"],
}


def test_every_option_of_a_script_is_in_its_dialog(sample_project: Path, tmp_path: Path) -> None:
    program = executable()
    if program is None:
        pytest.skip("no QuPath that paquo can find (set PAQUO_QUPATH_DIR)")
    window = InQuPath(program, tmp_path, sample_project)
    said = window.run_alone(
        READ % (json.dumps(str(window.home / "menu.groovy")), json.dumps(str(window.scripts)))
    )
    found = [json.loads(line) for line in re.findall(r"READ (\[.*\])", said)]
    labels = json.loads(re.findall(r"LABELS (\[.*\])", said)[0])
    assert {name for name, _ in found} == {file.name for file in window.scripts.glob("cellgennet_*.groovy")}
    choices: dict[tuple[str, str], object] = {}
    for name, options in found:
        text = (window.scripts / name).read_text(encoding="utf-8")
        written = re.findall(r"^def (\w+) = (?:\".*\"|\[\]|true|false)$", text, re.MULTILINE)
        assert [option for option, _, _ in options] == written, said
        assert all(explained for _, _, explained in options)
        assert set(written) <= set(labels)
        choices |= {(name, option): offered for option, offered, _ in options if offered}
    assert choices == CHOICES
