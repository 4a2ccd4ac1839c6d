"""Runs scripts in real QuPath on a copy of the sample project."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

from cellgennet_qupath.qupath import scripts
from cellgennet_qupath.qupath.java.installation import find_qupath

TINY = """
pseudo: {tiles: 2, tile: 256}
student: {patch: 64, batch: 2, epochs: 1, steps_per_epoch: 4}
"""

_OPENSLIDE = "qupath.lib.images.servers.openslide.OpenslideServerBuilder"


def executable() -> Path | None:
    found = find_qupath()
    if found is None:
        return None
    places = (folder / "bin" / "QuPath" for folder in (found.folder, *found.folder.parents))
    return next((place for place in places if place.is_file()), None)


def copy_project(sample: Path, target: Path) -> None:
    """Copy the sample project; QuPath opens its slides through OpenSlide where it lacks Bio-Formats."""
    shutil.copytree(sample, target)
    file = target / "project.qpproj"
    content = json.loads(file.read_text(encoding="utf-8").replace("file:/quickstart", target.as_uri()))
    found = find_qupath()
    if found is not None and not list(found.folder.glob("qupath-extension-bioformats*.jar")):
        for image in content["images"]:
            builder = image["serverBuilder"]
            builder |= {"providerClassName": _OPENSLIDE, "args": []}
            # It shows full resolution only.
            builder["metadata"]["levels"] = builder["metadata"]["levels"][:1]
    file.write_text(json.dumps(content, indent=2), encoding="utf-8")


class InQuPath:
    """A copy of the sample project, and scripts that run on it in QuPath."""

    def __init__(self, program: Path, folder: Path, sample: Path) -> None:
        self.program = program
        self.project = folder / "Prüfung mit Leerzeichen"
        copy_project(sample, self.project)
        self.scripts = folder / "scr ipts"
        self.home = folder / "höme"
        os.environ["CELLGENNET_HOME"] = str(self.home)
        try:
            scripts.install_scripts(self.scripts, Path(sys.executable))
        finally:
            del os.environ["CELLGENNET_HOME"]
        self.tiny = folder / "tïny.yaml"
        self.tiny.write_text(TINY, encoding="utf-8")

    def start(self, script: Path, *options: str, image: str | None = None, save: bool = False) -> list[str]:
        command = [str(self.program), "script", "-p", str(self.project / "project.qpproj")]
        command += ["-i", image] if image else []
        command += ["-s"] if save else []
        for option in options:
            command += ["-a", option]
        return [*command, str(script)]

    @property
    def environment(self) -> dict[str, str]:
        root = str(Path(__file__).resolve().parents[2])
        return {**os.environ, "CELLGENNET_HOME": str(self.home), "PYTHONPATH": root}

    def run_alone(self, text: str) -> str:
        """The output of a script that opens projects itself."""
        script = self.scripts / "alone.groovy"
        script.write_text(text, encoding="utf-8")
        command = [str(self.program), "script", str(script)]
        done = subprocess.run(command, capture_output=True, text=True, env=self.environment)
        return done.stdout + done.stderr

    def run(self, name: str, *options: str, image: str | None = None, save: bool = False) -> str:
        script = self.scripts / name if "\n" not in name else self.scripts / "check.groovy"
        if "\n" in name:
            script.write_text(name, encoding="utf-8")
        command = self.start(script, *options, image=image, save=save)
        done = subprocess.run(command, capture_output=True, text=True, env=self.environment)
        return done.stdout + done.stderr


def image_names(project: Path) -> list[str]:
    images = json.loads((project / "project.qpproj").read_text(encoding="utf-8"))["images"]
    return [image["imageName"] for image in images]
