"""How fast a slide is segmented, and on how much memory: this tool and a StarDist.

Slides of several sizes are laid out of real images. Every contender runs in a process of its own, in
turns, from the file on disk to outlines on disk:

- ``ours``: the student as ``cellgennet segment`` runs it, tiles to Parquet, then all of them in order to the
  GeoJSON file that QuPath imports;
- ``before``: the same of another checkout of this project, with the model that comes with it (``--before``);
- ``stardist``: ``predict_instances_big`` of a bundle's teacher (``--stardist``), blocks from the same reader,
  no label image, outlines to one NumPy file;
- ``stardist-bf16``: the same with TensorFlow's rewrite to bfloat16.

    git worktree add ../before 807263f
    python benchmarks/throughput.py run DATA -m nuclei-he.cgn -o OUT --before ../before --stardist other.cgn

Then, one after the other on one thread of control, the processor seconds of each stage of ours. Finished
turns are kept in ``OUT/runs.json``: broken off and called again, it goes on.
"""

from __future__ import annotations

import json
import os
import platform
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import click
import numpy as np
from mosaic import pictures, write_mosaic

T = TypeVar("T")

MPP = 0.25
CONTENDERS = ("ours", "before", "stardist", "stardist-bf16")
_BLOCK, _OVERLAP, _CONTEXT = 2048, 128, 128


@click.group()
def cli() -> None:
    """Measure throughput; see the module's text."""


@cli.command()
@click.argument("data", type=click.Path(path_type=Path, exists=True, file_okay=False))
@click.option("-m", "--model", type=click.Path(path_type=Path), required=True, help="Bundle with a student.")
@click.option("--stardist", type=click.Path(path_type=Path, exists=True), help="Bundle with a teacher.")
@click.option("--before", type=click.Path(path_type=Path, exists=True), help="Another checkout.")
@click.option("-o", "--out", type=click.Path(path_type=Path), default=Path("throughput"), show_default=True)
@click.option("--size", "sizes", type=float, multiple=True, default=(100, 400, 1600), help="Megapixels.")
@click.option("--compare", type=float, default=400, show_default=True, help="Size at which all compete.")
@click.option("--repeats", type=int, default=3, show_default=True)
@click.option("--threads", type=int, default=0, show_default=True)
@click.option("--tile", type=int, default=2048, show_default=True)
@click.option("--slides", type=click.Path(path_type=Path), help="Where slides are kept; default: OUT.")
def run(
    data: Path,
    model: Path,
    stardist: Path | None,
    before: Path | None,
    out: Path,
    sizes: tuple[float, ...],
    compare: float,
    repeats: int,
    threads: int,
    tile: int,
    slides: Path | None,
) -> None:
    """Make the slides from the images below DATA, let all run in turns, write JSON and Markdown."""
    out.mkdir(parents=True, exist_ok=True)
    made: dict[float, Path] = {}
    squares = pictures(data)
    for size in sorted({*sizes, compare}):
        made[size] = (slides or out) / f"mosaic-{size:g}.ome.tif"
        made[size].parent.mkdir(parents=True, exist_ok=True)
        if not made[size].exists():
            write_mosaic(made[size], round((size * 1e6) ** 0.5), squares, MPP, seed=0)
    kept = out / "runs.json"
    runs: list[dict[str, Any]] = json.loads(kept.read_text(encoding="utf-8")) if kept.is_file() else []
    done = {(run["repeat"], run["size"], run["contender"]) for run in runs}
    competing = [
        name
        for name, there in zip(CONTENDERS, (model, before, stardist, stardist), strict=True)
        if there is not None
    ]
    for repeat in range(repeats):
        for size in made:
            for name in competing if size == compare else competing[:1]:
                if (repeat, size, name) in done:
                    continue
                if name == "before" and before is not None:
                    told = _one_before(before, made[size], threads, tile)
                else:
                    bundle = model if name == "ours" else stardist
                    told = _own_process("one", name, made[size], bundle, threads, tile)
                runs.append({"size": size, "repeat": repeat, **told})
                kept.write_text(json.dumps(runs, indent=1), encoding="utf-8")
                click.echo(json.dumps(runs[-1]), err=True)
    stages = _own_process("stages", made[min(made)], model, threads, tile)
    report = {"machine": machine(), "runs": runs, "stages": stages, "threads": threads, "tile": tile}
    (out / "throughput.json").write_text(json.dumps(report, indent=1), encoding="utf-8")
    text = markdown(report, compare)
    (out / "throughput.md").write_text(text, encoding="utf-8")
    click.echo(text)


