"""Compare model bundles with StarDist, Cellpose and InstanSeg: same images, same metrics, one table.

    python benchmarks/peers.py DATA -m BUNDLE -o REPORT [--split test] [--group-by organ] [--mpp 0.25]
        [--stardist FOLDER] [--cellpose FILE] [--instanseg FILE]

DATA is a folder of ``images/`` and ``labels/``, or several of them with a ``manifest.csv``. A tool is run if
its package is installed and its weights are on disk; otherwise the table says why it was not. Nothing is
downloaded. REPORT receives the report of ``cellgennet evaluate`` with these tools in it, and ``peers.md``.

Public weights were often trained on public images: the table says what is known about that.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import click
import cv2
import numpy as np
from numpy.typing import NDArray

from cellgennet_qupath.bundle import load_bundle
from cellgennet_qupath.cli.reporter import reporter
from cellgennet_qupath.evaluation.prediction import Prediction, Predictor
from cellgennet_qupath.evaluation.predictors import ClassicalBaseline, StudentPredictor
from cellgennet_qupath.evaluation.regions import EvaluationRegion, folder_regions
from cellgennet_qupath.evaluation.run import Evaluation, evaluate
from cellgennet_qupath.metrics.matching import objects
from cellgennet_qupath.report.evaluation_files import check_output
from cellgennet_qupath.report.evaluation_page import write_report
from cellgennet_qupath.segmentation.model import Model

COLUMNS = ("dice", "f1@0.5", "f1@0.7", "aji", "pq", "hd95")
Segment = Callable[[NDArray[np.uint8]], NDArray[np.integer]]


@dataclass(frozen=True)
class Peer:
    """A published tool.

    package : the module to import; ``weights``: the option that names its weights.
    mpp     : µm per pixel that its public weights for H&E expect; None for any.
    seen    : what is known about the images its public weights were trained on.
    """

    name: str
    package: str
    weights: str
    mpp: float | None
    seen: str
    load: Callable[[Path], Segment]


def stardist(weights: Path) -> Segment:
    """A StarDist2D model folder; percentile normalisation and thresholds as its authors use them."""
    from csbdeep.utils import normalize
    from stardist.models import StarDist2D

    model = StarDist2D(None, name=weights.name, basedir=str(weights.parent))

    def segment(pixels: NDArray[np.uint8]) -> NDArray[np.integer]:
        labels, _ = model.predict_instances(normalize(pixels, 1, 99.8, axis=(0, 1)), show_tile_progress=False)
        return np.asarray(labels)

    return segment


def cellpose(weights: Path) -> Segment:
    """A Cellpose model file, versions 3 (two grey channels) and 4 (Cellpose-SAM)."""
    from cellpose import models

    model = models.CellposeModel(gpu=False, pretrained_model=str(weights))
    # Up to version 3 the channels must be given; 0, 0 means their grey mean.
    options = {"channels": [0, 0]} if int(version("cellpose").split(".")[0]) < 4 else {}

    def segment(pixels: NDArray[np.uint8]) -> NDArray[np.integer]:
        return np.asarray(model.eval(pixels, **options)[0])

    return segment


def instanseg(weights: Path) -> Segment:
    """An InstanSeg TorchScript file."""
    import torch
    from instanseg import InstanSeg

    network: Any = torch.jit.load(str(weights), map_location="cpu")  # type: ignore[no-untyped-call]
    model = InstanSeg(network, device="cpu", verbosity=0)

    def segment(pixels: NDArray[np.uint8]) -> NDArray[np.integer]:
        # The image already has the model's pixel size.
        labels = model.eval_small_image(pixels, None, return_image_tensor=False)
        first: NDArray[np.int32] = np.asarray(labels).reshape(-1, *pixels.shape[:2])[0].astype(np.int32)
        return first

    return segment


PEERS = (
    Peer("StarDist", "stardist", "stardist", None, "2D_versatile_he: MoNuSeg and TNBC", stardist),
    Peer("Cellpose", "cellpose", "cellpose", None, "Cellpose-SAM: NuInsSeg among others", cellpose),
    Peer("InstanSeg", "instanseg", "instanseg", 0.5, "brightfield_nuclei: NuInsSeg and TNBC", instanseg),
)


@dataclass(frozen=True)
class PeerPredictor:
    """A peer, run at the resolution that it expects."""

    name: str
    peer: Peer
    segment: Segment

    def predict(self, region: EvaluationRegion, pixels: NDArray[np.uint8]) -> Prediction:
        rows, columns = pixels.shape[:2]
        step = 1.0 if self.peer.mpp is None or region.mpp is None else self.peer.mpp / region.mpp
        size = (max(1, round(columns / step)), max(1, round(rows / step)))
        shrunk = pixels if step == 1 else cv2.resize(pixels, size, interpolation=cv2.INTER_AREA)
        number, row, _ = objects(np.asarray(self.segment(np.asarray(shrunk, np.uint8))))
        labels = np.asarray(row + 1, np.float32)
        if step != 1:
            resized = cv2.resize(labels, (columns, rows), interpolation=cv2.INTER_NEAREST_EXACT)
            labels = np.asarray(resized, np.float32)
        return Prediction(labels.astype(np.int32), np.full(len(number), np.nan, np.float32))


def missing(peer: Peer, weights: Path | None) -> str:
    """Why a peer cannot run; "" if it can."""
    if find_spec(peer.package) is None:
        return f"its package `{peer.package}` is not installed"
    if weights is None:
        return f"no weights were given (--{peer.weights} PATH)"
    return "" if weights.exists() else f"its weights {weights} do not exist"


def table(evaluation: Evaluation, absent: dict[str, str]) -> str:
    """Markdown table: mean scores, the training data of each tool, and the tools that were not run."""
    seen = {peer.name: peer.seen for peer in PEERS}
    head = ["method", *COLUMNS, "s / MP", "public weights were trained on"]
    lines = ["| " + " | ".join(head) + " |", "|---" * len(head) + "|"]
    for row in evaluation.summary().to_dict("records"):
        own = evaluation.of(row["method"])
        pace = float((own["seconds"] / own["megapixels"]).median())
        cells = [f"{row[name]:.3f}" for name in COLUMNS]
        lines.append(
            f"| {row['method']} | {' | '.join(cells)} | {pace:.2f} | {seen.get(row['method'], '-')} |"
        )
    lines += [
        f"| {name} | not run: {why} |{' |' * len(COLUMNS)} {seen[name]} |" for name, why in absent.items()
    ]
    return "\n".join(lines) + f"\n\nMeans over {len(evaluation.regions)} images; hd95 in {evaluation.unit}.\n"


@click.command()
@click.argument("data", type=click.Path(path_type=Path, exists=True, file_okay=False))
@click.option("-m", "--model", "models", type=click.Path(path_type=Path), multiple=True)
@click.option("-o", "--output", type=click.Path(path_type=Path), required=True)
@click.option("--split")
@click.option("--group-by")
@click.option("--mpp", type=float)
@click.option("--threads", type=int, default=0)
@click.option("--stardist", "stardist_weights", type=click.Path(path_type=Path))
@click.option("--cellpose", "cellpose_weights", type=click.Path(path_type=Path))
@click.option("--instanseg", "instanseg_weights", type=click.Path(path_type=Path))
def main(
    data: Path,
    models: tuple[Path, ...],
    output: Path,
    split: str | None,
    group_by: str | None,
    mpp: float | None,
    threads: int,
    stardist_weights: Path | None,
    cellpose_weights: Path | None,
    instanseg_weights: Path | None,
) -> None:
    """Evaluate the bundles and every peer that can be run."""
    check_output(output)
    listener = reporter()
    bundles = [load_bundle(path) for path in models]
    predictors: list[Predictor] = [
        StudentPredictor(b.path.stem, Model.from_bundle(b, threads)) for b in bundles
    ]
    absent = {}
    for peer, weights in zip(PEERS, (stardist_weights, cellpose_weights, instanseg_weights), strict=True):
        why = missing(peer, weights)
        if why or weights is None:
            absent[peer.name] = why
            listener.say(f"{peer.name} is not run: {why}.")
        else:
            predictors.append(PeerPredictor(peer.name, peer, peer.load(weights)))
    predictors.append(ClassicalBaseline())
    regions = folder_regions(data, mpp=mpp, split=split, group_by=group_by, reporter=listener)
    evaluation = evaluate(regions, predictors, listener)
    notes = [
        f"The public weights of {peer.name} were trained on public images ({peer.seen}), perhaps these."
        for peer in PEERS
        if peer.name in evaluation.methods
    ]
    write_report(output, evaluation, data.name, bundles, notes, listener)
    text = table(evaluation, absent)
    (output / "peers.md").write_text(text, encoding="utf-8")
    click.echo(text)


if __name__ == "__main__":
    main()
