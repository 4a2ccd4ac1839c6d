"""The log of a run over a batch of images, for a laboratory's quality records: a file per run, never changed.

``<project>/cellgennet/logs/segment-<time>.yaml``: who ran what, when, with which model and scale, and what
became of each image.
"""

from __future__ import annotations

import platform
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

import yaml

from .. import __version__
from ..bundle import INTENDED_USE
from ..core.files import confined, replacing
from ..core.progress import Reporter
from ..qupath.lock import this_process
from .result import ImageResult

FOLDER = "logs"


@dataclass(frozen=True)
class Batch:
    """A run that has begun.

    history : what is written into QuPath's workflow: model, checksum, scale, rule, choices of the user.
    learnt_from : stain, magnification and species of the slides that the model was trained on.
    """

    work_folder: Path
    backend: str
    history: Mapping[str, str]
    learnt_from: str
    begun: datetime

    @classmethod
    def begin(
        cls, work_folder: Path, backend: str, history: Mapping[str, str], learnt_from: str = ""
    ) -> Batch:
        """A run that begins now."""
        return cls(work_folder, backend, history, learnt_from, datetime.now().astimezone())

    def write(self, results: Sequence[ImageResult], outcome: str, reporter: Reporter) -> Path | None:
        """Write the log; None where that fails, which is a warning and costs no result.

        outcome : "finished", or how else the run ended.
        """
        ended = datetime.now().astimezone()
        process = this_process()
        number = Counter(result.status for result in results)
        content: dict[str, Any] = {
            "command": process["command"],
            "user": process["user"],
            "computer": process["host"],
            "begun": self.begun.isoformat(timespec="seconds"),
            "ended": ended.isoformat(timespec="seconds"),
            "outcome": outcome,
            "version": f"cellgennet_qupath {__version__}, Python {platform.python_version()}",
            "backend": self.backend,
            "settings": dict(self.history),
            "learnt from": self.learnt_from or "not recorded",
            "images": {status: number[status] for status in ("done", "skipped", "failed")},
            "failed": {result.name: result.reason for result in results if result.status == "failed"},
            "results": [_line(result) for result in results],
            "intended use": INTENDED_USE,
        }
        try:
            with replacing(self._file(), self.work_folder) as part:
                part.write_text(
                    yaml.safe_dump(content, sort_keys=False, allow_unicode=True), encoding="utf-8"
                )
        except OSError as error:
            reporter.warn(f"No log of this run was written ({error.strerror or error}).")
            return None
        return self._file()

    def _file(self) -> Path:
        name = f"segment-{self.begun:%Y-%m-%dT%H-%M-%S-%f}.yaml"
        return confined(self.work_folder, self.work_folder / FOLDER / name)


def _line(result: ImageResult) -> dict[str, Any]:
    line: dict[str, Any] = {"image": result.name, "id": result.id, "status": result.status}
    if result.status == "done":
        line |= {"nuclei": result.count, "mm2": None if result.mm2 is None else float(f"{result.mm2:.6g}")}
        line["computed"] = "in this run" if result.seconds else "in an earlier run"
    if result.findings:
        line["findings"] = list(result.findings)
    note = result.reason or result.note
    return line | ({"note": note} if note else {})
