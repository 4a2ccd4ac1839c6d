"""Whether a slide's nuclei depend on how it is cut: tiles of several sizes, in random order, on two workers.

    python benchmarks/seams.py SLIDE -m BUNDLE [--tile 2048]... [-o OUT]

Everything is held against the first tile size in order on one process: how many nuclei have a partner of IoU
0.95 or more there, how many are equal in outline, probability, id and every measurement, and how many overlap
another nucleus of the same run with an IoU over 0.2 (a nucleus found twice at a seam).
"""

from __future__ import annotations

import json
import tempfile
from pathlib import Path

import click
import numpy as np
import shapely
from throughput import _task, _tiles, machine

from cellgennet_qupath.nuclei import Nuclei
from cellgennet_qupath.segmentation.checkpoint import Checkpoint
from cellgennet_qupath.segmentation.slide import segment_slide
from cellgennet_qupath.segmentation.workers import local_workers, segment_slide_distributed
from cellgennet_qupath.slides.reader import open_slide


def paired(found: Nuclei, other: Nuclei, least: float) -> int:
    """How many nuclei have a partner among the others with at least this IoU."""
    rows, partners = shapely.STRtree(other.polygons).query(found.polygons, predicate="intersects")
    return len(np.unique(rows[_iou(found.polygons[rows], other.polygons[partners]) >= least]))


def doubled(found: Nuclei, limit: float) -> int:
    """How many pairs of nuclei of one run overlap with an IoU over ``limit``."""
    rows, partners = shapely.STRtree(found.polygons).query(found.polygons, predicate="intersects")
    one = rows < partners
    return int((_iou(found.polygons[rows[one]], found.polygons[partners[one]]) > limit).sum())


def _iou(one: np.ndarray, other: np.ndarray) -> np.ndarray:
    shared = shapely.area(shapely.intersection(one, other))
    return shared / (shapely.area(one) + shapely.area(other) - shared)


def equal(found: Nuclei, other: Nuclei) -> int:
    """How many nuclei are the same in every number; both runs have their order."""
    if len(found) != len(other):
        return len(set(found.ids) & set(other.ids))
    same = shapely.to_wkb(found.polygons) == shapely.to_wkb(other.polygons)
    same &= (found.ids == other.ids) & (found.probability == other.probability)
    one, two = found.measurements.to_numpy(), other.measurements.to_numpy()
    return int((same & ((one == two) | (np.isnan(one) & np.isnan(two))).all(axis=1)).sum())


@click.command()
@click.argument("slide", type=click.Path(path_type=Path, exists=True))
@click.option("-m", "--model", type=click.Path(path_type=Path), required=True)
@click.option("--tile", "sizes", type=int, multiple=True, default=(2048, 512, 768), show_default=True)
@click.option("-o", "--out", type=click.Path(path_type=Path), help="Folder for seams.json and seams.md.")
def main(slide: Path, model: Path, sizes: tuple[int, ...], out: Path | None) -> None:
    """Segment the slide in all ways and compare."""
    runs: dict[str, Nuclei] = {}
    with open_slide(slide) as reader, tempfile.TemporaryDirectory() as folder:
        _, task = _task(reader, model, 0)
        for number, size in enumerate(sizes):
            tiles = _tiles(task, size)
            if number:
                np.random.default_rng(number).shuffle(tiles)
            name = f"tiles of {size}" + (", random order" if number else "")
            runs[name] = segment_slide(task, tiles, Checkpoint(Path(folder) / name, {})).nuclei
            click.echo(f"{name}: {len(runs[name])} nuclei", err=True)
        with local_workers(2) as client:
            name = f"tiles of {sizes[-1]}, 2 workers"
            kept = Checkpoint(Path(folder) / name, {})
            runs[name] = segment_slide_distributed(client, task, _tiles(task, sizes[-1]), kept).nuclei
        megapixels = reader.width * reader.height / 1e6
    first = next(iter(runs.values()))
    rows = [
        {
            "run": name,
            "nuclei": len(found),
            "paired": paired(found, first, 0.95),
            "equal": equal(found, first),
            "doubled": doubled(found, 0.2),
        }
        for name, found in runs.items()
    ]
    lines = [
        f"| {megapixels:.0f} MP | nuclei | IoU ≥ 0.95 | equal in all | found twice |",
        "|---|---|---|---|---|",
    ]
    lines += ["| " + " | ".join(str(value) for value in row.values()) + " |" for row in rows]
    click.echo("\n".join(lines))
    if out is not None:
        out.mkdir(parents=True, exist_ok=True)
        (out / "seams.md").write_text("\n".join(lines) + "\n", encoding="utf-8")
        report = {"machine": machine(), "megapixels": megapixels, "runs": rows}
        (out / "seams.json").write_text(json.dumps(report, indent=1), encoding="utf-8")


if __name__ == "__main__":
    main()
