"""Read from a project what there is to learn from."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ..annotations.labels import Split, Supervision, interpret, render
from ..annotations.windows import LabelledWindow, label_boxes, labelled_window
from ..core.config import Config
from ..core.errors import CellGenNetError, SupervisionError
from ..core.progress import Reporter
from ..geometry.coordinates import grid_size
from ..geometry.rectangle import Rectangle
from ..qupath.images import open_image
from ..qupath.project import ImageEntry, Project
from ..slides.normalisation import Normalisation, estimate
from ..slides.pixel_size import Calibration, downsample_for, resolve_mpp
from ..slides.reader import SlideReader
from ..slides.tissue import tissue_mask
from .material import TrainingData, UnlabelledTile
from .patches import generator

_MARGIN = 64
"""Samples of real tissue around labels, so that patches there show context instead of padding."""
_BLOCK = 32
_MIN_TISSUE = 0.3


@dataclass(frozen=True)
class TrainingSlide:
    """One readable image of the project at the working resolution; ``mpp`` is its own pixel size."""

    entry: ImageEntry
    supervision: Supervision
    mpp: float | None
    downsample: float
    normalisation: Normalisation


@dataclass(frozen=True)
class SlideTile:
    """A tile of the sample grid of a slide."""

    source: TrainingSlide
    box: Rectangle

    def read(self) -> UnlabelledTile:
        """The picture of the place and where in it tissue shows that is neither labelled nor withheld."""
        box, step = self.box, self.source.downsample
        with open_image(self.source.entry) as reader:
            image = _read(reader, self.source, box)
            mask = tissue_mask(reader, self.source.mpp)
            columns, rows = grid_size(reader.width, reader.height, step)
        usable = np.zeros((box.rows, box.columns), bool)
        for y in range(0, box.rows, _BLOCK):
            for x in range(0, box.columns, _BLOCK):
                left, top = (box.x0 + x) * step, (box.y0 + y) * step
                seen = mask.covers(left, top, _BLOCK * step, _BLOCK * step) > 0
                usable[y : y + _BLOCK, x : x + _BLOCK] = seen
        usable[max(0, rows - box.y0) :] = False
        usable[:, max(0, columns - box.x0) :] = False
        shape, origin = (box.rows, box.columns), (box.x0, box.y0)
        labels = render(self.source.supervision, Split.TRAINING, shape, step, origin)
        usable &= (labels.foreground < 0) & ~labels.withheld
        return UnlabelledTile(image, usable, self.source.entry.name)


def load_training_data(
    project: Project, config: Config, mpp: float | None, reporter: Reporter
) -> TrainingData:
    """Read a project's labels and the images under them.

    mpp : pixel size of images that have none. Raises SupervisionError where there is nothing to train on.
    Images that cannot be read are told and left out.
    """
    readable: list[tuple[ImageEntry, Supervision, Calibration]] = []
    for entry in project.entries:
        try:
            supervision = interpret(project.annotations(entry), config.classes)
            for reason, count in supervision.skipped.items():
                reporter.warn(f"{entry.name}: {count} annotation(s) skipped: {reason}.")
            with open_image(entry) as reader:
                calibration = resolve_mpp(entry.mpp, reader.mpp, mpp, entry.name)
            readable.append((entry, supervision, calibration))
        except CellGenNetError as error:
            reporter.warn(f"Left out: {error}")
    if not any(s.usable(Split.TRAINING) for _, s, _ in readable):
        raise SupervisionError(
            project.path,
            f"has no annotation to train on in its {len(readable)} readable image(s)",
            f"Draw a rectangle of class {config.classes.training} in QuPath and outline every nucleus in it",
        )
    target = config.mpp if config.mpp is not None else _common_mpp(readable)
    if target is None:
        reporter.warn("No image is calibrated: training at full resolution, whatever its pixel size is.")
    sources, training, validation = [], [], []
    with reporter.track("reading labels", len(readable), "images") as task:
        for entry, supervision, calibration in readable:
            if target is not None and calibration.mpp is None:
                reporter.warn(
                    f"Left out: {entry.name}: has no pixel size while others do. "
                    "Give --mpp or set it in QuPath."
                )
                continue
            downsample = 1.0 if target is None else downsample_for(calibration, target)
            with open_image(entry) as reader:
                normalisation = estimate(
                    reader, downsample, config.normalisation, tissue_mask(reader, calibration.mpp)
                )
                source = TrainingSlide(entry, supervision, calibration.mpp, downsample, normalisation)
                sources.append(source)
                training += _windows(reader, source, Split.TRAINING)
                validation += _windows(reader, source, Split.VALIDATION)
            task.advance()
    if not any(window.known.any() for window in training):
        raise SupervisionError(
            project.path, "no image with annotations can be used (see above)", "Give --mpp or calibrate them"
        )
    training, validation = _ensure_validation(training, validation, config, reporter)
    return TrainingData(target, len(sources), training, validation, _places(sources, config))


def _places(sources: Sequence[TrainingSlide], config: Config) -> list[SlideTile]:
    """Places of tissue to pseudo-label: a seeded choice, spread evenly over the images."""
    size = config.pseudo.tile
    per_image: list[list[SlideTile]] = []
    for number, source in enumerate(sources):
        with open_image(source.entry) as reader:
            columns, rows = grid_size(reader.width, reader.height, source.downsample)
            mask = tissue_mask(reader, source.mpp)
        step = source.downsample
        boxes = [
            Rectangle.of_size(x, y, size, size)
            for y in _starts(rows, size)
            for x in _starts(columns, size)
            if mask.covers(x * step, y * step, size * step, size * step) >= _MIN_TISSUE
        ]
        order = generator(config.seed, "tiles", number).permutation(len(boxes))
        per_image.append([SlideTile(source, boxes[i]) for i in order])
    chosen: list[SlideTile] = []
    for turn in range(max((len(boxes) for boxes in per_image), default=0)):
        chosen += [boxes[turn] for boxes in per_image if turn < len(boxes)]
    return chosen[: config.pseudo.tiles]


def _read(reader: SlideReader, source: TrainingSlide, box: Rectangle) -> NDArray[np.float32]:
    pixels = reader.read_grid(box.x0, box.y0, box.columns, box.rows, source.downsample)
    return source.normalisation.apply(pixels)


def _windows(reader: SlideReader, source: TrainingSlide, split: Split) -> list[LabelledWindow]:
    return [
        labelled_window(
            _read(reader, source, box), source.supervision, split, box, source.downsample, source.entry.name
        )
        for box in label_boxes(source.supervision, split, source.downsample, _MARGIN)
    ]


def _starts(length: int, size: int) -> list[int]:
    """Even starts of tiles that cover a length, the last one moved back to end with it."""
    if length <= size:
        return [0]
    count = -(-length // size)
    return [int(i * (length - size) / (count - 1)) // 2 * 2 for i in range(count)]


def _common_mpp(readable: Sequence[tuple[ImageEntry, Supervision, Calibration]]) -> float | None:
    """The pixel size that most images to train on have, to two digits."""
    sizes = Counter(
        float(f"{calibration.mpp:.3g}")
        for _, supervision, calibration in readable
        if supervision.usable(Split.TRAINING) and calibration.mpp is not None
    )
    return sizes.most_common(1)[0][0] if sizes else None


def _ensure_validation(
    training: list[LabelledWindow],
    validation: list[LabelledWindow],
    config: Config,
    reporter: Reporter,
) -> tuple[list[LabelledWindow], list[LabelledWindow]]:
    if any(w.n_nuclei for w in validation):
        return training, validation
    rich = [i for i, w in enumerate(training) if w.n_nuclei]
    name = config.classes.validation
    if len(rich) < 2:
        reporter.warn(
            f"No region of class {name}, and too few others to hold one out: thresholds are tuned on what "
            "was trained on, so the metrics of this model say little."
        )
        return training, training
    held = {rich[i] for i in range(len(rich) // 2, len(rich), 5)}
    reporter.warn(
        f"No region of class {name}: {len(held)} of {len(training)} labelled windows are held out "
        f"({', '.join(sorted({training[i].source for i in held}))})."
    )
    return [w for i, w in enumerate(training) if i not in held], [training[i] for i in sorted(held)]
