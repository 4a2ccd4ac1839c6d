"""Projects in memory, to export."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import shapely

from cellgennet_qupath.measure.shape import shape_measurements
from cellgennet_qupath.nuclei import Nuclei, empty
from cellgennet_qupath.qupath.formats.outlines import drawn, roi_names
from cellgennet_qupath.qupath.origin import origin_of
from cellgennet_qupath.qupath.project import ROOT, Annotation, Core, DetectionChunk, ImageEntry
from cellgennet_qupath.segmentation.record import Record, write_record
from cellgennet_qupath.tables.project import export_project

Images = Sequence[tuple[ImageEntry, Nuclei]]


def entry(number: int, name: str, mpp: tuple[float, float] | None = (0.25, 0.25)) -> ImageEntry:
    return ImageEntry(str(number), name, "", None, (100, 100), mpp)


def nuclei(
    *boxes: tuple[float, float, float, float], mpp: tuple[float, float] | None = (0.25, 0.25)
) -> Nuclei:
    detected = Nuclei.from_polygons([shapely.box(*box) for box in boxes], np.linspace(0.5, 0.9, len(boxes)))
    return detected.with_measurements(shape_measurements(detected.polygons, mpp))


@dataclass
class MemoryProject:
    """A project whose detections are read in chunks of two."""

    path: Path
    images: Images
    drawn: dict[str, list[Annotation]] = field(default_factory=dict)
    parent: str = ROOT
    backend: str = "qupath"
    version: str = "0.5.1"
    grid: dict[str, list[Core]] = field(default_factory=dict)

    @property
    def work_folder(self) -> Path:
        return self.path / "cellgennet"

    @property
    def entries(self) -> list[ImageEntry]:
        return [e for e, _ in self.images]

    def annotations(self, entry: ImageEntry) -> list[Annotation]:
        return self.drawn.get(entry.id, [])

    def cores(self, entry: ImageEntry) -> list[Core]:
        return self.grid.get(entry.id, [])

    def detections(self, entry: ImageEntry) -> Nuclei:
        return next(n for e, n in self.images if e.id == entry.id)

    def detection_chunks(self, entry: ImageEntry) -> Iterator[DetectionChunk]:
        detected = self.detections(entry)
        for start in range(0, len(detected), 2):
            part = detected.take(np.arange(start, min(start + 2, len(detected))))
            plain = np.full(len(part), "", dtype=object)
            yield DetectionChunk(
                part, plain, roi_names(drawn(part)), np.full(len(part), self.parent, dtype=object)
            )


def export(folder: Path, name: str, images: Images, **options: Any) -> Path:
    project = MemoryProject(folder / "project", images)
    count = export_project(project, folder / name, **options)  # type: ignore[arg-type]
    assert count == sum(len(n) for _, n in images)
    return folder / name


TWO: Images = (
    (entry(1, "a, b.svs"), nuclei((0, 0, 40, 20), (10.5, 20, 30, 40.32))),
    (entry(2, "none"), empty()),
    (entry(3, "uncalibrated", None), nuclei((8000, 4, 8011, 12), mpp=None)),
)


CALIBRATED: Images = (*TWO[:2], (entry(3, "third", (0.5, 0.5)), nuclei((80, 4, 91, 12), mpp=(0.5, 0.5))))


def segmented(project: MemoryProject, entry: ImageEntry, count: int, model: str = "m", **more: Any) -> None:
    """Record that this tool wrote ``count`` nuclei for an image, in a file that has changed since."""
    file = project.work_folder / "detections" / f"{entry.id}.geojson.gz"
    file.parent.mkdir(parents=True, exist_ok=True)
    file.touch()
    place = file.relative_to(project.path).as_posix()
    about = {"name": model, "checksum": f"{model}-checksum", **more}
    record = Record(origin_of(entry), {}, about, None, count, place, "", "", "", "changed", "")
    write_record(project, entry, record)  # type: ignore[arg-type]


def region(path_class: str, box: tuple[float, float, float, float], **more: Any) -> Annotation:
    return Annotation(path_class, shapely.box(*box), "Rectangle", path_class, **more)
