"""Images without a QuPath project: a folder of results that is read and written like a project.

``<folder>/cellgennet/images.json`` lists the images; what a run keeps is in the same work folder as in a
project. The nuclei of each image are in ``<folder>/<name>.geojson``, which QuPath imports.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import shapely

from ..core.errors import ProjectError
from ..core.files import confined
from ..core.progress import SILENT, Reporter
from ..nuclei import Nuclei, NucleiChunks, concat, empty
from .checked import inside
from .formats.detections import detection_chunks, read_head, write_detections
from .formats.outlines import drawn, roi_names
from .formats.qpproj import PROJECT_FILE
from .image_list import PAGE, TABLE, Listed, is_loose, list_image, read_list, write_list
from .lock import ProjectLock
from .origin import difference, origin_of
from .project import (
    ROOT,
    WORK_FOLDER,
    WRITE_DEFAULTS,
    Annotation,
    Core,
    DetectionChunk,
    ImageEntry,
    ObjectCounts,
    StainVectors,
    Suggestion,
    WriteOptions,
    WrittenDetections,
    WrittenSuggestions,
)
from .search import FoundImage, PassedOver
from .stains import H_E
from .stored import Beside, StoredNuclei


class LooseImages:
    """A folder of results, with the interface of a project (see ``Project``).

    Images have no annotations, and QuPath's default stains for H&E where that is the stain of the model.

    given       : the ids of the images that were named when the folder was opened; all of them otherwise.
    passed_over : what was found beside them and is not used.

    Nuclei of a file that was changed since are not used, and reported by a folder that is only read; in one
    that is written, the image is segmented again.

    Raises ProjectError, and LockedError if ``writable`` and another run is using the folder.
    """

    backend = "images"
    version = ""

    def __init__(self, folder: Path, writable: bool = False, reporter: Reporter = SILENT) -> None:
        self.path = folder.resolve()
        self._lock = ProjectLock(self.work_folder, reporter=reporter) if writable else None
        if self._lock is not None:
            self._lock.acquire()
        self.entries: Sequence[ImageEntry] = ()
        self.given: Sequence[str] = ()
        self.passed_over: Sequence[PassedOver] = ()
        try:
            self._take(*read_list(self.path))
            if not writable:
                self._report_others(reporter)
        except BaseException:
            self.close()
            raise

    @property
    def work_folder(self) -> Path:
        return self.path / WORK_FOLDER

    def annotations(self, entry: ImageEntry) -> list[Annotation]:
        """None: annotations are in projects."""
        return []

    def cores(self, entry: ImageEntry) -> list[Core]:
        """None: the grid of a tissue microarray is in a project."""
        return []

    def counts(self, entry: ImageEntry) -> ObjectCounts:
        """No objects of QuPath's own."""
        return ObjectCounts()

    def stains(self, entry: ImageEntry) -> StainVectors | None:
        """QuPath's default stains for H&E; None for images of another stain."""
        return H_E if self._stain == "H&E" else None

    def image_type(self, entry: ImageEntry) -> str:
        """Unknown."""
        return ""

    def detections(self, entry: ImageEntry) -> Nuclei:
        """The nuclei of an image. Raises EntryDataError."""
        return concat([chunk.nuclei for chunk in self.detection_chunks(entry)])

    def checked_detections(self, entry: ImageEntry, area: shapely.Geometry | None = None) -> Nuclei:
        """The same."""
        return concat([inside(chunk.nuclei, area) for chunk in self.detection_chunks(entry)])

    def detection_chunks(self, entry: ImageEntry) -> Iterator[DetectionChunk]:
        """The nuclei of an image in chunks; none if its file is missing or about another image."""
        if not self._has_nuclei(entry):
            return
        for nuclei, _ in detection_chunks(self.detections_file(entry)):
            plain, root = np.full(len(nuclei), "", dtype=object), np.full(len(nuclei), ROOT, dtype=object)
            yield DetectionChunk(nuclei=nuclei, names=plain, shapes=roi_names(drawn(nuclei)), parents=root)

    def stored_nuclei(self, entry: ImageEntry) -> NucleiChunks:
        """The nuclei of an image, one chunk in memory at a time. Raises EntryDataError."""
        return StoredNuclei(self.detections_file(entry)) if self._has_nuclei(entry) else empty()

    def _has_nuclei(self, entry: ImageEntry) -> bool:
        """Whether there is a file of nuclei of this image, not of another one of its name."""
        return self.detections_file(entry).is_file() and not self._not_its_own(entry)

    def _report_others(self, reporter: Reporter) -> None:
        for entry in self.entries:
            file = self.detections_file(entry)
            why = self._not_its_own(entry) if file.is_file() else ""
            if why:
                reporter.warn(f"{entry.name}: {file} {why}, so it is not used: segment the image again.")

    def _not_its_own(self, entry: ImageEntry) -> str:
        """Why the file of an image's nuclei is about another one, as the end of a sentence; else ""."""
        return difference((read_head(self.detections_file(entry)) or {}).get("image"), entry)

    def write_detections(
        self, entry: ImageEntry, nuclei: NucleiChunks, options: WriteOptions = WRITE_DEFAULTS
    ) -> WrittenDetections:
        """Write an image's nuclei, replacing or keeping those written before. Raises EntryDataError."""
        if self._lock is None:
            raise ValueError("the folder was opened read-only")
        file = self.detections_file(entry)
        if options.existing == "keep" and file.is_file():
            nuclei = Beside(StoredNuclei(file), nuclei)
        count = write_detections(file, nuclei, {}, options, None, origin_of(entry))
        return WrittenDetections(count, file, "In QuPath, drag the file onto the open image.")

    def write_suggestions(self, entry: ImageEntry, suggestions: Sequence[Suggestion]) -> WrittenSuggestions:
        """Raises ProjectError: suggestions are annotations, and so need a project."""
        raise self.needs_project("suggestions")

    def needs_project(self, what: str) -> ProjectError:
        """The error where something is asked for that only a project can hold."""
        return ProjectError(
            self.path,
            f"is not a QuPath project, which {what} need",
            f"Make one: cellgennet project create {self.path} -o PROJECT",
        )

    def detections_file(self, entry: ImageEntry) -> Path:
        """The file of an image's nuclei. Raises ProjectError where it is a link."""
        result = next(listed.result for listed in self._listed if listed.entry.id == entry.id)
        return confined(self.path, self.path / result)

    def close(self) -> None:
        """Release the lock."""
        if self._lock is not None:
            self._lock.release()

    def __enter__(self) -> LooseImages:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()

    def add(self, images: Sequence[FoundImage], mpp: float | None, stain: str) -> None:
        """List images, or list them anew; see ``open_loose``."""
        known = {listed.entry.uri: listed for listed in self._listed}
        given: list[str] = []
        for image in images:
            uri = image.path.resolve().as_uri()
            known[uri] = list_image(self.path, image, uri, known, mpp)
            given.append(known[uri].entry.id)
        self._take(stain, list(known.values()))
        self.given = given
        write_list(self.path, stain, self._listed)

    def _take(self, stain: str, listed: Sequence[Listed]) -> None:
        self._stain, self._listed = stain, listed
        self.entries = tuple(one.entry for one in listed)
        self.given = tuple(one.id for one in self.entries)


def open_loose(
    images: Sequence[FoundImage],
    folder: Path,
    mpp: float | None = None,
    stain: str = "H&E",
    reporter: Reporter = SILENT,
) -> LooseImages:
    """A folder of results for images, made or continued.

    mpp   : µm per pixel of images without a plausible pixel size.
    stain : of the model that will segment them.

    Images of earlier runs stay listed, each under the name that it got first; no two have the same, and no
    file of others is replaced. Raises ProjectError where ``folder`` is a project, holds files of such names
    or cannot be written, and LockedError.
    """
    if (folder / PROJECT_FILE).is_file():
        raise ProjectError(folder, "is a QuPath project", "Choose another folder for -o")
    if folder.exists() and not folder.is_dir():
        raise ProjectError(folder, "is not a folder", "Choose another name for -o")
    for name in () if is_loose(folder) else (TABLE, PAGE):
        if (folder / name).exists():
            raise ProjectError(folder, f"already contains another {name}", "Choose another folder for -o")
    loose = LooseImages(folder, writable=True, reporter=reporter)
    try:
        loose.add(images, mpp, stain)
    except BaseException:
        loose.close()
        raise
    return loose
