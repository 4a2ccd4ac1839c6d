"""The detections of a project's images as one stream, in the units of the export."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import pandas as pd
import pyarrow.compute as pc
from numpy.typing import NDArray

from ..core.progress import SILENT, Reporter, Task
from ..measure.neighbourhood import neighbourhood
from ..nuclei import OWN_MARK
from ..qupath.parents import cells_decide, parents_of
from ..qupath.project import Core, DetectionChunk, ImageEntry, Project
from ..qupath.repeats import RepeatedOutlines
from ..segmentation.record import read_record
from .cells import text_column
from .chunk_spool import ChunkSpool
from .counted import counted_chunks, readable_cores
from .tables import centroids_of
from .units import Units


@dataclass
class Tally:
    """What was seen of an image.

    count    : detections; ``foreign``: those that this tool did not make.
    repeated : those with exactly the outline of an earlier one.
    unlike   : whether measurements are in another unit than the image.
    """

    count: int = 0
    foreign: int = 0
    repeated: int = 0
    unlike: bool = False


class NucleiStream:
    """The detections of images, in chunks; ``tallies`` says afterwards what each image held.

    neighbours : whether to measure the neighbourhood, for which an image's detections are buffered on disk;
    beside     : in a folder beside this file, until they have been passed on.

    Raises OSError where they cannot be.
    """

    def __init__(
        self,
        project: Project,
        entries: Sequence[ImageEntry],
        units: Units,
        beside: Path,
        neighbours: bool = False,
        reporter: Reporter = SILENT,
    ) -> None:
        self._project, self._entries, self._units = project, entries, units
        self._beside, self._neighbours, self._reporter = beside, neighbours, reporter
        self.tallies: dict[str, Tally] = {}

    def __iter__(self) -> Iterator[tuple[ImageEntry, DetectionChunk]]:
        with self._reporter.track("reading", self._expected(), "nuclei") as task:
            for entry in self._entries:
                yield from self._image(entry, task)

    def _expected(self) -> int | None:
        """How many nuclei will be read; None if some image has no record of its own."""
        records = [read_record(self._project, entry) for entry in self._entries]
        counts = [record.count for record in records if record is not None]
        return sum(counts) * (1 + self._neighbours) or None if len(counts) == len(records) else None

    def _image(self, entry: ImageEntry, task: Task) -> Iterator[tuple[ImageEntry, DetectionChunk]]:
        chunks = counted_chunks(self._project, entry, self._reporter)
        if not self._neighbours:
            yield from self._converted(entry, chunks, None, task)
            return
        self._beside.parent.mkdir(parents=True, exist_ok=True)
        with TemporaryDirectory(prefix=".cellgennet-", dir=self._beside.parent) as folder:
            spool = ChunkSpool(Path(folder))
            nearby = self._nearby(entry, spool.pass_on(chunks), task)
            yield from self._converted(entry, spool, nearby, task)

    def _converted(
        self, entry: ImageEntry, chunks: Iterable[DetectionChunk], nearby: pd.DataFrame | None, task: Task
    ) -> Iterator[tuple[ImageEntry, DetectionChunk]]:
        """The chunks of an image in the units of the export, with its neighbourhood measurements."""
        shown = self._units.entry(entry)
        tally, outlines = self.tallies.setdefault(entry.id, Tally()), RepeatedOutlines()
        cores = readable_cores(self._project, entry)
        for chunk in chunks:
            if not len(chunk.nuclei):
                continue
            outlines.add(chunk.nuclei)
            converted = self._units.chunk(entry, chunk)
            if cores:
                converted = replace(converted, cores=self._core_names(chunk, cores))
            if nearby is not None:
                rows = nearby.iloc[tally.count : tally.count + len(chunk.nuclei)]
                converted = replace(converted, nuclei=converted.nuclei.with_measurements(rows))
            tally.count += len(chunk.nuclei)
            tally.foreign += len(chunk.nuclei) - _own(chunk.nuclei.ids)
            tally.unlike = tally.unlike or self._units.is_unlike(entry, converted)
            yield shown, converted
            task.advance(len(chunk.nuclei), entry.name)
        tally.repeated = outlines.count

    def _core_names(self, chunk: DetectionChunk, cores: Sequence[Core]) -> NDArray[np.object_]:
        names = {core.id: core.name or "" for core in cores} | {"": ""}
        parents = parents_of(chunk.nuclei, cores, cells_decide(self._project.version))
        return np.array([names[parent] for parent in parents], dtype=object)

    def _nearby(self, entry: ImageEntry, chunks: Iterable[DetectionChunk], task: Task) -> pd.DataFrame:
        """The neighbourhood measurements of all detections of an image."""
        centroids: list[NDArray[np.float64]] = [np.empty((0, 2))]
        planes: list[NDArray[np.int32]] = [np.empty((0, 2), np.int32)]
        for chunk in chunks:
            centroids.append(centroids_of(chunk.nuclei))
            planes.append(np.column_stack([chunk.nuclei.z, chunk.nuclei.t]))
            task.advance(len(chunk.nuclei), entry.name)
        points = np.concatenate(centroids)
        size = entry.size or tuple(points.max(axis=0, initial=1.0))
        return neighbourhood(points, np.concatenate(planes), (size[0], size[1]), self._units.entry(entry).mpp)


def has_nuclei(project: Project, entry: ImageEntry) -> bool:
    """Whether an image has any detection that counts."""
    return any(len(chunk.nuclei) for chunk in counted_chunks(project, entry))


def _own(ids: NDArray[np.object_]) -> int:
    """How many ids are of this tool's objects."""
    return int(pc.sum(pc.starts_with(text_column(ids), OWN_MARK)).as_py() or 0)
