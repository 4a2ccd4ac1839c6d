"""What a training learns from: labelled windows and tiles of unlabelled tissue, read from a project."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from ..annotations.findings import report
from ..annotations.labels import Split, Supervision, render
from ..annotations.reader import read_supervision
from ..annotations.same_slide import same_slides
from ..annotations.windows import Window, label_boxes
from ..core.config import Config
from ..core.environment import of_image
from ..core.errors import SupervisionError
from ..core.progress import Remembering, Reporter
from ..geometry.coordinates import grid_size
from ..geometry.rectangle import Rectangle
from ..qupath.images import distinct_names, open_image
from ..qupath.project import ImageEntry, Project
from ..slides.judgement import judge_slide
from ..slides.normalisation import estimate
from ..slides.pixel_size import Calibration, downsample_for, resolve_mpp
from ..slides.tissue import tissue_mask
from .held_out import ensure_validation, without_validation_of_others
from .patches import generator
from .slide_windows import SlideWindow, TrainingSlide, WindowCache

_MARGIN = 64
"""Samples of real tissue around labels, so that patches there show context instead of padding."""
_LARGEST = 512
"""Samples per side of a window: the memory of a prediction grows with it."""
_CELL = 32
"""Side, in samples, of the squares in which a tile's tissue is looked up."""
_MIN_TISSUE = 0.3
"""Least share of tissue in a tile to pseudo-label."""


@dataclass(frozen=True)
class UnlabelledTile:
    """A tile of tissue to pseudo-label; rows and columns are even.

    image  : float32 (rows, columns, 3), normalised.
    usable : bool (rows, columns), true on tissue that is neither labelled nor held out.
    """

    image: NDArray[np.float32]
    usable: NDArray[np.bool_]
    source: str


class TileSource(Protocol):
    """A tile of tissue that is read when it is needed."""

    def read(self) -> UnlabelledTile:
        """The tile's pixels and the mask of what may be learnt from."""


@dataclass(frozen=True)
class TrainingData:
    """Everything that a training run learns from and is validated on.

    mpp    : the working resolution in µm per pixel; None where nothing is calibrated.
    images : how many images were read.
    tiles  : unlabelled tissue.
    notes  : what was odd about annotations and images, one sentence each.
    stain  : "H&E" if no image has other colours, else "" (unknown).
    """

    mpp: float | None
    images: int
    training: Sequence[Window]
    validation: Sequence[Window]
    tiles: Sequence[TileSource]
    notes: Sequence[str] = ()
    stain: str = "H&E"

    @property
    def validates_on_training(self) -> bool:
        """Whether nothing is held out, so that scores on validation say nothing about other nuclei."""
        learnt = {id(window) for window in self.training}
        return any(id(window) in learnt for window in self.validation)

    def enlargement(self, mpp: float | None) -> float:
        """How much larger nuclei are at the working resolution than at one of ``mpp`` µm per pixel."""
        return mpp / self.mpp if mpp is not None and self.mpp is not None else 1.0

    def describe(self) -> dict[str, int]:
        """Counts for messages and for the model card."""
        return {
            "images": self.images,
            "training_windows": len(self.training),
            "training_nuclei": sum(w.n_nuclei for w in self.training),
            "training_labelled_pixels": sum(w.n_known for w in self.training),
            "validation_windows": len(self.validation),
            "validation_nuclei": sum(w.n_nuclei for w in self.validation),
            "unlabelled_tiles": len(self.tiles),
        }


@dataclass(frozen=True)
class SlideTile:
    """A tile of the sample grid of a slide."""

    slide: TrainingSlide
    box: Rectangle

    def read(self) -> UnlabelledTile:
        """The tile's pixels and the mask of tissue in it that is neither labelled nor held out."""
        box, step = self.box, self.slide.downsample
        with open_image(self.slide.entry) as reader:
            pixels, part = self.slide.pixels(reader, box)
            mask = tissue_mask(reader, self.slide.mpp)
        usable = np.zeros((box.rows, box.columns), bool)
        for y in range(0, box.rows, _CELL):
            for x in range(0, box.columns, _CELL):
                left, top = (box.x0 + x) * step, (box.y0 + y) * step
                tissue = mask.covers(left, top, _CELL * step, _CELL * step) > 0
                usable[y : y + _CELL, x : x + _CELL] = tissue
        on_slide = np.zeros_like(usable)
        on_slide[part] = True
        usable &= on_slide
        shape, origin = (box.rows, box.columns), (box.x0, box.y0)
        labels = render(self.slide.supervision, Split.TRAINING, shape, step, origin)
        usable &= (labels.foreground < 0) & ~labels.withheld
        return UnlabelledTile(self.slide.normalisation.apply(pixels), usable, self.slide.entry.name)


_Readable = tuple[ImageEntry, Supervision, Calibration, str]
"""An image that can be read, its labels, its pixel size and its type in QuPath."""


