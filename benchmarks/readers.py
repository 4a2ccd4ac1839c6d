"""How fast slides are read, by format and reader; and whether each kind of file gives the same nuclei.

- ``speed``: megapixels per processor second of full resolution in windows of 1024 x 1024 pixels, of every
  kind of file that the tests write, by this package and by the libraries themselves. ``--against CHECKOUT``
  adds this package as it is in another checkout. Every turn is a process of its own, in turns.
- ``nuclei``: the same tissue in every kind of file, segmented with the pretrained model.

Run from the top of the repository: ``PYTHONPATH=. python benchmarks/readers.py speed``.
"""

from __future__ import annotations

import json
import os
import platform
import statistics
import subprocess
import sys
import tempfile
import time
from importlib import util
from pathlib import Path

import click
import numpy as np
import tifffile

_WINDOW = 1024


@click.group()
def cli() -> None:
    """Measure readers; see the module's text."""


@cli.command()
@click.argument("tissue", type=click.Path(path_type=Path, exists=True, dir_okay=False))
@click.option("--side", type=int, default=4096, show_default=True, help="Pixels per side of the slides.")
@click.option("--repeats", type=int, default=3, show_default=True)
@click.option("--against", type=click.Path(path_type=Path, exists=True), help="Another checkout.")
@click.option("--kind", "names", multiple=True, help="Only kinds whose name contains this.")
def speed(tissue: Path, side: int, repeats: int, against: Path | None, names: tuple[str, ...]) -> None:
    """Megapixels per processor second; TISSUE is an RGB TIFF with which slides are tiled."""
    from tests.slides.formats.kinds import KINDS

    here = Path(__file__).resolve().parents[1]
    contenders = {"this package": ("ours", here)}
    if against is not None:
        contenders["other checkout"] = ("ours", against.resolve())
    contenders |= {"tiffslide": ("tiffslide", here), "OpenSlide": ("openslide", here)}
    image = _tiled(tifffile.imread(tissue), side)
    click.echo(f"{time.strftime('%d %B %Y')}, {platform.machine()}, {os.cpu_count()} cores, {side} px;")
    click.echo("megapixels per processor second, median (least to most)\n")
    click.echo("| kind of file | " + " | ".join(contenders) + " |")
    click.echo("|---|" + "---:|" * len(contenders))
    for kind in KINDS:
        if names and not any(name in kind.name for name in names):
            continue
        if kind.needs and util.find_spec(kind.needs) is None:
            continue
        with tempfile.TemporaryDirectory() as folder:
            path = kind.write(Path(folder), image)
            rates: dict[str, list[float]] = {name: [] for name in contenders}
            for _ in range(repeats):
                for name, (reader, checkout) in contenders.items():
                    rate = _rate(path, reader, checkout)
                    if rate is not None:
                        rates[name].append(rate)
        cells = [
            f"{statistics.median(r):.0f} ({min(r):.0f} to {max(r):.0f})" if r else "-" for r in rates.values()
        ]
        click.echo(f"| {kind.name} | " + " | ".join(cells) + " |")


def _tiled(tissue: np.ndarray, side: int) -> np.ndarray:
    times = -(-side // min(tissue.shape[:2]))
    return np.ascontiguousarray(np.tile(tissue, (times, times, 1))[:side, :side])


def _rate(path: Path, reader: str, checkout: Path) -> float | None:
    """Megapixels per processor second of one turn; None where this reader does not open the file."""
    result = subprocess.run(
        [sys.executable, "-W", "ignore", __file__, "turn", str(path), reader],
        env=os.environ | {"PYTHONPATH": str(checkout)},
        cwd=checkout,
        capture_output=True,
        text=True,
        check=False,
    )
    return float(result.stdout) if result.returncode == 0 else None


@cli.command(hidden=True)
@click.argument("path", type=click.Path(path_type=Path))
@click.argument("reader")
def turn(path: Path, reader: str) -> None:
    """Read a whole slide once by one reader, after one window to warm up; prints the rate."""
    if reader == "ours":
        from cellgennet_qupath.slides.reader import open_slide

        slide = open_slide(path)
        size = (slide.width, slide.height)

        def read(x: int, y: int) -> None:
            slide.read_grid(x, y, _WINDOW, _WINDOW, 1.0)
    else:
        module = __import__(reader)
        other = (module.TiffSlide if reader == "tiffslide" else module.OpenSlide)(str(path))
        size = other.dimensions

        def read(x: int, y: int) -> None:
            np.asarray(other.read_region((x, y), 0, (_WINDOW, _WINDOW)))[..., :3].copy()

    read(0, 0)
    corners = [(x, y) for y in range(0, size[1], _WINDOW) for x in range(0, size[0], _WINDOW)][:64]
    begin = time.process_time()
    for corner in corners:
        read(*corner)
    click.echo(len(corners) * _WINDOW**2 / 1e6 / (time.process_time() - begin))


@cli.command()
@click.argument("tissue", type=click.Path(path_type=Path, exists=True, dir_okay=False))
@click.option("--json", "as_json", is_flag=True, help="Print the numbers as JSON.")
def nuclei(tissue: Path, as_json: bool) -> None:
    """Nuclei by kind of file, compared with the plain file; TISSUE is an RGB TIFF."""
    from tests.slides.formats.nuclei import compare

    with tempfile.TemporaryDirectory() as folder:
        rows = compare(Path(folder), tifffile.imread(tissue))
    if as_json:
        click.echo(json.dumps([row.__dict__ for row in rows], indent=1))
        return
    click.echo(f"{time.strftime('%d %B %Y')}, {tissue.name}")
    click.echo("| kind of file | read by | nuclei | of the plain file's, within 4 px |")
    click.echo("|---|---|---:|---:|")
    for row in rows:
        click.echo(f"| {row.kind} | {row.reader} | {row.count} | {row.matched} |")


if __name__ == "__main__":
    cli()
