"""What the trainers of the peers share. They run in the environments of the peers, without this package.

MATERIAL has ``train/``, ``validation/`` and ``test/``, each with ``images/*.tif`` (uint8 RGB) and, but for
the test, ``labels/*.tif`` (uint16, 0 for background). OUTPUT receives ``labels/*.tif`` and ``trained.json``.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import tifffile
from numpy.typing import NDArray

Image = NDArray[np.uint8]
Labels = NDArray[np.int32]


def arguments() -> argparse.Namespace:
    """MATERIAL, OUTPUT, --minutes and --seed."""
    parser = argparse.ArgumentParser()
    parser.add_argument("material", type=Path)
    parser.add_argument("output", type=Path)
    parser.add_argument("--minutes", type=float, required=True)
    parser.add_argument("--seed", type=int, required=True)
    return parser.parse_args()


def spent() -> float:
    """Seconds of processor time that this process and its children have used."""
    me = psutil.Process()
    return sum(sum(one.cpu_times()[:4]) for one in (me, *me.children(recursive=True)))


def pairs(material: Path, split: str) -> tuple[list[Image], list[Labels]]:
    """The images of a split and their labels, by name."""
    files = sorted((material / split / "images").glob("*.tif"))
    labels = [tifffile.imread(material / split / "labels" / file.name).astype(np.int32) for file in files]
    return [tifffile.imread(file) for file in files], labels


def finish(
    options: argparse.Namespace, segment: Callable[[Image], NDArray[np.integer]], about: dict[str, Any]
) -> None:
    """Write what was learnt: labels of all test images, and the minutes of processor time up to here.

    about : ``parameters`` of the network, and what else is worth keeping.
    """
    facts = {"minutes": round(spent() / 60, 2), **about}
    folder = options.output / "labels"
    folder.mkdir(parents=True, exist_ok=True)
    for file in sorted((options.material / "test" / "images").glob("*.tif")):
        labels = np.asarray(segment(tifffile.imread(file)))
        tifffile.imwrite(folder / file.name, labels.astype(np.int32))
    (options.output / "trained.json").write_text(json.dumps(facts, indent=1), encoding="utf-8")
