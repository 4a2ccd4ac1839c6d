"""Stands for the command line tool in tests of the scripts: all of it but networks.

Segmenting reads colours; training only prints how many nuclei it would see in each image. Started as
``python -m cellgennet_qupath`` is.
"""

from __future__ import annotations

import sys
from pathlib import Path

from cellgennet_qupath import api
from cellgennet_qupath.annotations.reader import read_supervision
from cellgennet_qupath.cli import main
from cellgennet_qupath.core.config import ClassNames
from cellgennet_qupath.qupath.open import open_project
from cellgennet_qupath.segmentation.model import Model
from tests.segmentation.fakes import model


def load_bundle(*_: object, **__: object) -> Model:
    return model()


def print_nuclei(path: Path) -> None:
    with open_project(path, "files") as project:
        for entry in project.entries:
            print(f"SEEN {entry.id} {len(read_supervision(project, entry, ClassNames()).nuclei)}")


if __name__ == "__main__":
    arguments = sys.argv[sys.argv.index("cellgennet_qupath") + 1 :]
    if arguments[0] == "train":
        print_nuclei(Path(arguments[1]))
    else:
        api.load_bundle = load_bundle  # type: ignore[assignment]
        main(arguments)
