"""The page on a segmentation run: each slide's nuclei in pictures and numbers, and what needs a look."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import shapely
from numpy.typing import NDArray

from ..bundle import Bundle
from ..core.config import ClassNames
from ..core.environment import in_one_line
from ..nuclei import Nuclei
from ..qupath.images import open_image
from ..qupath.loose import LooseImages
from ..qupath.project import ImageEntry, Project
from ..segmentation.covered import covered_area
from ..segmentation.plan import ignored_geometry
from ..segmentation.record import read_record
from ..segmentation.result import ImageResult
from ..slides.pixel_size import resolve_mpp
from ..slides.reader import SlideReader
from ..slides.tissue_area import tissue_area
from ..tables.counted import counted_part, readable_cores, rows_outside
from .crops import SURE, Crop, Window, choose_windows, draw_crops
from .density import ScaleBar, colour_bar, count_squares, density_map, rounded, scale_bar, thumbnail_grid
from .locations import locate
from .overlay import jpeg
from .pages import keep_earlier, write_page
from .standouts import RULE, UNKNOWN, SlideNumbers, standouts

PAGE = "segment.html"
MOST_PICTURED = 60
"""Slides with pictures; the table has all slides."""


@dataclass(frozen=True)
class SlidePictures:
    """A slide's pictures: data URIs, "" if there is none.

    thumbnail : the slide; ``density``: the density map of its nuclei.
    highest   : density at the map's brightest place, nuclei per mm²; None without a pixel size or nuclei.
    bar       : the scale bar of both; None without a pixel size.
    """

    thumbnail: str = ""
    density: str = ""
    highest: float | None = None
    bar: ScaleBar | None = None
    crops: Sequence[Crop] = ()


@dataclass(frozen=True)
class SlideCard:
    """The page's entry on one slide.

    size    : width and height in full-resolution pixels; mpp: µm per pixel.
    tissue  : mm² of tissue in which nuclei were looked for; None without a pixel size.
    reader  : the library that read the slide's pixels.
    problem : why the pictures or the nuclei could not be read.
    remarks : why the slide needs a look, one sentence each without a full stop.
    count   : nuclei in each square of the density map; windows: to be shown. None of them without nuclei.
    """

    result: ImageResult
    size: tuple[int, int] | None = None
    mpp: float | None = None
    tissue: float | None = None
    numbers: SlideNumbers = UNKNOWN
    pictures: SlidePictures = field(default_factory=SlidePictures)
    reader: str = ""
    problem: str = ""
    remarks: Sequence[str] = ()
    count: NDArray[np.float32] | None = None
    windows: Sequence[Window] = ()

    @property
    def needs_a_look(self) -> bool:
        """Whether the slide is listed at the top of the page."""
        return bool(self.remarks or self.problem) or self.result.status == "failed"


def write_run_page(
    project: Project,
    results: Sequence[ImageResult],
    bundle: Bundle,
    *,
    warnings: Sequence[str] = (),
    mpp: float | None = None,
    chosen: Mapping[str, str] | None = None,
) -> Path:
    """Write ``<project>/cellgennet/report/segment.html`` for a finished run and return its path.

    Of images without a project it is beside their results, where their user looks first.

    warnings : messages of the run.
    mpp      : µm per pixel of images without a pixel size, as given to the segmentation.
    chosen   : what was changed of the model's rules for the run, name to value.

    The pages of earlier runs are kept beside it, under names with their time. The page says why where a slide
    cannot be shown. Raises ExportError.
    """
    entries = {entry.id: entry for entry in project.entries}
    cards = _cards(project, [entries[result.id] for result in results], results, bundle, warnings, mpp)
    loose = isinstance(project, LooseImages)
    file = project.path / PAGE if loose else project.work_folder / "report" / PAGE
    values: dict[str, Any] = {
        "project": project.path.name,
        "path": str(project.path),
        "bundle": bundle,
        "warnings": warnings,
        "chosen": chosen or {},
        "cards": cards,
        "total": sum(result.count for result in results),
        "seconds": sum(result.seconds for result in results),
        "done": sum(result.status == "done" for result in results),
        "failed": sum(result.status == "failed" for result in results),
        "next_steps": next_steps(cards),
        "notes": list(dict.fromkeys(result.written.note for result in results if result.written)),
        "colour_bar": colour_bar(),
        "rule": RULE,
        "sure": SURE,
        "most": MOST_PICTURED,
        "duration": duration,
        "rounded": rounded,
        "earlier": keep_earlier(file),
    }
    return write_page(file, "segment.html.j2", values)


def _cards(
    project: Project,
    entries: Sequence[ImageEntry],
    results: Sequence[ImageResult],
    bundle: Bundle,
    warnings: Sequence[str],
    mpp: float | None,
) -> list[SlideCard]:
    """Numbers of all slides first; then the pictures of those that need a look, and of others as room is."""
    classes = bundle.config.classes
    cards = [slide_card(project, e, r, mpp, classes) for e, r in zip(entries, results, strict=True)]
    differing = standouts([card.numbers for card in cards])
    for i, (card, differs) in enumerate(zip(cards, differing, strict=True)):
        name = f"{card.result.name}: "
        said = [line.removeprefix(name).rstrip(".") for line in warnings if line.startswith(name)]
        said = [line for line in said if not line.startswith("FAILED: ")]
        nothing = [] if card.result.count or card.result.status != "done" else ["It has no nuclei"]
        cards[i] = replace(card, remarks=[*nothing, *differs, *said])
    shown = _pictured([card.needs_a_look for card in cards])
    return [
        with_pictures(project, entry, card) if i in shown else card
        for i, (entry, card) in enumerate(zip(entries, cards, strict=True))
    ]


def _pictured(needs_a_look: Sequence[bool]) -> set[int]:
    """The slides with pictures: those that need a look first, then others at regular intervals."""
    first = [i for i, needed in enumerate(needs_a_look) if needed][:MOST_PICTURED]
    others = [i for i, needed in enumerate(needs_a_look) if not needed]
    room = min(len(others), MOST_PICTURED - len(first))
    at = np.linspace(0, len(others) - 1, room).round().astype(int)
    return {*first, *(others[i] for i in at.tolist())}


def slide_card(
    project: Project, entry: ImageEntry, result: ImageResult, mpp: float | None, classes: ClassNames
) -> SlideCard:
    """The numbers of one image without its pictures; errors in reading it become its ``problem``."""
    if entry.slide is None:
        return SlideCard(result)
    try:
        with open_image(entry) as reader:
            size, backend = (reader.width, reader.height), reader.backend
            known = resolve_mpp(entry.mpp, reader.stated_mpp, mpp, entry.name).mpp
            card = SlideCard(result, size, known, reader=backend)
            if result.status != "done":
                return card
            annotations = project.annotations(entry)
            ignored = ignored_geometry(annotations, classes.ignore)
            tissue = None
            if known:
                objects = [*readable_cores(project, entry), *annotations]
                covered = covered_area(read_record(project, entry), size, objects)
                tissue = _tissue(reader, known, covered, ignored)
        found = locate(_outside(_nuclei(project, entry), ignored))
    except Exception as error:
        # One slide that cannot be read does not cost the page, which says why.
        return SlideCard(result, problem=in_one_line(error))
    area = found.median_area
    numbers = SlideNumbers(
        per_mm2=len(found) / tissue if tissue else None,
        area=area * known**2 if area is not None and known else None,
        probability=found.mean_probability,
    )
    count = count_squares(found.centres, size) if len(found) else None
    windows = choose_windows(found, size, known)
    return replace(card, tissue=tissue, numbers=numbers, count=count, windows=windows)


def _nuclei(project: Project, entry: ImageEntry) -> Iterator[Nuclei]:
    """This tool's nuclei of an image, in chunks: in QuPath there may be others beside them."""
    for chunk in project.detection_chunks(entry):
        own = chunk.nuclei.own
        yield chunk.nuclei if own.all() else chunk.nuclei.take(own)


