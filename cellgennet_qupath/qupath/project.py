"""What a QuPath project is to the rest of the package, whichever backend reads it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal, Protocol

import numpy as np
import shapely
from numpy.typing import NDArray

from ..nuclei import Nuclei, NucleiBlocks

WORK_FOLDER = "cellgennet"
"""The one folder inside a project that belongs to this tool."""


@dataclass(frozen=True)
class Plane:
    """Channel (-1: all), z-slice and time point of an object."""

    c: int = -1
    z: int = 0
    t: int = 0


@dataclass(frozen=True)
class Annotation:
    """One annotation object as QuPath stores it.

    geometry   : full-resolution pixels, QuPath's convention; (Multi)Point and LineString included,
                 as QuPath's own GeoJSON gives them (ellipses as polygons).
    roi        : QuPath's name of the shape: "Rectangle", "Ellipse", "Polygon", "Geometry", "Points",
                 "Line", "Polyline".
    path_class : "" for none; derived classes joined with ": ".
    color      : (r, g, b) of the object itself, if it has one of its own.
    """

    id: str
    geometry: shapely.Geometry
    roi: str
    path_class: str = ""
    name: str | None = None
    color: tuple[int, int, int] | None = None
    locked: bool = False
    plane: Plane = Plane()


@dataclass(frozen=True)
class ObjectCounts:
    """How many objects an entry holds in QuPath.

    by_class : annotations by class, "" for none.
    total    : all objects but the root, those of a tissue microarray's grid included.
    """

    annotations: int = 0
    detections: int = 0
    by_class: dict[str, int] = field(default_factory=dict)
    total: int = 0


@dataclass(frozen=True)
class ImageEntry:
    """One image of a project.

    id       : the entry's id, as a string.
    uri      : the slide's address as recorded in the project.
    slide    : where the slide was found on this machine; None if it was not.
    mpp      : (x, y) micrometres per pixel as calibrated in QuPath; None if uncalibrated.
    size     : (width, height) of full resolution as recorded; None if not recorded.
    series   : index of the image inside a multi-image file.
    opened   : whether the entry was ever opened in QuPath (has data).
    rotated  : the recorded server rotates or crops the slide (its pixels are not the file's own).
    """

    id: str
    name: str
    uri: str
    slide: Path | None
    size: tuple[int, int] | None
    mpp: tuple[float, float] | None
    series: int = 0
    size_z: int = 1
    size_t: int = 1
    opened: bool = True
    rotated: bool = False
    pixel_type: str = "UINT8"
    channels: int = 3


@dataclass(frozen=True)
class StainVectors:
    """The colour-deconvolution stains of a brightfield image as set in QuPath.

    names      : of the two or three stains, "Hematoxylin" and so on.
    vectors    : (r, g, b) of each stain in optical density, of length 1.
    background : (r, g, b) of unstained glass, 0 to 255.
    """

    names: tuple[str, ...]
    vectors: tuple[tuple[float, float, float], ...]
    background: tuple[float, float, float] = (255.0, 255.0, 255.0)


@dataclass(frozen=True)
class DetectionBlock:
    """Some detections of an entry, with what QuPath's own table tells of them besides.

    names   : (n,) their own names, "" for none.
    shapes  : (n,) QuPath's names of what is drawn: "Polygon", "Geometry" and so on.
    parents : (n,) what they lie under, as QuPath displays it: "Root object (Image)", "Annotation (Tumor)".
    order   : names of the measurements, that of the probability among them, as they follow one another.
    """

    nuclei: Nuclei
    names: NDArray[np.object_]
    shapes: NDArray[np.object_]
    parents: NDArray[np.object_]
    order: tuple[str, ...] = ()


ROOT = "Root object (Image)"
"""What lies under no annotation lies under this."""


Existing = Literal["replace-own", "replace-all", "keep"]
"""What becomes of the detections that an image already has. Annotations always stay."""


@dataclass(frozen=True)
class WriteOptions:
    """How nuclei are put into an entry.

    existing : "replace-own": those that this tool wrote before make room; "replace-all": all detections
               do; "keep": none does, and a nucleus that is already there is not added again.
    within   : nuclei go under the annotations of this class that they lie in; None: under no annotation.
    history  : what QuPath's workflow history says of them, name to value; nothing if empty.
    """

    existing: Existing = "replace-own"
    within: str | None = None
    history: Mapping[str, str] = field(default_factory=dict)


DEFAULTS = WriteOptions()


@dataclass(frozen=True)
class WrittenDetections:
    """Where an entry's detections went: ``place`` is a file, ``how`` a sentence for the user."""

    count: int
    place: Path
    how: str


class Project(Protocol):
    """A project, opened by one of the backends. Close it, or use it in a ``with`` block."""

    backend: str
    path: Path
    """The project's folder."""
    version: str
    """Of QuPath: of the one in use, else of the one that wrote the project; "" if unknown."""
    entries: Sequence[ImageEntry]

    @property
    def work_folder(self) -> Path:
        """``<project>/cellgennet``, the only place where this tool keeps things of its own."""

    def annotations(self, entry: ImageEntry) -> list[Annotation]:
        """Every annotation of an entry, on all planes. Raises EntryDataError."""

    def counts(self, entry: ImageEntry) -> ObjectCounts:
        """Object counts of an entry. Raises EntryDataError."""

    def stains(self, entry: ImageEntry) -> StainVectors | None:
        """The stains of a brightfield entry, QuPath's own for its type where none are set; else None.

        Raises EntryDataError.
        """

    def detections(self, entry: ImageEntry) -> Nuclei:
        """The nuclei to export for an entry: those this tool wrote, as they are now."""

    def detection_blocks(self, entry: ImageEntry) -> Iterator[DetectionBlock]:
        """The detections and cells of an entry as they are now, some at a time.

        With QuPath these are all that QuPath has, whoever made or corrected them, else those of this tool.
        Raises EntryDataError.
        """

    def write_detections(
        self, entry: ImageEntry, nuclei: NucleiBlocks, writing: WriteOptions = DEFAULTS
    ) -> WrittenDetections:
        """Put an entry's nuclei in, as cells where they have any.

        Raises EntryDataError; whatever fails, annotations and foreign detections stay as they were.
        """

    def close(self) -> None:
        """Let go of files and locks. Never saves anything."""

    def __enter__(self) -> Project: ...

    def __exit__(self, *exc: object) -> None: ...
