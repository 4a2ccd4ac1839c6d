"""The windows of a project that are worth annotating next."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import shapely

from ..annotations.labels import Supervision
from ..annotations.reader import read_supervision
from ..bundle import Bundle
from ..core.config import Config
from ..core.errors import CellGenNetError, Interrupted
from ..core.extras import install_line, missing
from ..core.progress import Reporter
from ..core.wording import listed
from ..geometry.coordinates import edge_to_full, grid_size
from ..geometry.grid import round_up
from ..geometry.rectangle import Rectangle
from ..qupath.choose import chosen
from ..qupath.images import open_image
from ..qupath.loose import LooseImages
from ..qupath.project import Annotation, ImageEntry, Project, Suggestion, WrittenSuggestions
from ..qupath.suggested import SUGGESTED, removable
from ..segmentation.decode import NOMINAL_MPP
from ..segmentation.model import Model
from ..slides.normalisation import estimate
from ..slides.pixel_size import downsample_for, resolve_mpp
from ..slides.tissue import tissue_mask
from ..training.patches import generator
from ..training.soft_maps import teacher_predict
from .blocks import Image, Networks, block_boxes, look_at
from .choose import Choice, choose
from .criteria import Windows, concat

_BLOCKS = 64
"""Blocks looked at in the whole project, or one of each image if there are more images than that."""

_ANNOTATED = 16
"""Blocks looked at in any case because something is annotated there, to know what is new."""
_NOVEL = 0.7
"""From this rank on, a window's distance to what is annotated is named as a reason."""


@dataclass(frozen=True)
class SuggestOptions:
    """What is asked for.

    count     : windows in the whole project.
    size      : side of a window in pixels of 0.25 µm, whatever the model's resolution is.
    images    : names or patterns of images, ``image_ids``: ids; all images without either.
    mpp       : µm per pixel of images without a pixel size.
    threads   : processor threads; 0 for all.
    """

    count: int = 10
    size: int = 160
    seed: int = 0
    images: Sequence[str] = ()
    image_ids: Sequence[str] = ()
    mpp: float | None = None
    threads: int = 0


@dataclass(frozen=True)
class SuggestedWindow:
    """A window worth annotating, on an image.

    rank             : 1 for the one worth most.
    nuclei, doubtful : nuclei that the model detects in it, and how many of these are doubtful.
    mpp              : µm per full-resolution pixel, None if unknown.
    """

    rank: int
    entry: ImageEntry
    suggestion: Suggestion
    nuclei: int
    doubtful: int
    mpp: float | None

    def document(self) -> dict[str, object]:
        """The window as plain data, for JSON; ``box`` is x0, y0, x1, y1 in full-resolution pixels."""
        return {
            "rank": self.rank,
            "image": self.entry.id,
            "name": self.entry.name,
            "box": list(self.suggestion.box),
            "nuclei": self.nuclei,
            "doubtful": self.doubtful,
            "reason": self.suggestion.reason,
        }


@dataclass(frozen=True)
class Looked:
    """What was done about an image.

    windows : how many are on it.
    share   : of its tissue that was looked at, in [0, 1].
    failed  : why it could not be used, "" if it could.
    """

    entry: ImageEntry
    windows: int = 0
    share: float = 0.0
    written: WrittenSuggestions | None = None
    failed: str = ""

    def document(self) -> dict[str, object]:
        """The same as plain data, for JSON."""
        return {
            "id": self.entry.id,
            "name": self.entry.name,
            "status": "failed" if self.failed else "done",
            "reason": self.failed,
            "windows": self.windows,
            "looked_at": round(self.share, 3),
            "file": str(self.written.file) if self.written and self.windows else None,
        }


@dataclass(frozen=True)
class SuggestResult:
    """The windows, the one worth most first, and the images in the project's order.

    backend : that wrote them.
    page    : the HTML page about them; None where it could not be written (a warning says why).
    """

    windows: list[SuggestedWindow]
    images: list[Looked]
    backend: str
    page: Path | None = None

    @property
    def failed(self) -> list[Looked]:
        """The images that could not be used, with the reason."""
        return [image for image in self.images if image.failed]


