"""The interface of a QuPath project, whichever backend reads it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal, Protocol

import numpy as np
import shapely
from numpy.typing import NDArray

from ..core.wording import composed
from ..geometry.rectangle import Rectangle
from ..nuclei import Nuclei, NucleiChunks
from ..slides.view import AS_STORED, View

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
class Core(Annotation):
    """A core of a tissue microarray; drawn, named and stored like an annotation.

    missing : marked as missing in QuPath.
    """

    missing: bool = False


@dataclass(frozen=True)
class ObjectCounts:
    """How many objects an entry holds in QuPath.

    by_class : annotations by class, "" for none.
    cells    : how many of the detections are known to be cells.
    total    : all objects but the root, those of a tissue microarray's grid included.
    repeated : detections in QuPath's own file with exactly the outline of an earlier one, where known.
    passed_over : objects by type in the entry's own file of annotations that are none, and are not read.
    """

    annotations: int = 0
    detections: int = 0
    by_class: dict[str, int] = field(default_factory=dict)
    total: int = 0
    cells: int = field(default=0, compare=False)
    repeated: int = field(default=0, compare=False)
    passed_over: Mapping[str, int] = field(default_factory=dict, compare=False)


@dataclass(frozen=True)
class ImageEntry:
    """One image of a project.

    id       : the entry's id, as a string.
    uri      : the slide's URI as recorded in the project.
    slide    : the slide's file on this computer; None if it was not found.
    mpp      : (x, y) micrometres per pixel as calibrated in QuPath; None if uncalibrated.
    size     : (width, height) of full resolution as recorded; None if not recorded.
    series   : index of the image inside a multi-image file.
    opened   : whether the entry was ever opened in QuPath (has data).
    fault    : why the project's record of the image cannot be used; "" for a whole one.
    missing  : why no slide was found; "" where one was.
    view     : how the project turns and mirrors the slide, and orders its channels.
    altered  : how else it changes the slide's pixels, which cannot be applied here; "" if not at all.
    icc      : QuPath converts its colours by the colour profile in the file.
    metadata : names and values that the user gave the image in the project.
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
    view: View = AS_STORED
    altered: str = ""
    icc: bool = False
    pixel_type: str = "UINT8"
    channels: int = 3
    fault: str = ""
    missing: str = ""
    metadata: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True)
class NewImage:
    """An image for a new project: its size (width, height), and (x, y) µm per pixel if known."""

    path: Path
    name: str
    size: tuple[int, int]
    mpp: tuple[float, float] | None


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
class DetectionChunk:
    """Some detections of an entry, with what else QuPath's own table shows of them.

    names   : (n,) their own names, "" for none.
    shapes  : (n,) QuPath's names of their ROIs: "Polygon", "Geometry" and so on.
    parents : (n,) their parents as QuPath displays them: "Root object (Image)", "Annotation (Tumor)".
    order   : names of the measurements in order, the probability among them.
    cores   : (n,) the names of the cores that they are in, "" for none; None for an image without cores, or
              where they were not looked up.
    parent_ids : (n,) the ids of the annotations or cores that are their parents, "" for none; None where they
              were not looked up.
    """

    nuclei: Nuclei
    names: NDArray[np.object_]
    shapes: NDArray[np.object_]
    parents: NDArray[np.object_]
    order: tuple[str, ...] = ()
    cores: NDArray[np.object_] | None = None
    parent_ids: NDArray[np.object_] | None = None


ROOT = "Root object (Image)"
"""The parent of objects outside all annotations, as QuPath displays it."""


ExistingPolicy = Literal["replace-own", "replace-all", "keep"]
"""What happens to the detections that an image already has. Annotations always stay."""


@dataclass(frozen=True)
class Within:
    """The objects of an image inside which nuclei are wanted; the whole image if all is empty.

    path_class : the closed annotations of this class.
    ids        : the closed annotations of these ids.
    cores      : the cores of a tissue microarray that have these names; "all" is all that are not missing.
    """

    path_class: str | None = None
    ids: tuple[str, ...] = ()
    cores: tuple[str, ...] = ()

    def __bool__(self) -> bool:
        return self.path_class is not None or bool(self.ids or self.cores)

    def objects(self, annotations: Iterable[Annotation], cores: Iterable[Core]) -> list[Annotation]:
        """Those among an image's annotations and cores, on the plane that is segmented."""
        first = [a for a in annotations if a.plane.z == a.plane.t == 0]
        chosen = [a for a in first if self.is_of_class(a.path_class) or a.id in self.ids]
        every, names = "all" in self.cores, {composed(name) for name in self.cores}
        wanted = (c for c in cores if not c.missing and (every or composed(c.name or "") in names))
        return [*chosen, *wanted]

    def is_of_class(self, path_class: str) -> bool:
        """Whether a class is the wanted one; the form of its accents does not matter."""
        return self.path_class is not None and composed(path_class) == composed(self.path_class)

    def __str__(self) -> str:
        parts = [] if self.path_class is None else [f"closed annotation of class {self.path_class}"]
        if self.ids:
            parts.append(f"closed annotation of the id {', '.join(self.ids)}")
        if self.cores:
            parts.append(f"core that is not missing and has the name {', '.join(self.cores)}")
        return " and no ".join(parts).replace("core that is not missing and has the name all", "core")


