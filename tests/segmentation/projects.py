"""A project in memory, and how tests segment it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, NoReturn

import cv2
import numpy as np
import shapely
from numpy.typing import NDArray

from cellgennet_qupath.core.progress import SILENT, Reporter
from cellgennet_qupath.nuclei import OWN_MARK, Nuclei, NucleiChunks, collect, concat, empty
from cellgennet_qupath.qupath.checked import inside
from cellgennet_qupath.qupath.project import (
    WRITE_DEFAULTS,
    Annotation,
    Core,
    DetectionChunk,
    ImageEntry,
    ObjectCounts,
    Project,
    StainVectors,
    WriteOptions,
    WrittenDetections,
)
from cellgennet_qupath.segmentation.batch import segment_project
from cellgennet_qupath.segmentation.model import Model
from cellgennet_qupath.segmentation.options import SegmentOptions
from cellgennet_qupath.segmentation.result import ImageResult

from .fakes import ColourReader, draw, model

DISCS = [(float(x), float(y), 10.0) for x in range(40, 400, 60) for y in range(40, 260, 60)]


class MemoryProject:
    """A project whose detections are kept in memory, as QuPath keeps them: beside those of other tools.

    others : these, by image; ``tiles`` are how many objects more are detections without being nuclei.
    """

    backend = "memory"
    version = "0.7.0"

    def __init__(self, path: Path) -> None:
        self.path = path
        self.entries: Sequence[ImageEntry] = ()
        self.drawn: dict[str, list[Annotation]] = {}
        self.grid: dict[str, list[Core]] = {}
        self.found: dict[str, Nuclei] = {}
        self.others: dict[str, Nuclei] = {}
        self.tiles: dict[str, int] = {}
        self.writes: list[str] = []

    @property
    def work_folder(self) -> Path:
        return self.path / "cellgennet"

    def add(self, name: str, image: NDArray[np.uint8] | None) -> ImageEntry:
        file = self.path / f"{name}.png"
        if image is not None:
            assert cv2.imwrite(str(file), image[..., ::-1])
        size = None if image is None else (image.shape[1], image.shape[0])
        number = str(len(self.entries) + 1)
        entry = ImageEntry(
            number, name, file.as_uri(), file if image is not None else None, size, (0.25, 0.25)
        )
        self.entries = (*self.entries, entry)
        return entry

    def change(self, entry: ImageEntry, **changes: Any) -> None:
        self.entries = tuple(replace(e, **changes) if e is entry else e for e in self.entries)

    def annotations(self, entry: ImageEntry) -> list[Annotation]:
        return self.drawn.get(entry.id, [])

    def cores(self, entry: ImageEntry) -> list[Core]:
        return self.grid.get(entry.id, [])

    def counts(self, entry: ImageEntry) -> ObjectCounts:
        nuclei = len(self.detections(entry)) + len(self.others.get(entry.id, empty()))
        return ObjectCounts(detections=nuclei + self.tiles.get(entry.id, 0))

    def stains(self, entry: ImageEntry) -> StainVectors | None:
        return None

    def image_type(self, entry: ImageEntry) -> str:
        return ""

    def detections(self, entry: ImageEntry) -> Nuclei:
        return self.found.get(entry.id, empty())

    def detection_chunks(self, entry: ImageEntry) -> Iterator[DetectionChunk]:
        nuclei = concat([self.detections(entry), self.others.get(entry.id, empty())])
        nothing = np.full(len(nuclei), "", dtype=object)
        yield DetectionChunk(nuclei, nothing, nothing, nothing)

    def write_detections(
        self, entry: ImageEntry, nuclei: NucleiChunks, options: WriteOptions = WRITE_DEFAULTS
    ) -> WrittenDetections:
        new, others = collect(nuclei), self.others.get(entry.id, empty())
        own = np.array([one.startswith(OWN_MARK) for one in new.ids], bool)
        self.found[entry.id] = new.take(own)
        self.options = options
        if options.existing == "replace-all":
            others = empty() if options.checked is None else inside(others, options.checked)
        self.others[entry.id] = concat([others, new.take(~own)])
        self.writes.append(entry.id)
        place = self.save(entry)
        return WrittenDetections(len(nuclei), place, "kept in memory")

    def save(self, entry: ImageEntry) -> Path:
        """The file that QuPath would have saved."""
        place = self.work_folder / f"{entry.id}.written"
        others = self.others.get(entry.id, empty())
        content = [len(self.detections(entry)), others.ids.tolist(), self.tiles.get(entry.id, 0)]
        place.parent.mkdir(exist_ok=True)
        place.write_text(str(content), encoding="utf-8")
        return place

    def checked_detections(self, entry: ImageEntry, area: shapely.Geometry | None = None) -> Nuclei:
        return inside(self.detections(entry), area)

    def write_suggestions(self, entry: ImageEntry, suggestions: object) -> NoReturn:
        raise NotImplementedError

    def close(self) -> None:
        return None

    def __enter__(self) -> Project:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()


def picture() -> NDArray[np.uint8]:
    return draw(440, 300, DISCS)


def segment(
    project: MemoryProject, fake: Model | None = None, *, reporter: Reporter = SILENT, **options: Any
) -> list[ImageResult]:
    chosen = SegmentOptions(**{"tile": 128, **options})
    return segment_project(project, fake or model(), chosen, reporter=reporter)


def stop_at(call: int) -> ColourReader:
    def before(number: int) -> None:
        if number == call:
            raise KeyboardInterrupt

    return ColourReader(before=before)


def outlines(nuclei: Nuclei) -> list[str]:
    return [outline.wkt for outline in nuclei.polygons]
