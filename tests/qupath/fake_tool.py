"""Stands for the command line tool in tests of the scripts: nuclei without a network, and a log of requests.

Started as ``python -m cellgennet_qupath`` is; the answers have the same form. Each image has ten times as
many nuclei as its id says; an image whose id is in $FAKE_FAILS fails.
"""

from __future__ import annotations

import itertools
import json
import os
import signal
import sys
import time
from pathlib import Path
from types import FrameType

import numpy as np
import shapely

from cellgennet_qupath.nuclei import Nuclei
from cellgennet_qupath.qupath.open import open_project
from cellgennet_qupath.qupath.project import Project, Within, WriteOptions


def end_slowly(number: int, frame: FrameType | None) -> None:
    """As a tool that closes slides and releases the project before it ends."""
    time.sleep(2)
    sys.exit(130)


def main(arguments: list[str]) -> int:
    signal.signal(signal.SIGTERM, end_slowly)
    log = Path(os.environ["FAKE_LOG"])
    with log.open("a", encoding="utf-8") as file:
        file.write(f"start {' '.join(arguments)}\n")
    if arguments[0] == "train":
        print("trained")
        return 0
    ids = [value for key, value in itertools.pairwise(arguments) if key == "--within-id"]
    with open_project(Path(arguments[1]), "files", writable=True) as project:
        for line in sys.stdin:
            with log.open("a", encoding="utf-8") as file:
                file.write(f"asked {line}")
            print(f"[{line.strip()}] segmenting", file=sys.stderr, flush=True)
            time.sleep(float(os.environ.get("FAKE_SECONDS", "0")))
            print(json.dumps(answer(project, line.strip(), tuple(ids))), flush=True)
    return 0


def answer(project: Project, identifier: str, ids: tuple[str, ...]) -> dict[str, object]:
    entry = next(entry for entry in project.entries if entry.id == identifier)
    told: dict[str, object] = {"id": entry.id, "name": entry.name, "detections": 0, "reason": ""}
    if identifier in os.environ.get("FAKE_FAILS", "").split():
        return told | {"status": "failed", "reason": "its slide was not found"}
    count = 10 * int(identifier)
    nuclei = Nuclei.from_polygons(
        [shapely.box(20 * k, 9, 20 * k + 7, 19) for k in range(count)], np.full(count, 0.9)
    )
    if ids:
        names = {annotation.id: annotation for annotation in project.annotations(entry)}
        shapes = shapely.union_all([names[one].geometry for one in ids])
        nuclei = nuclei.take(shapely.intersects(shapes, shapely.centroid(nuclei.polygons)).nonzero()[0])
    written = project.write_detections(entry, nuclei, WriteOptions(within=Within(ids=ids)))
    return told | {"status": "done", "detections": written.count}


if __name__ == "__main__":
    sys.exit(main(sys.argv[sys.argv.index("cellgennet_qupath") + 1 :]))
