"""What an export of millions of nuclei takes: time, memory and size, format by format.

    nice -n 10 python benchmarks/export.py [--nuclei 3000000] [--format csv]... [-o REPORT.json]

Exports a project of one image full of generated nuclei with all measurements, each format in a process of its
own. Wall-clock and processor seconds (user and system), the process's largest memory, and the size of what it
wrote. A line is printed as soon as a format is done. On Linux and macOS.
"""

from __future__ import annotations

import json
import os
import platform
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from datetime import date
from pathlib import Path

import click
import numpy as np
import pandas as pd
import shapely

from cellgennet_qupath.measure.intensity import stain_columns
from cellgennet_qupath.measure.shape import shape_measurements
from cellgennet_qupath.measure.tile import TOUCHES_EDGE
from cellgennet_qupath.nuclei import CHUNK, Nuclei
from cellgennet_qupath.qupath.open import open_project
from cellgennet_qupath.qupath.stains import H_E

FORMATS = ("csv", "tsv.gz", "parquet", "geojson.gz", "h5ad", "zarr")
MPP = (0.25, 0.25)
STEP = 45.0
"""Pixels between neighbours: 500 nuclei per megapixel."""
VERTICES = 24


class Generated:
    """Nuclei on a jittered square grid, made chunk by chunk (see ``nuclei.NucleiChunks``)."""

    def __init__(self, n: int) -> None:
        self._n = n
        self._across = int(np.ceil(np.sqrt(n)))
        self.side = int(self._across * STEP) + 1

    def __len__(self) -> int:
        return self._n

    def chunks(self) -> Iterator[Nuclei]:
        """All nuclei in order."""
        angle = np.linspace(0, 2 * np.pi, VERTICES, endpoint=False)
        for start in range(0, self._n, CHUNK):
            rng = np.random.default_rng(start)
            number = np.arange(start, min(start + CHUNK, self._n))
            n = len(number)
            middle = (np.column_stack([number % self._across, number // self._across]) + 0.5) * STEP
            middle += rng.uniform(-0.1, 0.1, (n, 2)) * STEP
            radius = rng.uniform(11, 17, (n, 1)) * (1 + 0.05 * rng.standard_normal((n, VERTICES)))
            points = middle[:, None] + radius[..., None] * np.column_stack([np.cos(angle), np.sin(angle)])
            polygons = np.asarray(shapely.polygons(points.round(2)), dtype=object)
            stains = pd.DataFrame(rng.uniform(0, 1, (n, 10)).astype(np.float32), columns=stain_columns(H_E))
            edge = pd.DataFrame({TOUCHES_EDGE: np.zeros(n)})
            table = pd.concat([shape_measurements(polygons, MPP), stains, edge], axis=1)
            yield Nuclei.from_polygons(polygons, rng.uniform(0.5, 1, n)).with_measurements(table)


def make_project(folder: Path, n: int, uri: str = "file:/slides/slide.tif") -> Path:
    """A project of one image whose detections were written by this tool."""
    nuclei = Generated(n)
    size = {"value": MPP[0], "unit": "µm"}
    calibration = {"pixelWidth": size, "pixelHeight": size}
    metadata = {
        "name": "slide",
        "width": nuclei.side,
        "height": nuclei.side,
        "pixelCalibration": calibration,
    }
    server = {"builderType": "uri", "uri": uri, "metadata": metadata}
    project = {
        "version": "0.5.1",
        "createTimestamp": 1,
        "modifyTimestamp": 1,
        "uri": "file:/p/project.qpproj",
        "lastID": 1,
        "images": [{"serverBuilder": server, "entryID": 1, "imageName": "slide"}],
    }
    folder.mkdir(exist_ok=True)
    (folder / "project.qpproj").write_text(json.dumps(project), encoding="utf-8")
    with open_project(folder, "files", writable=True) as opened:
        opened.write_detections(opened.entries[0], nuclei)
    return folder


def exported(project: Path, file: Path, *options: str) -> dict[str, float]:
    """What one export in a process of its own takes."""
    command = [sys.executable, "-m", "cellgennet_qupath", "export", str(project), "--backend", "files"]
    begin = time.monotonic()
    child = subprocess.Popen([*command, "-o", str(file), *options], stdout=subprocess.DEVNULL)
    _, status, used = os.wait4(child.pid, 0)
    child.returncode = os.waitstatus_to_exitcode(status)
    if child.returncode:
        raise click.ClickException(f"{file.name}: export ended with {child.returncode}")
    files = file.rglob("*") if file.is_dir() else [file]
    return {
        "seconds": time.monotonic() - begin,
        "processor seconds": used.ru_utime + used.ru_stime,
        "largest memory (GB)": used.ru_maxrss * (1 if sys.platform == "darwin" else 1024) / 1e9,
        "size (MB)": sum(one.stat().st_size for one in files if one.is_file()) / 1e6,
    }


@click.command()
@click.option("--nuclei", default=3_000_000, show_default=True, help="Nuclei to export.")
@click.option("--format", "formats", multiple=True, default=FORMATS, help="Endings to export to.")
@click.option("--neighbours/--no-neighbours", default=True, help="Also with --neighbours, to parquet.")
@click.option("--summary/--no-summary", default=True, help="Also with --summary, to csv.")
@click.option("--project", "kept", type=click.Path(path_type=Path), help="Make or take the project here.")
@click.option("-o", "--output", type=click.Path(path_type=Path), help="Write the numbers as JSON.")
def main(
    nuclei: int,
    formats: tuple[str, ...],
    neighbours: bool,
    summary: bool,
    kept: Path | None,
    output: Path | None,
) -> None:
    """Measure what exporting costs."""
    machine = f"{platform.system()} {platform.machine()}, {os.cpu_count()} processors"
    report: dict[str, object] = {"date": date.today().isoformat(), "machine": machine, "nuclei": nuclei}
    click.echo(", ".join(str(value) for value in report.values()))
    with tempfile.TemporaryDirectory(dir=kept and kept.parent) as name:
        folder = Path(name)
        project = kept or folder / "project"
        if not project.exists():
            make_project(project, nuclei)
        runs: list[tuple[str, tuple[str, ...]]] = [(f"all.{ending}", ()) for ending in formats]
        runs += [("near.parquet", ("--neighbours",))] if neighbours else []
        runs += [("summary.csv", ("--summary",))] if summary else []
        for file, options in runs:
            numbers = exported(project, folder / file, *options)
            what = " ".join([file.split(".", 1)[1], *options])
            report[what] = numbers
            click.echo(f"{what:24s}" + "".join(f"  {part} {value:.2f}" for part, value in numbers.items()))
    if output is not None:
        output.write_text(json.dumps(report, indent=1, ensure_ascii=False), encoding="utf-8")


if __name__ == "__main__":
    main()