def _own_process(*arguments: object) -> dict[str, Any]:
    command = [sys.executable, __file__, *map(str, arguments)]
    done = subprocess.run(command, stdout=subprocess.PIPE, check=True, encoding="utf-8")
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return found


def _one_before(checkout: Path, slide: Path, threads: int, tile: int) -> dict[str, Any]:
    """One run of another checkout, by its own copy of this file."""
    (model,) = (checkout / "cellgennet_qupath" / "pretrained").glob("*.cgn")
    script = checkout / "benchmarks" / Path(__file__).name
    command = [sys.executable, script, "one", "ours", slide.resolve(), model, threads, tile]
    paths = os.pathsep.join(str(path) for path in (checkout, script.parent))
    done = subprocess.run(
        [str(part) for part in command],
        stdout=subprocess.PIPE,
        check=True,
        encoding="utf-8",
        cwd=checkout,
        env={**os.environ, "PYTHONPATH": paths},
    )
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return {**found, "contender": "before"}


def machine() -> dict[str, Any]:
    """What it was measured on."""
    from cellgennet_qupath.bundle import versions

    return {"processor": platform.processor() or platform.machine(), "cores": os.cpu_count(), **versions()}


@cli.command()
@click.argument("contender", type=click.Choice([name for name in CONTENDERS if name != "before"]))
@click.argument("slide", type=click.Path(path_type=Path))
@click.argument("model", type=click.Path(path_type=Path))
@click.argument("threads", type=int)
@click.argument("tile", type=int)
def one(contender: str, slide: Path, model: Path, threads: int, tile: int) -> None:
    """One run of one contender, measured from inside: JSON on stdout. Loading models is not counted."""
    with tempfile.TemporaryDirectory() as folder:
        if contender == "ours":
            told = _ours(slide, model, threads, tile, Path(folder))
        else:
            told = _stardist(slide, model, threads, contender.endswith("bf16"), Path(folder))
    click.echo(json.dumps({"contender": contender, **told}))


class _Clock:
    def __init__(self) -> None:
        self.wall, self.cpu = time.perf_counter(), time.process_time()

    def told(self, pixels: int, nuclei: int) -> dict[str, Any]:
        seconds = time.perf_counter() - self.wall
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / (
            1024 if sys.platform != "darwin" else 2**20
        )
        return {
            "megapixels": pixels / 1e6,
            "seconds": round(seconds, 2),
            "cpu_seconds": round(time.process_time() - self.cpu, 2),
            "nuclei": nuclei,
            "mp_per_s": round(pixels / 1e6 / seconds, 3),
            "nuclei_per_s": round(nuclei / seconds, 1),
            "peak_mb": round(peak),
        }


def _task(reader: Any, model: Path, threads: int) -> Any:
    from cellgennet_qupath.bundle import load_bundle
    from cellgennet_qupath.segmentation.model import Model
    from cellgennet_qupath.segmentation.plan import Area
    from cellgennet_qupath.segmentation.task import SlideTask
    from cellgennet_qupath.slides.normalisation import estimate
    from cellgennet_qupath.slides.tissue import tissue_mask

    student = Model.from_bundle(load_bundle(model), threads)
    begin = _Clock()
    downsample = (student.mpp or MPP) / MPP
    tissue = tissue_mask(reader)
    normalisation = estimate(reader, downsample, student.normalisation, tissue)
    return begin, SlideTask(reader, student, normalisation, downsample, (MPP, MPP), Area(tissue))


