"""CellGenNet, StarDist, Cellpose and InstanSeg, trained on the same labels for the same minutes.

    python benchmarks/train_peers.py DATA -o RUNS --environments FOLDER [--labels sparse-10] [--minutes 10]
        [--seed 0] [--method StarDist]...

Each tool trains in an environment of its own below FOLDER (``peer_tools/*.txt``, Python 3.11), on one thread,
without weights that have seen nuclei, and finds the nuclei of all test images with what it learnt. Minutes
are of processor time, of the process and its children, so that other load does not shorten a training. A run
that is complete is not repeated. Where there is a QuPath, its cell detection is compared too, which is not
trained (qupath_cells.py). RUNS receives ``scores.csv`` (per image), ``table.md`` and figures.

The student's encoder has ImageNet weights, as always, and the others have none; say so beside the numbers.
Ten minutes are a small part of what the others train for by default (StarDist 400 epochs, InstanSeg 500).

DATA is as in sparse_labels.py. Labels: "sparse-10", one window of 160 x 160 pixels in each train image, cut
out for the tools, or "all-labels".
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click
import pandas as pd
import qupath_cells
from peer_material import PROTOCOLS, SPARSE_10, write_material
from peer_scores import SETS, boxes, document, from_files, scored

from cellgennet_qupath.core.errors import QuPathError

HERE = Path(__file__).resolve().parent
TOOLS = HERE / "peer_tools"
OURS = "CellGenNet"
_LIBRARIES = ("OMP_NUM", "OPENBLAS_NUM", "MKL_NUM", "NUMBA_NUM", "TF_NUM_INTRAOP", "TF_NUM_INTEROP")
ONE_THREAD = {f"{name}_THREADS": "1" for name in _LIBRARIES}


@dataclass(frozen=True)
class Tool:
    """A tool to train: its script and what it needs; None for what runs this file."""

    name: str
    script: Path
    requirements: Path | None


@dataclass(frozen=True)
class Terms:
    """What is the same for all tools."""

    data: Path
    material: Path
    protocol: str
    minutes: float
    seed: int


METHODS = (
    Tool(OURS, HERE / "peer_student.py", None),
    *(
        Tool(name, TOOLS / f"train_{name.lower()}.py", TOOLS / f"{name.lower()}.txt")
        for name in ("StarDist", "Cellpose", "InstanSeg")
    ),
)


def python_of(environment: Path) -> Path:
    """The interpreter of a virtual environment."""
    return environment / ("Scripts/python.exe" if os.name == "nt" else "bin/python")


def installation(environment: Path, requirements: Path) -> list[list[str]]:
    """The commands that make an environment.

    torch goes first: where a build without CUDA is offered (PIP_FIND_LINKS, an index), pip takes it then.
    """
    pip = [str(python_of(environment)), "-m", "pip", "install", "--quiet"]
    lines = requirements.read_text(encoding="utf-8").split()
    first = [[*pip, line] for line in lines if line.startswith("torch==")]
    return [[sys.executable, "-m", "venv", str(environment)], *first, [*pip, "-r", str(requirements)]]


def ready(tool: Tool, environments: Path) -> Path:
    """The interpreter with which a tool runs; its environment is made if it is not there or another one."""
    if tool.requirements is None:
        return Path(sys.executable)
    environment = environments / tool.requirements.stem
    wanted, done = tool.requirements.read_text(encoding="utf-8"), environment / "installed.txt"
    if not done.is_file() or done.read_text(encoding="utf-8") != wanted:
        for command in installation(environment, tool.requirements):
            subprocess.run(command, check=True)
        done.write_text(wanted, encoding="utf-8")
    return python_of(environment)


def command(tool: Tool, python: Path, terms: Terms, output: Path) -> list[str]:
    """The command that trains a tool."""
    places = [terms.data, output] if tool.requirements is None else [terms.material, output]
    options = ["--labels", terms.protocol] if tool.requirements is None else []
    shared = ["--minutes", str(terms.minutes), "--seed", str(terms.seed)]
    return [str(python), str(tool.script), *map(str, places), *options, *shared]


def reason(log: str) -> str:
    """Why a training failed: the last line of what it printed."""
    lines = [line.strip() for line in log.splitlines() if line.strip()]
    return (lines[-1] if lines else "it ended without a message").replace("|", "/")[:200]


def trained(tool: Tool, terms: Terms, environments: Path, output: Path) -> str:
    """Train a tool unless that is done; returns why it could not be, "" if it could."""
    if (output / "trained.json").is_file():
        return ""
    output.mkdir(parents=True, exist_ok=True)
    try:
        python = ready(tool, environments)
    except subprocess.CalledProcessError as error:
        return f"its environment could not be made ({error})"
    log = output / "log.txt"
    variables = os.environ | ONE_THREAD | {"PYTHONPATH": _search_path(tool)}
    with log.open("w", encoding="utf-8") as file:
        work = command(tool, python, terms, output)
        ended = subprocess.run(work, stdout=file, stderr=subprocess.STDOUT, env=variables, check=False)
    return reason(log.read_text(encoding="utf-8", errors="replace")) if ended.returncode else ""


def _search_path(tool: Tool) -> str:
    """Where a tool's script finds modules: this package is for our own student only."""
    own = [str(TOOLS)]
    if tool.requirements is None:
        own += [str(HERE.parent), *filter(None, [os.environ.get("PYTHONPATH")])]
    return os.pathsep.join(own)


