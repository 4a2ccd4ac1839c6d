"""The folder of a training run: which data and settings it belongs to, and what it has finished."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import shapely
import yaml

from ..bundle import STUDENT, TEACHER, now, versions
from ..core.config import Config
from ..core.errors import TrainingError
from ..core.files import confined, make_folder, remove_tree, replacing
from ..core.plain_files import NotPlainError, read_text
from ..core.plain_yaml import YamlError, read_yaml
from ..core.progress import Reporter
from .adaptation import Start
from .data import SlideTile, TrainingData

_RECORD = "run.yaml"
_MOST_BYTES = 64 * 1024**2


@dataclass(frozen=True)
class TrainingRun:
    """A training run's folder and everything it works with.

    start : what an adaptation starts from; None for a training from nothing.
    """

    folder: Path
    data: TrainingData
    config: Config
    resume: bool
    reporter: Reporter
    start: Start | None = None

    @property
    def has_teacher(self) -> bool:
        """Whether a StarDist teacher has a share in the soft labels: not if the start has none."""
        return self.config.loss.uses_unlabelled and (self.start is None or self.start.teacher is not None)

    @property
    def teacher(self) -> Path:
        """StarDist's folder."""
        return self.folder / "stardist" / TEACHER

    @property
    def student(self) -> Path:
        """The finished student's weights."""
        return self.folder / STUDENT

    @property
    def moved(self) -> Path:
        """The weights at the end of an adaptation, all the way from the start."""
        return self.folder / "moved.safetensors"

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
        stored = {network: read_json(file) for network, file in files.items() if file.is_file()}
        return {network: history for network, history in stored.items() if isinstance(history, list)}


def prepare_run(
    folder: Path,
    data: TrainingData,
    config: Config,
    resume: bool,
    reporter: Reporter,
    start: Start | None = None,
) -> TrainingRun:
    """A run in its folder, which is emptied unless the run is resumed.

    A run whose record is cut off or damaged starts again, with a warning. Raises TrainingError where a run
    on other data or with other settings was to be resumed, and ProjectError where the folder is a link or
    holds one.
    """
    identity = _identity(data, config, start)
    record = folder / _RECORD
    if resume and not record.is_file():
        _take_over(folder, identity, reporter)
    unlabelled = _unlabelled(data)
    stored = _stored_identity(record) if resume and record.is_file() else None
    if stored is not None:
        # Earlier versions wrote nothing about the unlabelled tissue.
        if stored != identity or (_stored(record) or {}).get("unlabelled", unlabelled) != unlabelled:
            raise TrainingError(
                folder,
                "annotations, images or settings changed since the run began, so it cannot be resumed",
                "Train again without --resume",
            )
        return TrainingRun(folder, data, config, resume, reporter, start)
    if resume and record.is_file():
        reporter.warn(f"{record}: is cut off or damaged: training starts from the beginning.")
    elif resume:
        reporter.warn("Nothing to resume: training starts from the beginning.")
    remove_tree(folder.parent, folder)
    make_folder(folder.parent, folder / "report")
    content = {
        "identity": identity,
        "unlabelled": unlabelled,
        "begun": now(),
        "versions": versions(),
        "config": config.model_dump(mode="json"),
    }
    with replacing(record) as part:
        part.write_text(yaml.safe_dump(with_checksum(content)), encoding="utf-8")
    return TrainingRun(folder, data, config, resume, reporter, start)


def _take_over(folder: Path, identity: str, reporter: Reporter) -> None:
    """Move a run to its folder that version 0.1, which cut names at their last dot, kept in another one."""
    earlier = folder.with_name(folder.stem)
    if earlier == folder or not (confined(folder.parent, earlier) / _RECORD).is_file():
        return
    if _stored_identity(earlier / _RECORD) == identity:
        remove_tree(folder.parent, folder)
        earlier.rename(folder)
        reporter.say(f"{earlier}: a run of version 0.1, which is continued in {folder.name}.")
    else:
        reporter.say(f"{earlier}: is a run on other data or with other settings, and is not used.")


def _stored_identity(record: Path) -> str | None:
    """The identity of the run that began in a folder; None where its record is not whole."""
    identity = (_stored(record) or {}).get("identity")
    return identity if isinstance(identity, str) else None


def _stored(record: Path) -> dict[str, Any] | None:
    """The content of a record; None where it is not whole."""
    try:
        content = read_yaml(record)
    except (OSError, NotPlainError, YamlError):
        return None
    return content if isinstance(content, dict) and is_whole(content) else None


def with_checksum(content: dict[str, Any]) -> dict[str, Any]:
    """Plain values with their own checksum, under the name ``sha256``."""
    return content | {"sha256": _checksum(content)}


def is_whole(content: dict[str, Any]) -> bool:
    """Whether plain values agree with their checksum. Those of version 0.1 have none and are believed."""
    rest = {name: value for name, value in content.items() if name != "sha256"}
    try:
        return "sha256" not in content or content["sha256"] == _checksum(rest)
    except TypeError:  # names of several types, which this tool does not write
        return False


def _checksum(content: dict[str, Any]) -> str:
    return hashlib.sha256(json.dumps(content, sort_keys=True, default=str).encode()).hexdigest()


def _identity(data: TrainingData, config: Config, start: Start | None) -> str:
    """A checksum of the settings, the start and all labelled pixels."""
    digest = hashlib.sha256(config.fingerprint_text().encode())
    if start is not None:
        facts = (start.checksum, start.decoding.model_dump_json(), config.adaptation.model_dump_json())
        digest.update(" ".join(facts).encode())
    for window in [*data.training, *data.validation]:
        for array in (window.image, window.labels.objects, window.labels.foreground):
            digest.update(np.ascontiguousarray(array).tobytes())
    return digest.hexdigest()


def _unlabelled(data: TrainingData) -> str:
    """A checksum of where the unlabelled tiles are, and of what must not be learnt from there."""
    digest = hashlib.sha256()
    slides: set[str] = set()
    for tile in data.tiles:
        if isinstance(tile, SlideTile):
            entry = tile.slide.entry
            digest.update(f"{entry.id} {entry.name} {tuple(tile.box)} {tile.slide.downsample}".encode())
            if entry.id not in slides:
                slides.add(entry.id)
                ignored = shapely.normalize(shapely.union_all(tile.slide.supervision.ignored))
                digest.update(shapely.to_wkb(ignored))
    return digest.hexdigest()


def read_json(path: Path) -> Any:
    """The content of a file of ``write_json``; None where it is missing, cut off or damaged."""
    try:
        content = json.loads(read_text(path, _MOST_BYTES))
    except (OSError, NotPlainError, ValueError, RecursionError):
        return None
    return None if isinstance(content, dict) and not is_whole(content) else content


def write_json(path: Path, value: object) -> None:
    """Write plain data, whole or not at all."""
    with replacing(path) as part:
        part.write_text(json.dumps(value, indent=1), encoding="utf-8")