WHOLE_IMAGE = Within()


@dataclass(frozen=True)
class WriteOptions:
    """How nuclei are written into an entry.

    existing : "replace-own" removes the detections that this tool wrote before, "replace-all" all
               detections and cells with an area (not tiles and points), "keep" none; with "keep" a nucleus
               that is already there is not added again.
    within   : the parent of a nucleus is the smallest of these objects that contains it. For the whole image
               it is the core of a tissue microarray, if there is one.
    history  : a step for QuPath's workflow history, name to value; no step if empty.
    checked  : detections whose centroid is inside this area of the first plane stay, whatever ``existing``
               says, because a user has checked them; None for no such area.
    """

    existing: ExistingPolicy = "replace-own"
    within: Within = WHOLE_IMAGE
    history: Mapping[str, str] = field(default_factory=dict)
    checked: shapely.Geometry | None = None


WRITE_DEFAULTS = WriteOptions()


@dataclass(frozen=True)
class WrittenDetections:
    """An entry's detections as written: to which file, and a note for the user.

    count : this tool's nuclei that the image has now; those that stayed are counted too.
    """

    count: int
    file: Path
    note: str


@dataclass(frozen=True)
class Suggestion:
    """A window worth outlining: ``box`` in full-resolution pixels of its image, ``reason`` in one line."""

    box: Rectangle
    reason: str


@dataclass(frozen=True)
class WrittenSuggestions:
    """An image's suggestions as written: to which file, and a note for the user."""

    file: Path
    note: str


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
        """``<project>/cellgennet``, the only folder where this tool keeps its own files."""

    def annotations(self, entry: ImageEntry) -> list[Annotation]:
        """Every annotation of an entry, on all planes. Raises EntryDataError."""

    def cores(self, entry: ImageEntry) -> list[Core]:
        """The cores of an entry's tissue microarray in QuPath's order. Raises EntryDataError."""

    def counts(self, entry: ImageEntry) -> ObjectCounts:
        """Object counts of an entry. Raises EntryDataError."""

    def stains(self, entry: ImageEntry) -> StainVectors | None:
        """The stains of a brightfield entry, QuPath's own for its type where none are set; else None.

        Raises EntryDataError.
        """

    def image_type(self, entry: ImageEntry) -> str:
        """QuPath's name of the image type ("BRIGHTFIELD_H_E" ...); "" if not set. Raises EntryDataError."""

    def detections(self, entry: ImageEntry) -> Nuclei:
        """The nuclei that this tool wrote for an entry, as they are now. Raises EntryDataError."""

    def checked_detections(self, entry: ImageEntry, area: shapely.Geometry | None = None) -> Nuclei:
        """The same as their user saw them last in QuPath, for regions in which every detection was checked.

        area : only those whose centroid is inside (see ``in_area``).

        Raises EntryDataError, also where this backend cannot know.
        """

    def detection_chunks(self, entry: ImageEntry) -> Iterator[DetectionChunk]:
        """The detections and cells of an entry as they are now, in chunks.

        With QuPath these are all in the project, whoever made or corrected them; without it, those of this
        tool. Raises EntryDataError.
        """

    def write_detections(
        self, entry: ImageEntry, nuclei: NucleiChunks, options: WriteOptions = WRITE_DEFAULTS
    ) -> WrittenDetections:
        """Write an entry's nuclei, as cells where they have any.

        Raises EntryDataError; after a failure, annotations and other tools' detections are unchanged.
        """

    def write_suggestions(self, entry: ImageEntry, suggestions: Sequence[Suggestion]) -> WrittenSuggestions:
        """Write suggestions as annotations; earlier ones that nobody has touched are replaced.

        Raises EntryDataError; after a failure, annotations and detections are unchanged.
        """

    def close(self) -> None:
        """Close files and release the lock. Never saves anything."""

    def __enter__(self) -> Project: ...

    def __exit__(self, *exc: object) -> None: ...
