"""Pages of the documentation whose commands and programs are run on the sample project."""

from __future__ import annotations

import re
import shlex
import shutil
import subprocess
from pathlib import Path

import numpy as np
from click.testing import CliRunner

from cellgennet_qupath.cli import cellgennet
from cellgennet_qupath.evaluation.label_images import read_labels
from cellgennet_qupath.geometry.contours import label_polygons
from cellgennet_qupath.measure.tile import MeasureOptions, measure_tile
from cellgennet_qupath.nuclei import Nuclei
from cellgennet_qupath.qupath.open import open_project
from cellgennet_qupath.slides.reader import open_slide

DOCS = Path(__file__).resolve().parents[1] / "docs"


def code_blocks(page: Path) -> dict[str, list[tuple[str, str]]]:
    """The code of a page by heading: (language, text) in order."""
    found: dict[str, list[tuple[str, str]]] = {}
    heading = ""
    for match in re.finditer(r"^```(\w+)\n(.*?)^```|^#+ ([^\n]+)", page.read_text("utf-8"), re.M | re.S):
        if match[3]:
            heading = match[3]
            found[heading] = []
        else:
            found[heading].append((match[1], match[2]))
    return found


def segmented_project(sample_project: Path, folder: Path) -> None:
    """Make ``MyProject`` in a folder: the sample project with its true nuclei as detections."""
    shutil.copytree(sample_project, folder / "MyProject", ignore=shutil.ignore_patterns("cellgennet"))
    truth = sample_project.parent / "truth"
    with open_project(folder / "MyProject", "files", writable=True) as project:
        for entry in project.entries:
            assert entry.slide is not None
            labels = read_labels(truth / f"{entry.name.split('.')[0]}.png")
            _, numbers = np.unique(labels, return_inverse=True)
            polygons = label_polygons(numbers.reshape(labels.shape).astype(np.int32))
            nuclei = Nuclei.from_polygons(polygons, np.linspace(0.5, 1, len(polygons)))
            with open_slide(entry.slide) as reader:
                options = MeasureOptions(entry.mpp, project.stains(entry), margin=2)
                table = measure_tile(reader, polygons, options)
            project.write_detections(entry, nuclei.with_measurements(table))


def run_commands(text: str, folder: Path) -> None:
    """Run the lines of ``cellgennet`` in a block of commands as if in a folder, without QuPath."""
    for line in text.splitlines():
        program, *arguments = shlex.split(line, comments=True)
        assert program == "cellgennet"
        places = [
            str(folder / a) if a == "MyProject" or re.search(r"^[\w{}/]+\.\w+$", a) else a for a in arguments
        ]
        done = CliRunner().invoke(cellgennet, [*places, "--backend", "files"])
        assert done.exit_code == 0, done.output


def run_program(folder: Path, *command: str) -> str:
    """Run a program in a folder; what it prints. Fails with what it complained of."""
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, encoding="utf-8", timeout=500)
    assert done.returncode == 0, done.stderr
    return done.stdout
