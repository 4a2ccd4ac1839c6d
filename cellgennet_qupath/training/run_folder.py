"""The folder of a training run: which data and settings it belongs to, and what it has finished."""

from __future__ import annotations

import hashlib
import json
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import yaml

from ..bundle import STUDENT, TEACHER, now, versions
from ..core.config import Config
from ..core.errors import TrainingError
from ..core.files import replacing
from ..core.progress import Reporter
from .data import TrainingData


@dataclass(frozen=True)
class TrainingRun:
    """A training run's folder and everything it works with."""

    folder: Path
    data: TrainingData
    config: Config
    resume: bool
    reporter: Reporter

    @property
    def teacher(self) -> Path:
        """StarDist's folder."""
        return self.folder / "stardist" / TEACHER

    @property
    def student(self) -> Path:
        """The finished student's weights."""
        return self.folder / STUDENT

    @property
    def state(self) -> Path:
        """The checkpoints."""
        return self.folder / "state"

    @property
    def report(self) -> Path:
        """What becomes the ``report`` folder of the bundle."""
        return self.folder / "report"

    def history_file(self, network: str) -> Path:
        """The losses of each epoch of the "teacher" or the "student"."""
        return self.report / f"{network}_history.json"

    def histories(self) -> dict[str, list[dict[str, float]]]:
        """The losses of each epoch, by network."""
        files = {network: self.history_file(network) for network in ("teacher", "student")}
        return {network: read_json(file) for network, file in files.items() if file.is_file()}


def prepare_run(
    folder: Path, data: TrainingData, config: Config, resume: bool, reporter: Reporter
) -> TrainingRun:
    """A run in its folder, which is emptied unless the run is resumed.

    Raises TrainingError where a run on other data or with other settings was to be resumed.
    """
    identity = _identity(data, config)
    record = folder / "run.yaml"
    if resume and record.is_file():
        if yaml.safe_load(record.read_text(encoding="utf-8")).get("identity") != identity:
            raise TrainingError(
                folder,
                "annotations, images or settings changed since the run began, so it cannot be resumed",
                "Train again without --resume",
            )
    else:
        if resume:
            reporter.warn("Nothing to resume: training starts from the beginning.")
        if folder.exists():
            shutil.rmtree(folder)
        (folder / "report").mkdir(parents=True)
        content = {
            "identity": identity,
            "begun": now(),
            "versions": versions(),
            "config": config.model_dump(mode="json"),
        }
        record.write_text(yaml.safe_dump(content), encoding="utf-8")
    return TrainingRun(folder, data, config, resume, reporter)


def _identity(data: TrainingData, config: Config) -> str:
    """A checksum of the settings and of all labelled pixels."""
    digest = hashlib.sha256(config.fingerprint_text().encode())
    for window in [*data.training, *data.validation]:
        for array in (window.image, window.labels.objects, window.labels.foreground):
            digest.update(np.ascontiguousarray(array).tobytes())
    return digest.hexdigest()


def read_json(path: Path) -> Any:
    """The content of a file of ``write_json``."""
    return json.loads(path.read_text(encoding="utf-8"))


def write_json(path: Path, value: object) -> None:
    """Write plain data, whole or not at all."""
    with replacing(path) as part:
        part.write_text(json.dumps(value, indent=1), encoding="utf-8")
