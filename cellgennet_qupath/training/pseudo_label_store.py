"""The unlabelled tiles of a run and the networks' predictions on them, on disk."""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import partial
from pathlib import Path

from ..bundle import TEACHER
from ..core.config import Config
from ..core.errors import BundleError, DamagedStateError
from .pseudo_labels import (
    PseudoLabels,
    predict_views,
    prediction_is_whole,
    read_image,
    tile_is_whole,
    write_prediction,
    write_tile,
)
from .run_folder import TrainingRun
from .soft_maps import Predict, student_predict


def rounds(config: Config) -> list[int]:
    """The epochs before which the averaged student predicts: after the warm-up, then at even intervals."""
    epochs, count = config.student.epochs, config.pseudo.rounds
    first = math.ceil(config.loss.warm_up * epochs)
    starts = {first + (epochs - first) * number // count for number in range(count)}
    return sorted(epoch for epoch in starts if epoch < epochs)


def open_store(run: TrainingRun) -> PseudoLabelStore | None:
    """The store of a run; None if its objective uses no unlabelled tissue, or there is none."""
    if not run.config.loss.uses_unlabelled or not rounds(run.config):
        return None
    if not run.data.tiles:
        run.reporter.warn("No unlabelled tissue: the student learns from the annotations alone.")
        return None
    return PseudoLabelStore(run)


class PseudoLabelStore:
    """Tiles and predictions in the folder ``pseudo`` of a run. Nothing is predicted twice.

    Files of an earlier, interrupted process are verified once; those that are cut off or damaged are reported
    and made again.
    """

    def __init__(self, run: TrainingRun) -> None:
        self._run = run
        self._config = run.config
        self._folder = run.folder / "pseudo"
        self._verified: set[Path] = set()
        self._tiles = [self._folder / "tiles" / f"{number:05d}.npz" for number in range(len(run.data.tiles))]

    @property
    def uses_teacher(self) -> bool:
        """Whether a StarDist teacher has a share in any soft label."""
        if not self._run.has_teacher:
            return False
        return self._config.pseudo.student_share < 1 or not self._student_predicts(0)

    @property
    def teacher_is_complete(self) -> bool:
        """Whether no prediction of the teacher is needed any more."""
        return not self.uses_teacher or all(
            self._is_whole(file, prediction_is_whole) for file in self._files(TEACHER)
        )

    def labels(self, number: int, save_average: Callable[[Path], None], at_start: bool) -> PseudoLabels:
        """The soft labels of a round, once the teacher's predictions are complete.

        save_average : writes the weights of the averaged student to a file. In a round at epoch 0 a
                       student without a start has learnt nothing yet: the labels are the teacher's alone.
        at_start     : whether the averaged student is that of the round's start; else predictions of this
                       round that are missing come from the weights that were written then.

        Raises DamagedStateError where these weights are damaged too.
        """
        config, predictions = self._config, []
        if self.uses_teacher:
            predictions.append(self._files(TEACHER))
        if self._student_predicts(number):
            name = f"student-{number + 1}"
            weights = self._folder / f"{name}.safetensors"

            def predict() -> Predict:
                if at_start:
                    save_average(weights)
                try:
                    return student_predict(weights, config.student, config.threads)
                except BundleError as error:
                    reason = "is needed for this round's pseudo-labels and is missing or damaged"
                    raise DamagedStateError(weights, reason) from error

            self._predict_missing(name, predict)
            predictions.append(self._files(name))
        by_tile = list(zip(*predictions, strict=True))
        student = config.student
        return PseudoLabels(self._tiles, by_tile, student.patch, student.stride, config.pseudo)

    def _student_predicts(self, number: int) -> bool:
        """Whether the averaged student has a share in the soft labels of a round."""
        if not self._run.has_teacher:
            return True
        has_learnt = self._run.start is not None or rounds(self._config)[number] > 0
        return has_learnt and self._config.pseudo.student_share > 0

    def predict_missing(self, name: str, predict: Predict) -> None:
        """Write those predictions of a network that are not there yet."""
        self._predict_missing(name, lambda: predict)

    def _predict_missing(self, name: str, open_network: Callable[[], Predict]) -> None:
        self._write_tiles()
        pairs = list(zip(self._files(name), self._tiles, strict=True))
        missing = [(file, tile) for file, tile in pairs if not self._is_whole(file, prediction_is_whole)]
        if not missing:
            return
        predict = open_network()
        with self._run.reporter.track(f"pseudo-labels of the {name}", len(pairs), "tiles") as task:
            task.advance(len(pairs) - len(missing))
            for file, tile in missing:
                prediction = predict_views(predict, read_image(tile), self._config.pseudo.views)
                write_prediction(file, prediction)
                self._verified.add(file)
                task.advance(1, f"{(prediction.mean[..., 0] > 0.5).mean():.0%} nuclei")

    def _files(self, name: str) -> list[Path]:
        return [self._folder / name / tile.name for tile in self._tiles]

    def _write_tiles(self) -> None:
        stride = self._config.student.stride
        for file, tile in zip(self._tiles, self._run.data.tiles, strict=True):
            if not self._is_whole(file, partial(tile_is_whole, stride=stride)):
                write_tile(file, tile.read(), stride)
                self._verified.add(file)

    def _is_whole(self, file: Path, check: Callable[[Path], bool]) -> bool:
        """Whether a file is there and undamaged; a damaged one is reported and removed."""
        if file in self._verified:
            return True
        if not file.is_file():
            return False
        if check(file):
            self._verified.add(file)
            return True
        self._run.reporter.warn(f"{file}: is cut off or damaged and is made again.")
        file.unlink()
        return False