def _tiles(task: Any, tile: int) -> Any:
    from cellgennet_qupath.segmentation.plan import plan_tiles

    return plan_tiles(task.pixels.width, task.pixels.height, task.downsample, task.model, task.area, tile)


def _ours(slide: Path, model: Path, threads: int, tile: int, folder: Path) -> dict[str, Any]:
    from cellgennet_qupath.qupath.formats.detections import write_detections
    from cellgennet_qupath.segmentation.checkpoint import Checkpoint
    from cellgennet_qupath.segmentation.slide import segment_slide
    from cellgennet_qupath.slides.reader import open_slide

    with open_slide(slide) as reader:
        clock, task = _task(reader, model, threads)
        found = segment_slide(task, _tiles(task, tile), Checkpoint(folder / "run", {}))
        written = write_detections(folder / "nuclei.geojson.gz", found)
        told = clock.told(reader.width * reader.height, written)
        return {**told, "device": task.model.predictor.device}


def _stardist(slide: Path, model: Path, threads: int, bf16: bool, folder: Path) -> dict[str, Any]:
    import contextlib

    from cellgennet_qupath.bundle import load_bundle
    from cellgennet_qupath.slides.normalisation import estimate
    from cellgennet_qupath.slides.reader import open_slide
    from cellgennet_qupath.slides.tissue import tissue_mask

    bundle = load_bundle(model)
    with contextlib.redirect_stdout(sys.stderr):
        import tensorflow as tf
        from stardist.models import StarDist2D

        if threads:
            tf.config.threading.set_intra_op_parallelism_threads(threads)
        tf.config.optimizer.set_experimental_options({"auto_mixed_precision_onednn_bfloat16": bf16})
        network = StarDist2D(None, name=bundle.teacher.name, basedir=str(bundle.teacher.parent))
        limits = bundle.card.teacher_thresholds
        with open_slide(slide) as reader:
            clock = _Clock()
            config = bundle.config.normalisation
            image = _Normalised(reader, estimate(reader, 1.0, config, tissue_mask(reader)))
            _, outlines = network.predict_instances_big(
                image,
                axes="YXC",
                block_size=(min(_BLOCK, reader.height), min(_BLOCK, reader.width), 3),
                min_overlap=(_OVERLAP, _OVERLAP, 0),
                context=(_CONTEXT, _CONTEXT, 0),
                labels_out=False,
                show_progress=False,
                prob_thresh=limits["prob"],
                nms_thresh=limits["nms"],
            )
            np.savez(folder / "outlines.npz", coord=outlines["coord"], prob=outlines["prob"])
            return clock.told(reader.width * reader.height, len(outlines["prob"]))


class _Normalised:
    """A slide as StarDist slices an array; normalised as for the student."""

    ndim = 3
    dtype = np.dtype(np.float32)

    def __init__(self, reader: Any, normalisation: Any) -> None:
        self._reader, self._normalisation = reader, normalisation
        self.shape = (reader.height, reader.width, 3)

    def __getitem__(self, places: tuple[slice, ...]) -> Any:
        (top, bottom, _), (left, right, _) = (
            place.indices(length) for place, length in zip(places[:2], self.shape[:2], strict=True)
        )
        return self._normalisation.apply(self._reader.read_grid(left, top, right - left, bottom - top, 1.0))


