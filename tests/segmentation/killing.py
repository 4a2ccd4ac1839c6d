"""A run to be killed: ``python -m tests.segmentation.killing FOLDER SECONDS``, SECONDS per tile.

It segments FOLDER/slide.png, prints "started", writes FOLDER/result.json at the end, and exits with 130
when interrupted.
"""

from __future__ import annotations

import json
import signal
import sys
import time
from pathlib import Path

from cellgennet_qupath.core.errors import Interrupted
from cellgennet_qupath.qupath.project import ImageEntry
from cellgennet_qupath.segmentation.batch import segment_project
from cellgennet_qupath.segmentation.options import SegmentOptions

from .fakes import ColourReader, model
from .projects import MemoryProject, outlines


def main(folder: Path, seconds: float) -> int:
    def slowly(call: int) -> None:
        if call == 0:
            print("started", flush=True)
        time.sleep(seconds)

    project = MemoryProject(folder)
    slide = folder / "slide.png"
    project.entries = (ImageEntry("1", "slide", slide.as_uri(), slide, None, (0.25, 0.25)),)
    try:
        segment_project(project, model(ColourReader(before=slowly)), SegmentOptions(tile=96))
    except Interrupted as error:
        print(error, file=sys.stderr)
        return error.exit_code
    nuclei = project.found["1"]
    rows = [outlines(nuclei), nuclei.probability.tolist(), nuclei.ids.tolist()]
    rows.append(nuclei.measurements.to_numpy().tolist())
    (folder / "result.json").write_text(json.dumps(rows), encoding="utf-8")
    return 0


if __name__ == "__main__":
    # A process started in the background of a script inherits that Ctrl-C is ignored.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    sys.exit(main(Path(sys.argv[1]), float(sys.argv[2])))
