"""How fast nuclei get into a project: in bulk as this package does it, and one by one through paquo.

    python benchmarks/writeback.py PROJECT [-n 100000] [--one-by-one] [--segmented] [--turns 3]

PROJECT is copied first; its first image that was opened gets the nuclei. With --segmented the image holds as
many others of an earlier run, which they replace. A QuPath must be found (PAQUO_QUPATH_DIR).
For a million give Java 6 GB: PAQUO_JAVA_OPTS='["-Xmx6g"]' python benchmarks/writeback.py PROJECT -n 1000000

"bulk" is the whole of ``write_detections``: the old file read, columns to Java, objects made and added, the
file written (these two are "add_and_save"), read back and compared object by object, and moved. "paquo" adds
the same nuclei by ``add_detection`` with their measurements and saves; nothing is checked there. With
--segmented it first removes the others. Both are measured after Java has started, in turn, each time in a new
process; of several turns the one of the median time is shown, with the least and most seconds.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import stat
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import shapely

from cellgennet_qupath.nuclei import Nuclei
from cellgennet_qupath.qupath.java import jvm
from cellgennet_qupath.qupath.java import objects as javaobjects
from cellgennet_qupath.qupath.open import open_project

VERTICES, MEASUREMENTS = 24, 10


def many_nuclei(n: int, seed: int = 0) -> Nuclei:
    """n outlines of 24 vertices in rows and columns, with 10 measurements (the probability is one)."""
    random = np.random.default_rng(seed)
    side = int(np.ceil(np.sqrt(n)))
    centres = np.column_stack(np.divmod(np.arange(n), side))[:, ::-1] * 30.0 + 20
    angles = np.linspace(0, 2 * np.pi, VERTICES, endpoint=False)
    radius = random.uniform(6, 12, (n, VERTICES))
    xy = centres[:, None] + radius[..., None] * np.stack([np.cos(angles), np.sin(angles)], axis=1)
    values = random.uniform(0, 100, (n, MEASUREMENTS - 1))
    table = pd.DataFrame(values, columns=[f"Measurement {k}" for k in range(1, MEASUREMENTS)])
    return Nuclei.from_polygons(shapely.polygons(xy), random.uniform(0.5, 1, n)).with_measurements(table)


@contextmanager
def copied(project: Path) -> Iterator[Path]:
    """A copy of a project that may be written to."""
    with tempfile.TemporaryDirectory(prefix="writeback-") as folder:
        target = Path(folder) / "project"
        shutil.copytree(project, target, ignore=shutil.ignore_patterns("cellgennet", "slides"))
        for path in [target, *target.rglob("*")]:
            path.chmod(path.stat().st_mode | stat.S_IWUSR)
        yield target


def timed(action: Callable[[], object]) -> dict[str, float]:
    """Wall and processor seconds of an action."""
    wall, before = time.perf_counter(), os.times()
    action()
    after = os.times()
    cpu = after.user + after.system - before.user - before.system
    return {"seconds": round(time.perf_counter() - wall, 2), "cpu_seconds": round(cpu, 2)}


@contextmanager
def stopwatch() -> Iterator[list[float]]:
    """Seconds that adding and saving take, without what is read and compared before and after."""
    spent: list[float] = []

    def watched(action: Callable[..., Any]) -> Callable[..., Any]:
        def timed(*arguments: Any) -> Any:
            begin = time.perf_counter()
            try:
                return action(*arguments)
            finally:
                spent.append(time.perf_counter() - begin)

        return timed

    add, write = javaobjects.add, jvm.compiled("ObjectTransfer").write

    class Watched:
        """``ObjectTransfer`` with a watch on writing."""

        def __getattr__(self, name: str) -> Any:
            return watched(write) if name == "write" else getattr(bulk_class, name)

    bulk_class, compiled = jvm.compiled("ObjectTransfer"), jvm.compiled
    javaobjects.add = watched(add)
    setattr(jvm, "compiled", lambda name: Watched() if name == "ObjectTransfer" else compiled(name))  # noqa: B010
    try:
        yield spent
    finally:
        javaobjects.add = add
        setattr(jvm, "compiled", compiled)  # noqa: B010


def bulk(folder: Path, nuclei: Nuclei) -> dict[str, float]:
    """Written by this package."""
    with open_project(folder, "qupath", writable=True) as project:
        entry = next(entry for entry in project.entries if entry.opened)
        jvm.compiled("ObjectTransfer")
        before = project.counts(entry).detections - len(project.detections(entry))
        place = folder / "data" / entry.id / "data.qpdata"
        old = place.stat().st_size
        with stopwatch() as spent:
            figures = timed(lambda: project.write_detections(entry, nuclei))
        figures["add_and_save"] = round(sum(spent), 2)
        if project.counts(entry).detections != before + len(nuclei):
            raise SystemExit("not all nuclei were written")
        figures["bytes_per_nucleus"] = round((place.stat().st_size - old) / len(nuclei), 1)
        figures["read_back_seconds"] = timed(lambda: project.detections(entry))["seconds"]
    return figures


def one_by_one(folder: Path, nuclei: Nuclei, slides: dict[str, str]) -> dict[str, float]:
    """Written by paquo, object by object; slides: where images are, by the address in the project."""
    from paquo.projects import QuPathProject

    jvm.start()
    names = list(nuclei.measurements.columns)
    values = nuclei.measurements.to_numpy()
    project = QuPathProject(folder, mode="r+")
    project.update_image_paths(uri2uri=slides)
    entry = next(image for image in project.images if image.java_object.hasImageData())
    hierarchy = entry.hierarchy

    def add() -> None:
        hierarchy.detections.clear()
        for row, outline in enumerate(nuclei.polygons):
            told = dict(zip(names, values[row].tolist(), strict=True))
            told["Detection probability"] = float(nuclei.probability[row])
            hierarchy.add_detection(outline, measurements=told)

    adding, saving = timed(add), timed(entry.save)
    return {
        "add_seconds": adding["seconds"],
        "save_seconds": saving["seconds"],
        "seconds": round(adding["seconds"] + saving["seconds"], 2),
        "cpu_seconds": round(adding["cpu_seconds"] + saving["cpu_seconds"], 2),
    }


def measured(arguments: argparse.Namespace) -> dict[str, float]:
    """The figures of one way, in this process."""
    folder = arguments.copy
    if arguments.way in ("earlier", "bulk"):
        return bulk(folder, many_nuclei(arguments.n, seed=int(arguments.way == "earlier")))
    with open_project(arguments.project, "files") as project:
        slides = {e.uri: e.slide.resolve().as_uri() for e in project.entries if e.slide}
    return one_by_one(folder, many_nuclei(arguments.n), slides)


def in_another_process(arguments: argparse.Namespace, way: str, folder: Path) -> dict[str, float]:
    """The figures of one way in a process of its own: what runs second in one is warm."""
    command = [sys.executable, __file__, str(arguments.project), "-n", str(arguments.n)]
    command += ["--way", way, "--copy", str(folder)]
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)
    figures: dict[str, float] = json.loads(done.stdout.splitlines()[-1])
    return figures


def turn(arguments: argparse.Namespace, way: str) -> dict[str, float]:
    """The figures of one way on a new copy of the project."""
    with copied(arguments.project) as folder:
        if arguments.segmented:
            in_another_process(arguments, "earlier", folder)
        return in_another_process(arguments, way, folder)


def main() -> None:
    """Measure and print figures as JSON."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("project", type=Path)
    parser.add_argument("-n", type=int, default=100_000)
    parser.add_argument("--one-by-one", action="store_true", help="measure paquo too")
    parser.add_argument("--segmented", action="store_true", help="replace the nuclei of an earlier run")
    parser.add_argument("--turns", type=int, default=1)
    parser.add_argument("--way", choices=["earlier", "bulk", "paquo"], help=argparse.SUPPRESS)
    parser.add_argument("--copy", type=Path, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.way:
        print(json.dumps(measured(arguments)))
        return
    result: dict[str, object] = {"nuclei": arguments.n, "vertices": VERTICES, "measurements": MEASUREMENTS}
    ways = ["bulk", "paquo"] if arguments.one_by_one else ["bulk"]
    turns = [{way: turn(arguments, way) for way in ways} for _ in range(arguments.turns)]
    figures = {}
    for way in ways:
        ranked = sorted((one[way] for one in turns), key=lambda told: told["seconds"])
        figures[way] = ranked[len(ranked) // 2]
        figures[way] |= {"least_seconds": ranked[0]["seconds"], "most_seconds": ranked[-1]["seconds"]}
    result |= figures
    if arguments.one_by_one:
        result["times_faster"] = round(figures["paquo"]["seconds"] / figures["bulk"]["add_and_save"], 1)
        result["times_faster_with_check"] = round(figures["paquo"]["seconds"] / figures["bulk"]["seconds"], 1)
    print(json.dumps(result, indent=2))


if __name__ == "__main__":
    main()