@cli.command()
@click.argument("slide", type=click.Path(path_type=Path))
@click.argument("model", type=click.Path(path_type=Path))
@click.argument("threads", type=int)
@click.argument("tile", type=int)
def stages(slide: Path, model: Path, threads: int, tile: int) -> None:
    """Processor seconds per megapixel of each stage, one stage after the other: JSON on stdout."""
    from cellgennet_qupath.qupath.formats.detections import write_detections
    from cellgennet_qupath.segmentation.assemble import assemble
    from cellgennet_qupath.segmentation.blocks import block_grid, map_windows, read_blocks
    from cellgennet_qupath.segmentation.checkpoint import Checkpoint
    from cellgennet_qupath.segmentation.slide import find_nuclei
    from cellgennet_qupath.slides.reader import open_slide

    spent: dict[str, float] = {}

    def timed(name: str, work: Callable[[], T]) -> T:
        begin = time.process_time()
        done = work()
        spent[name] = time.process_time() - begin
        return done

    with open_slide(slide) as reader, tempfile.TemporaryDirectory() as folder:
        _, task = _task(reader, model, threads)
        tiles, grid = list(_tiles(task, tile)), block_grid(task)
        store = Checkpoint(Path(folder) / "run", {})
        # Each stage is done with the whole slide before the next begins: at work they overlap.
        blocks = timed("reading", lambda: list(read_blocks(task, grid, tiles)))
        windows = timed("network", lambda: list(map_windows(task, grid, iter(blocks))))
        found = timed(
            "decoding, outlines, measurements",
            lambda: [(window.tile, find_nuclei(task, window)) for window in windows],
        )

        def keep() -> None:
            for place, nuclei in found:
                store[place.index] = nuclei

        def write() -> int:
            ordered = assemble(task, store, [place.index for place in tiles], "")
            return write_detections(Path(folder) / "nuclei.geojson.gz", ordered)

        timed("tiles to disk", keep)
        timed("all together to GeoJSON", write)
        megapixels = reader.width * reader.height / 1e6
    per_megapixel = {name: round(seconds / megapixels, 4) for name, seconds in spent.items()}
    click.echo(json.dumps({"megapixels": megapixels, "tiles": len(tiles), "cpu_s_per_mp": per_megapixel}))


def markdown(report: dict[str, Any], compare: float) -> str:
    """Tables of medians; of the speed also the lowest and the highest."""
    lines = [
        "| slide, MP | contender | MP/s | nuclei/s | CPU s/MP | peak MB | nuclei | runs |",
        "|---|---|---|---|---|---|---|---|",
    ]
    cost: dict[tuple[float, str], float] = {}
    work: dict[tuple[float, str], float] = {}
    peak: dict[float, float] = {}
    for size in sorted({run["size"] for run in report["runs"]}):
        for name in CONTENDERS:
            runs = [r for r in report["runs"] if (r["size"], r["contender"]) == (size, name)]
            if not runs:
                continue
            middle = {
                key: statistics.median(r[key] for r in runs)
                for key in ("mp_per_s", "nuclei_per_s", "cpu_seconds", "peak_mb", "nuclei", "megapixels")
            }
            cost[size, name] = 1 / middle["mp_per_s"]
            work[size, name] = middle["cpu_seconds"] / middle["megapixels"]
            if name == "ours":
                peak[size] = middle["peak_mb"]
            speeds = [r["mp_per_s"] for r in runs]
            lines.append(
                f"| {middle['megapixels']:.0f} | {name} | "
                f"{middle['mp_per_s']:.2f} ({min(speeds):.2f} to {max(speeds):.2f}) | "
                f"{middle['nuclei_per_s']:.0f} | {middle['cpu_seconds'] / middle['megapixels']:.3f} | "
                f"{middle['peak_mb']:.0f} | {middle['nuclei']:.0f} | {len(runs)} |"
            )
    lines.append("")
    for name in CONTENDERS[1:]:
        if (compare, name) in cost:
            wall, cpu = (each[compare, name] / each[compare, "ours"] for each in (cost, work))
            lines.append(
                f"- {name} takes {wall:.1f} times as long as ours, and {cpu:.1f} times its CPU time."
            )
    small, large = min(peak), max(peak)
    growth = cost[large, "ours"] / cost[small, "ours"]
    lines.append(
        f"- A megapixel of {large:g} MP costs {growth:.2f} of one of {small:g} MP; "
        f"the peak of memory is {peak[large] / peak[small]:.2f} of that there."
    )
    lines += ["", "| stage of ours | CPU s/MP |", "|---|---|"]
    lines += [f"| {name} | {cost} |" for name, cost in report["stages"]["cpu_s_per_mp"].items()]
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    cli()