def learnt(runs: Path, methods: Sequence[str]) -> dict[str, dict[str, Any]]:
    """What each tool wrote about its training."""
    files = {method: runs / method.lower() / "trained.json" for method in methods}
    return {method: json.loads(file.read_text(encoding="utf-8")) for method, file in files.items()}


def results(
    data: Path, runs: Path, methods: Sequence[str], absent: Mapping[str, str], untrained: pd.DataFrame | None
) -> str:
    """Score the methods, write the files of the comparison and return its text.

    untrained : scores of methods that learn nothing.
    """
    trained = [scored(name, data, from_files(runs / name.lower() / "labels")) for name in methods]
    found = pd.concat([*trained, untrained])
    found.to_csv(runs / "scores.csv", index=False)
    text = document(found, learnt(runs, methods), absent, OURS)
    (runs / "table.md").write_text(text, encoding="utf-8")
    for dataset in SETS:
        boxes(found, dataset, runs / f"boxes-{dataset}.svg")
    return text


@click.command()
@click.argument("data", type=click.Path(path_type=Path, exists=True, file_okay=False))
@click.option("-o", "--output", type=click.Path(path_type=Path), required=True)
@click.option("--environments", type=click.Path(path_type=Path, file_okay=False), required=True)
@click.option("--labels", "protocol", type=click.Choice(PROTOCOLS), default=SPARSE_10, show_default=True)
@click.option("--minutes", type=click.FloatRange(min=0, min_open=True), default=10, show_default=True)
@click.option("--seed", type=click.IntRange(min=0), default=0, show_default=True)
@click.option(
    "--method",
    "chosen",
    multiple=True,
    type=click.Choice([tool.name for tool in METHODS]),
    help="Train only these.",
)
def main(
    data: Path,
    output: Path,
    environments: Path,
    protocol: str,
    minutes: float,
    seed: int,
    chosen: tuple[str, ...],
) -> None:
    """Train what is missing, then write the tables and figures."""
    runs = output.resolve() / protocol / f"{minutes:g}-minutes" / f"seed{seed}"
    material = output.resolve() / protocol / "material"
    if not material.is_dir():
        part = material.with_name("material-part")
        shutil.rmtree(part, ignore_errors=True)
        write_material(data, protocol, part)
        part.rename(material)  # so that it is whole or not there
    terms = Terms(data.resolve(), material, protocol, minutes, seed)
    absent = {}
    for tool in METHODS:
        if chosen and tool.name not in chosen:
            continue
        click.echo(f"{tool.name}: {protocol}, {minutes:g} minutes, seed {seed}", err=True)
        why = trained(tool, terms, environments.resolve(), runs / tool.name.lower())
        if why:
            click.echo(f"{tool.name} was not trained: {why}", err=True)
            absent[tool.name] = why
    done = [tool.name for tool in METHODS if (runs / tool.name.lower() / "trained.json").is_file()]
    untrained = None
    try:
        untrained = qupath_cells.results(data, output / "qupath")
    except QuPathError as error:
        click.echo(f"Not run: {error}", err=True)
        absent[qupath_cells.NAME] = error.reason
    if OURS in done:
        click.echo(results(data, runs, done, absent, untrained))


if __name__ == "__main__":
    main()