def _outside(chunks: Iterable[Nuclei], ignored: shapely.Geometry | None) -> Iterator[Nuclei]:
    """Nuclei outside the ignored area, as tables count them: others may have been kept there."""
    for nuclei in chunks:
        yield nuclei if ignored is None else nuclei.take(rows_outside(nuclei, ignored))


def _tissue(
    reader: SlideReader, mpp: float, covered: shapely.Geometry | None, ignored: shapely.Geometry | None
) -> float | None:
    """mm² of tissue in a covered area, without ignored ones; None where that area is not known."""
    if covered is None:
        return None
    part = counted_part(covered, ignored)
    return tissue_area(reader, mpp).inside(part) * mpp**2 / 1e6


def with_pictures(project: Project, entry: ImageEntry, card: SlideCard) -> SlideCard:
    """A card with its pictures; errors in reading become its ``problem``."""
    if card.size is None:
        return card
    try:
        with open_image(entry) as reader:
            step, columns, rows = thumbnail_grid(card.size)
            picture = reader.read_grid(0, 0, columns, rows, step)
            pictures = SlidePictures(jpeg(picture), bar=scale_bar(columns * step, card.mpp))
            if card.count is not None:
                density, highest = density_map(picture, card.count, card.size, card.mpp)
                crops = draw_crops(reader, card.windows, _nuclei(project, entry), card.mpp)
                pictures = replace(pictures, density=jpeg(density), highest=highest, crops=crops)
    except Exception as error:
        # One slide that cannot be shown does not cost the page, which says why.
        return replace(card, problem=in_one_line(error))
    return replace(card, pictures=pictures)


def next_steps(cards: Sequence[SlideCard]) -> list[str]:
    """What to do next, the most urgent first."""
    steps = []
    if any(card.result.status == "failed" for card in cards):
        steps.append(
            "Correct what is named under the slides that failed, then run the same command again: slides "
            "that are done are not segmented again."
        )
    if any(card.remarks for card in cards):
        steps.append("Look at the slides that need a look before you use their numbers.")
    if any(card.result.count for card in cards):
        steps.append(
            "Compare the outlines with the tissue below, the least sure windows first. Where they are wrong, "
            "outline nuclei there in QuPath, train, and segment again. To measure how far to trust the "
            "nuclei, outline some in Validation regions and run `cellgennet evaluate`."
        )
    elif not steps:
        steps.append("Nothing was segmented: see the reasons below.")
    return steps


def duration(seconds: float) -> str:
    """A duration as text, such as "1 min 15 s"."""
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    if hours:
        return f"{hours} h {minutes:02d} min"
    return f"{minutes} min {rest:02d} s" if minutes else f"{rest} s"