def load_training_data(
    project: Project, config: Config, mpp: float | None, reporter: Reporter
) -> TrainingData:
    """Read a project's annotations and the pixels around them.

    mpp : pixel size of images that have none. Images that cannot be read are reported and skipped.
    Raises SupervisionError where there is nothing to train on.
    """
    reporter = listener = Remembering(reporter)
    readable: list[_Readable] = []
    names = distinct_names(project.entries)
    for entry in (replace(entry, name=name) for entry, name in zip(project.entries, names, strict=True)):
        try:
            with open_image(entry) as reader:
                size = (reader.width, reader.height)
                calibration = resolve_mpp(entry.mpp, reader.stated_mpp, mpp, entry.name)
            if calibration.warning:
                reporter.warn(calibration.warning)
            supervision = read_supervision(project, entry, config.classes, size, calibration.mpp)
            report(supervision.findings, entry.name, reporter)
            known = replace(entry, size=size)
            readable.append((known, supervision, calibration, project.image_type(entry)))
        except Exception as error:
            reporter.warn(f"Skipped: {of_image(entry.name, error)}")
    alike = same_slides([entry for entry, *_ in readable])
    labels = without_validation_of_others([(entry, s) for entry, s, *_ in readable], alike, reporter)
    readable = [(one[0], s, *one[2:]) for one, s in zip(readable, labels, strict=True)]
    if not any(s.count(Split.TRAINING) for _, s, *_ in readable):
        raise _nothing_to_train_on(project, [s for _, s, *_ in readable], config)
    target = config.mpp if config.mpp is not None else _common_mpp(readable)
    if target is None:
        reporter.warn("No image is calibrated: training at full resolution, whatever the pixel size is.")
    slides: list[TrainingSlide] = []
    training: list[SlideWindow] = []
    validation: list[SlideWindow] = []
    cache = WindowCache()
    unlike_h_and_e = False
    keys = {one.id: group[0].id for group in alike for one in group}
    with reporter.track("reading labels", len(readable), "images") as task:
        for entry, supervision, calibration, image_type in readable:
            if target is not None and calibration.mpp is None:
                reporter.warn(
                    f"Skipped: {entry.name}: {calibration.rejected or 'it has no pixel size'}, while the "
                    "training has one. Give --mpp or set it in QuPath."
                )
                continue
            downsample = 1.0 if target is None else downsample_for(calibration, target)
            with open_image(entry) as reader:
                judgement = judge_slide(reader, calibration.mpp, image_type, entry.channels)
                for sentence in judgement.sentences:
                    reporter.warn(f"{entry.name}: {sentence}")
                unlike_h_and_e |= bool(judgement.unlike)
                tissue = tissue_mask(reader, calibration.mpp)
                normalisation = estimate(reader, downsample, config.normalisation, tissue)
                key = keys.get(entry.id, entry.id)
                slide = TrainingSlide(entry, supervision, calibration.mpp, downsample, normalisation, key)
            slides.append(slide)
            training += _windows(slide, Split.TRAINING, cache)
            validation += _windows(slide, Split.VALIDATION, cache)
            task.advance()
    if not any(window.n_nuclei for window in training):
        raise SupervisionError(
            project.path, "no image with annotations can be used (see above)", "Give --mpp or calibrate them"
        )
    slides, learnt, held_out = ensure_validation(slides, training, validation, config, reporter)
    tiles = _choose_tiles(slides, config)
    return TrainingData(
        target, len(slides), learnt, held_out, tiles, listener.warnings, "" if unlike_h_and_e else "H&E"
    )


def _nothing_to_train_on(
    project: Project, supervisions: Sequence[Supervision], config: Config
) -> SupervisionError:
    """The error of a project without a nucleus to learn from."""
    name, readable = config.classes.training, f"in its {len(supervisions)} readable image(s)"
    if any(s.findings or s.drawn[Split.TRAINING] for s in supervisions):
        return SupervisionError(
            project.path,
            f"no whole outlined nucleus to train on {readable} (see above)",
            f"Outline every nucleus in a region of class {name}",
        )
    return SupervisionError(
        project.path,
        f"no annotation to train on {readable}",
        f"Draw a rectangle of class {name} in QuPath and outline every nucleus in it",
    )


def _choose_tiles(slides: Sequence[TrainingSlide], config: Config) -> list[SlideTile]:
    """Tiles of tissue to pseudo-label: a seeded choice, taken evenly from the images."""
    size = config.pseudo.tile
    per_image: list[list[SlideTile]] = []
    for number, slide in enumerate(slides):
        with open_image(slide.entry) as reader:
            columns, rows = grid_size(reader.width, reader.height, slide.downsample)
            mask = tissue_mask(reader, slide.mpp)
        step = slide.downsample
        boxes = [
            Rectangle.of_size(x, y, size, size)
            for y in _starts(rows, size)
            for x in _starts(columns, size)
            if mask.covers(x * step, y * step, size * step, size * step) >= _MIN_TISSUE
        ]
        order = generator(config.seed, "tiles", number).permutation(len(boxes))
        per_image.append([SlideTile(slide, boxes[i]) for i in order])
    chosen: list[SlideTile] = []
    for turn in range(max((len(tiles) for tiles in per_image), default=0)):
        chosen += [tiles[turn] for tiles in per_image if turn < len(tiles)]
    return chosen[: config.pseudo.tiles]


def _windows(slide: TrainingSlide, split: Split, cache: WindowCache) -> list[SlideWindow]:
    boxes = label_boxes(slide.supervision, split, slide.downsample, _MARGIN, _LARGEST)
    return [SlideWindow(slide, split, where, cache) for where in boxes]


def _starts(length: int, size: int) -> list[int]:
    """Even start positions of tiles that cover a length; the last tile is moved back to end at its end."""
    if length <= size:
        return [0]
    count = -(-length // size)
    return [int(i * (length - size) / (count - 1)) // 2 * 2 for i in range(count)]


def _common_mpp(readable: Sequence[_Readable]) -> float | None:
    """The pixel size that most images with training labels have, to three digits."""
    sizes = Counter(
        float(f"{calibration.mpp:.3g}")
        for _, supervision, calibration, _ in readable
        if supervision.usable(Split.TRAINING) and calibration.mpp is not None
    )
    return sizes.most_common(1)[0][0] if sizes else None