def suggest_windows(
    project: Project, bundle: Bundle, options: SuggestOptions, reporter: Reporter
) -> SuggestResult:
    """Choose windows and write them into the project as annotations of class ``Suggested``.

    Equal projects, bundles, options and seeds give equal windows. Images that cannot be read are reported.
    Raises UsageError, BundleError, and Interrupted on Ctrl-C, before anything is written.
    """
    if isinstance(project, LooseImages):
        raise project.needs_project("suggestions")
    # From here on in samples of the model's images.
    samples = options.size * NOMINAL_MPP / (bundle.card.mpp or NOMINAL_MPP)
    options = replace(options, size=round_up(round(samples), 2))
    entries = chosen(project.entries, options.images, options.image_ids, project.path)
    failed: dict[str, str] = {}
    images: list[Image] = []
    try:
        for entry in entries:
            try:
                images.append(_image(project, entry, bundle, options, reporter))
            except CellGenNetError as error:
                failed[entry.id] = str(error)
                reporter.warn(f"Skipped: {error}")
        blocks = _blocks(images, options)
        with _networks(bundle, options, reporter) as networks:
            candidates, annotated = _look(images, blocks, networks, options, failed, reporter)
    except KeyboardInterrupt as error:
        raise Interrupted("suggest", "stopped; nothing was written", "Run it again") from error
    windows = []
    if candidates is not None and annotated is not None:
        known = np.array([shapely.area(i.annotated) / (options.size * i.downsample) ** 2 for i in images])
        rng = generator(options.seed, "choose", 0)
        choices = choose(candidates, annotated, known, options.count, rng)
        windows = [_suggested(images, candidates, one, rank) for rank, one in enumerate(choices, start=1)]
    if len(windows) < options.count:
        reporter.warn(f"Only {len(windows)} of {options.count} windows: {_why_few(images, options.size)}.")
    looked = _write(project, entries, images, blocks, windows, failed, options, reporter)
    return SuggestResult(windows, looked, project.backend)


def _why_few(images: Sequence[Image], size: int) -> str:
    """Why there are fewer windows than were asked for; ``size``: of a window, in samples."""
    if not images:
        return "no image could be read"
    small = [image.entry.name for image in images if min(image.size) < size]
    if not small:
        return "no more tissue without annotations was found"
    too_small = f"smaller than a window ({listed(small)}; choose a smaller --size)"
    if len(small) == len(images):
        return f"every image is {too_small}"
    return f"no more tissue without annotations was found, and some images are {too_small}"


def _image(
    project: Project, entry: ImageEntry, bundle: Bundle, options: SuggestOptions, reporter: Reporter
) -> Image:
    config: Config = bundle.config
    with open_image(entry) as reader:
        size = (reader.width, reader.height)
        calibration = resolve_mpp(entry.mpp, reader.stated_mpp, options.mpp, entry.name)
        if calibration.warning:
            reporter.warn(calibration.warning)
        mpp = bundle.card.mpp
        downsample = 1.0 if mpp is None else downsample_for(calibration, mpp)
        tissue = tissue_mask(reader, calibration.mpp)
        normalisation = estimate(reader, downsample, config.normalisation, tissue)
    annotations = project.annotations(entry)
    supervision = read_supervision(project, entry, config.classes, size, calibration.mpp)
    annotated, taken = _areas(annotations, supervision, options.size * downsample)
    return Image(
        entry,
        downsample,
        calibration.mpp,
        grid_size(*size, downsample),
        tissue,
        normalisation,
        annotations,
        annotated,
        taken,
    )


def _areas(
    annotations: Sequence[Annotation], supervision: Supervision, side: float
) -> tuple[shapely.Geometry, shapely.Geometry]:
    """What is annotated, and where no window is suggested; ``side``: of a window, in pixels."""
    annotated = [*(shape for regions in supervision.drawn.values() for shape in regions)]
    annotated += supervision.background
    replaced = set(removable(annotations))
    kept = [a.geometry for a in annotations if a.path_class == SUGGESTED and a.id not in replaced]
    union = shapely.union_all(np.array(annotated, dtype=object))
    taken = shapely.union_all(np.array([union, *supervision.ignored, *kept, *_small(annotations, side)]))
    for area in (union, taken):
        shapely.prepare(area)
    return union, taken


def _small(annotations: Sequence[Annotation], side: float) -> list[shapely.Geometry]:
    """The boxes of annotations that a window could hold: it would look as if a user worked on it."""
    shapes = np.array([a.geometry for a in annotations if a.path_class != SUGGESTED], dtype=object)
    bounds = shapely.bounds(shapes).reshape(-1, 4)
    bounds = bounds[np.isfinite(bounds).all(axis=1)]
    small = (bounds[:, 2] - bounds[:, 0]) * (bounds[:, 3] - bounds[:, 1]) < side**2
    return list(np.asarray(shapely.box(*bounds[small].T), dtype=object).reshape(-1))


def _blocks(images: Sequence[Image], options: SuggestOptions) -> list[list[Rectangle]]:
    """The blocks to look at, for each image: a seeded choice, and some of those with annotations."""
    drawn: list[list[Rectangle]] = []
    annotated: list[list[Rectangle]] = []
    for number, image in enumerate(images):
        boxes = block_boxes(image, options.size)
        order = generator(options.seed, "blocks", number).permutation(len(boxes))
        drawn.append([boxes[row] for row in order])
        corners = edge_to_full(np.array(boxes).reshape(-1, 4), image.downsample)
        touched = np.asarray(shapely.intersects(image.annotated, shapely.box(*corners.T)))
        annotated.append([boxes[row] for row in order if touched[row]])
    looked = evenly(drawn, max(_BLOCKS, len(images)))
    known = evenly(annotated, _ANNOTATED)
    return [sorted({*a, *b}, key=lambda box: (box.y0, box.x0)) for a, b in zip(looked, known, strict=True)]


