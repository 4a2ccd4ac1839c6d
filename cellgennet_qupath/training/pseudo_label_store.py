"""Teacher and averaged student are asked about unlabelled tissue: the rounds of a training."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ..core.config import Config, StudentConfig
from ..core.progress import Reporter
from .material import TileSource
from .pseudo_labels import Predict, PseudoLabels, predict_views, read_picture, write_prediction, write_tile


def rounds(config: Config) -> list[int]:
    """The epochs at which the averaged student is asked: after the warm-up, then evenly over the rest."""
    epochs, count = config.student.epochs, config.pseudo.rounds
    first = math.ceil(config.loss.warm_up * epochs)
    asked = {first + (epochs - first) * number // count for number in range(count)}
    return sorted(epoch for epoch in asked if epoch < epochs)


def teacher_view(folder: Path, thresholds: dict[str, float], threads: int) -> Predict:
    """The teacher as a source of soft maps: an instance mask of each view, and object probability."""
    from ..networks.stardist import Teacher

    teacher = Teacher(folder, threads=threads)

    def predict(image: NDArray[np.float32]) -> NDArray[np.float32]:
        maps = teacher.predict(image)
        rows, columns = image.shape[:2]
        labels, _ = teacher.instances(maps, (rows, columns), thresholds["prob"], thresholds["nms"])
        mask = (labels > 0).astype(np.float32).reshape(rows // 2, 2, columns // 2, 2).mean(axis=(1, 3))
        return np.stack([mask, teacher.prob_at_half(maps, (rows // 2, columns // 2))], axis=-1)

    return predict


def student_view(weights: Path, config: StudentConfig, threads: int) -> Predict:
    """A student as a source of soft maps."""
    from ..networks.runtime import load_runtime

    runtime = load_runtime(weights, config, threads=threads)

    def predict(image: NDArray[np.float32]) -> NDArray[np.float32]:
        return whole_maps(runtime.predict, image)

    return predict


def whole_maps(predict: Predict, image: NDArray[np.float32]) -> NDArray[np.float32]:
    """Maps of an image of any size from a network that takes batches of multiples of 32 samples.

    image : (h, w, 3). Returns (h / 2, w / 2, 2), rounded up.
    """
    rows, columns = image.shape[:2]
    padded = np.pad(image, ((0, -rows % 32), (0, -columns % 32), (0, 0)), mode="reflect")
    return predict(padded[None])[0, : -(-rows // 2), : -(-columns // 2)]


class PseudoLabelStore:
    """The unlabelled tiles of a run on disk, and what is said of them.

    folder : of the run; tiles and opinions are kept in ``pseudo`` below it and not made twice.
    """

    def __init__(
        self, folder: Path, places: Sequence[TileSource], config: Config, reporter: Reporter
    ) -> None:
        self._run = folder
        self._folder = folder / "pseudo"
        self._config = config
        self._reporter = reporter
        self._tiles = [self._folder / "tiles" / f"{number:05d}.npz" for number in range(len(places))]
        for file, place in zip(self._tiles, places, strict=True):
            if not file.is_file():
                write_tile(file, place.read())

    @property
    def _teacher_speaks(self) -> bool:
        return self._config.pseudo.student_share < 1 or 0 in rounds(self._config)

    def ask_teacher(self) -> None:
        """Write the teacher's opinions that are missing, if it has a say."""
        if self._teacher_speaks:
            self._predict_missing("teacher", self._teacher)

    def labels(self, number: int, average: Callable[[Path], None]) -> PseudoLabels:
        """The soft labels of a round; ``average`` writes the weights of the averaged student.

        In a round that begins with the training the student knows nothing, and the teacher speaks alone.
        """
        config, opinions = self._config, []
        share = config.pseudo.student_share
        begins = rounds(config)[number]
        if self._teacher_speaks:
            opinions.append(self._predict_missing("teacher", self._teacher))
        if share > 0 and begins:
            weights = self._folder / f"student-{number + 1}.safetensors"

            def student() -> Predict:
                average(weights)
                return student_view(weights, config.student, config.threads)

            opinions.append(self._predict_missing(f"student-{number + 1}", student))
        by_tile = list(zip(*opinions, strict=True))
        return PseudoLabels(self._tiles, by_tile, config.student.patch, config.pseudo)

    def _teacher(self) -> Predict:
        tuned = json.loads((self._run / "teacher.json").read_text(encoding="utf-8"))
        return teacher_view(self._run / "stardist" / "teacher", tuned["thresholds"], self._config.threads)

    def _predict_missing(self, name: str, ready: Callable[[], Predict]) -> list[Path]:
        """The files of one network's opinions, those that are missing written."""
        files = [self._folder / name / tile.name for tile in self._tiles]
        missing = [(file, tile) for file, tile in zip(files, self._tiles, strict=True) if not file.is_file()]
        if missing:
            predict = ready()
            with self._reporter.track(f"pseudo-labels of the {name}", len(files), "tiles") as task:
                task.advance(len(files) - len(missing))
                for file, tile in missing:
                    opinion = predict_views(predict, read_picture(tile), self._config.pseudo.views)
                    write_prediction(file, opinion)
                    task.advance(1, f"{(opinion.mean[..., 0] > 0.5).mean():.0%} nuclei")
        return files