def evenly(rows: Sequence[Sequence[Rectangle]], most: int) -> list[list[Rectangle]]:
    """Up to ``most`` items, one of each row in turn."""
    taken: list[list[Rectangle]] = [[] for _ in rows]
    for turn in range(max((len(row) for row in rows), default=0)):
        for number, row in enumerate(rows):
            if turn < len(row) and most > 0:
                taken[number].append(row[turn])
                most -= 1
    return taken


@contextmanager
def _networks(bundle: Bundle, options: SuggestOptions, reporter: Reporter) -> Iterator[Networks]:
    """The bundle's student, and its teacher where there is one and the packages that it needs."""
    model = Model.from_bundle(bundle, options.threads)
    if not bundle.holds_teacher:
        yield Networks(model)
        return
    if missing("train"):
        reporter.warn(f"The teacher of {bundle.card.name} is not asked. To add it: {install_line('train')}.")
        yield Networks(model)
        return
    from ..networks.stardist_process import StarDistProcess

    with StarDistProcess(bundle.teacher, threads=options.threads) as teacher:
        teacher.load_weights(bundle.teacher / "weights_best.h5")
        yield Networks(
            model, teacher_predict(teacher, bundle.card.teacher_thresholds, model.predictor.stride)
        )


def _look(
    images: Sequence[Image],
    blocks: Sequence[Sequence[Rectangle]],
    networks: Networks,
    options: SuggestOptions,
    failed: dict[str, str],
    reporter: Reporter,
) -> tuple[Windows | None, Windows | None]:
    """The windows that may be suggested and the annotated ones; None where no tissue was looked at."""
    parts: list[tuple[Windows, Windows]] = []
    with reporter.track("looking", sum(map(len, blocks)), "blocks") as task:
        for number, (image, boxes) in enumerate(zip(images, blocks, strict=True)):
            found: list[tuple[Windows, Windows]] = []
            try:
                with open_image(image.entry) as reader:
                    for one in look_at(image, number, reader, boxes, options.size, networks):
                        found.append(one)
                        task.advance()
            except CellGenNetError as error:
                failed[image.entry.id] = str(error)
                reporter.warn(f"Skipped: {error}")
                continue
            parts += found
    if not parts:
        return None, None
    candidates, annotated = (concat(column) for column in zip(*parts, strict=True))
    return unique(candidates), unique(annotated)


def unique(windows: Windows) -> Windows:
    """Each window once: blocks overlap."""
    where = np.column_stack([windows.image, windows.boxes])
    return windows.take(np.sort(np.unique(where, axis=0, return_index=True)[1]))


def _suggested(images: Sequence[Image], candidates: Windows, choice: Choice, rank: int) -> SuggestedWindow:
    row = choice.row
    image = images[int(candidates.image[row])]
    edges = np.rint(edge_to_full(candidates.boxes[row], image.downsample)).astype(int)
    nuclei, doubtful = int(candidates.nuclei[row]), int(candidates.doubtful[row])
    suggestion = Suggestion(Rectangle(*edges.tolist()), reason(rank, choice, nuclei, doubtful))
    return SuggestedWindow(rank, image.entry, suggestion, nuclei, doubtful, image.mpp)


def reason(rank: int, choice: Choice, nuclei: int, doubtful: int) -> str:
    """Why a window was chosen, in one line."""
    parts = []
    if nuclei:
        verb = "is" if doubtful == 1 else "are"
        parts.append(f"{doubtful} of {nuclei} detected nuclei {verb} doubtful")
    else:
        parts.append("no nucleus was detected")
    parts.append(f"predictions disagree more than in {_percent(choice.disagreement)} of the tissue")
    if choice.novelty >= _NOVEL:
        parts.append(
            f"less like what is annotated or suggested before than {_percent(choice.novelty)} of the tissue"
        )
    if choice.first:
        parts.append("nothing else is annotated on this image")
    return f"Suggestion {rank}: {'; '.join(parts)}."


def _percent(rank: float) -> str:
    return f"{min(int(100 * rank), 99)} %"


def _write(
    project: Project,
    entries: Sequence[ImageEntry],
    images: Sequence[Image],
    blocks: Sequence[Sequence[Rectangle]],
    windows: Sequence[SuggestedWindow],
    failed: dict[str, str],
    options: SuggestOptions,
    reporter: Reporter,
) -> list[Looked]:
    """Write the suggestions of each image that could be read."""
    shares = {
        image.entry.id: min(1.0, len(boxes) / max(len(block_boxes(image, options.size)), 1))
        for image, boxes in zip(images, blocks, strict=True)
    }
    looked = []
    for entry in entries:
        written, mine = None, []
        if entry.id not in failed:
            mine = [window.suggestion for window in windows if window.entry.id == entry.id]
            try:
                written = project.write_suggestions(entry, mine)
            except CellGenNetError as error:
                failed[entry.id] = str(error)
                reporter.warn(f"{entry.name}: {error}")
        share, why = shares.get(entry.id, 0.0), failed.get(entry.id, "")
        looked.append(Looked(entry, len(mine), share, written, why))
    return looked
