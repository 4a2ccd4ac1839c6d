"""The backend without QuPath: reads a project's files, writes GeoJSON beside them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
import shapely

from ..core.errors import EntryDataError, ProjectError
from ..core.files import confined, remove_file
from ..core.progress import SILENT, Reporter
from ..nuclei import OWN_MARK, Nuclei, NucleiChunks, concat, empty
from .checked import inside
from .formats.detections import detection_chunks, write_detections
from .formats.geojson import DETECTION_TYPES, read_objects
from .formats.outlines import drawn, roi_names
from .formats.qpdata import QpData, read_qpdata
from .formats.qpproj import DATA_FILE, at, class_colors, read_project
from .kept import KeptFiles
from .locate import SizeOf, find_slides
from .lock import ProjectLock
from .origin import origin_of, set_aside
from .parents import ParentsOf, parents_or_earlier, parents_within
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
from .stains import stains_of
from .stored import Beside, StoredNuclei
from .suggested import write_suggestions


class FilesBackend:
    """A project read from its files (see ``Project``). Writes below ``<project>/cellgennet`` only.

    Annotations come from ``data.qpdata``, or from ``cellgennet/annotations/<id>.geojson`` (or
    ``.geojson.gz``) if that is newer. Detections go to ``cellgennet/detections/<id>.geojson.gz``;
    ``counts`` counts QuPath's own objects, not these. Files that were made from other slides are not used
    (see ``KeptFiles``).

    Raises ProjectError, and LockedError if ``writable`` and another run is using the project.
    """

    backend = "files"

    def __init__(
        self,
        path: Path,
        slides: Path | None = None,
        size_of: SizeOf | None = None,
        writable: bool = False,
        reporter: Reporter = SILENT,
    ) -> None:
        recorded = read_project(path)
        if slides is not None and not slides.is_dir():
            raise ProjectError(slides, "is not a folder", "Name the folder that contains the slides")
        self.path = recorded.folder
        self.version = recorded.version
        located, missing = find_slides(recorded, slides, size_of)
        self.entries: Sequence[ImageEntry] = tuple(
            at(image, slide, missing.get(image.entry.id, ""))
            for image, slide in zip(recorded.images, located, strict=True)
        )
        self._reporter = reporter
        self._read: dict[str, tuple[tuple[int, int], QpData]] = {}
        self._drawn: dict[str, tuple[tuple[Path, int, int], tuple[list[Annotation], Counter[str]]]] = {}
        self._lock = ProjectLock(self.work_folder, reporter=reporter) if writable else None
        if self._lock is not None:
            self._lock.acquire()
        try:
            self._kept = KeptFiles(self.work_folder, self.entries, writable, reporter)
        except BaseException:
            self.close()
            raise

    @property
    def work_folder(self) -> Path:
        return self.path / WORK_FOLDER

    def annotations(self, entry: ImageEntry) -> list[Annotation]:
        """Every annotation of an entry; none if it was never opened. Raises EntryDataError."""
        newer = self._newer_annotations(entry)
        if newer is not None:
            return list(self._objects(entry, newer)[0])
        return list(self.data(entry).annotations)

    def cores(self, entry: ImageEntry) -> list[Core]:
        """The cores of an entry's tissue microarray, from QuPath's own file. Raises EntryDataError."""
        return list(self.data(entry).cores)

    def counts(self, entry: ImageEntry) -> ObjectCounts:
        """Object counts of an entry. Raises EntryDataError."""
        counts = self.data(entry).counts
        newer = self._newer_annotations(entry)
        if newer is None:
            return counts
        annotations, others = self._objects(entry, newer)
        detections = max(counts.detections, sum(others[kind] for kind in DETECTION_TYPES))
        return replace(
            counts,
            detections=detections,
            cells=max(counts.cells, others["cell"]),
            annotations=len(annotations),
            by_class=dict(Counter(annotation.path_class for annotation in annotations)),
            total=counts.total - counts.annotations + len(annotations) + detections - counts.detections,
            passed_over=dict(others),
        )

    def stains(self, entry: ImageEntry) -> StainVectors | None:
        """The stains of a brightfield entry, QuPath's defaults for its type if none are set; else None."""
        data = self.data(entry)
        return stains_of(data.image_type, data.stains)

    def image_type(self, entry: ImageEntry) -> str:
        """QuPath's name of the image type; "" if not set. Raises EntryDataError."""
        return self.data(entry).image_type

    def detections(self, entry: ImageEntry) -> Nuclei:
        """The nuclei that this tool wrote last. Raises EntryDataError.

        Nuclei that are only in QuPath's own file are an error: this backend does not read detections there.
        """
        return concat([chunk.nuclei for chunk in self.detection_chunks(entry)])

    def checked_detections(self, entry: ImageEntry, area: shapely.Geometry | None = None) -> Nuclei:
        """Those of this tool's file, unless the image was saved in QuPath since: then its user saw others.

        Raises EntryDataError where these are in QuPath's own file, which only QuPath can read.
        """
        geojson, data = self.detections_file(entry), self.data_file(entry)
        if not data.is_file() or (geojson.is_file() and geojson.stat().st_mtime_ns > data.stat().st_mtime_ns):
            return concat([inside(chunk.nuclei, area) for chunk in self.detection_chunks(entry)])
        if self.data(entry).counts.detections:
            raise EntryDataError(
                data,
                "contains corrected nuclei that only QuPath can read",
                "Use --backend qupath, or run cellgennet_correct.groovy on the Corrected regions in QuPath",
            )
        return empty()

    def detection_chunks(self, entry: ImageEntry) -> Iterator[DetectionChunk]:
        """The same in chunks, with what QuPath's table will show of them. Raises EntryDataError."""
        geojson = self.detections_file(entry)
        if not self._kept.is_usable(geojson):
            self.refuse_hidden(entry)
            return
        displayed: dict[str, str] | None = None
        for nuclei, parents in detection_chunks(geojson, self.columns_file(entry)):
            if displayed is None and parents.any():
                displayed = {annotation.id: _displayed(annotation) for annotation in self.annotations(entry)}
            shown = np.full(len(parents), ROOT, dtype=object)
            if displayed is not None:
                shown[:] = [displayed.get(parent, ROOT) for parent in parents.tolist()]
            yield DetectionChunk(
                nuclei=nuclei,
                names=np.full(len(nuclei), "", dtype=object),
                shapes=roi_names(drawn(nuclei)),
                parents=shown,
            )

    def refuse_hidden(self, entry: ImageEntry) -> None:
        """Raise EntryDataError where an image has nuclei of this tool in QuPath's own file alone."""
        data = self.data_file(entry)
        if self._kept.is_usable(self.detections_file(entry)) or not data.is_file():
            return
        if OWN_MARK.encode() in data.read_bytes():
            raise EntryDataError(
                data,
                "contains nuclei that only QuPath can read",
                "Use --backend qupath, on a computer with QuPath",
            )

    def write_detections(
        self, entry: ImageEntry, nuclei: NucleiChunks, options: WriteOptions = WRITE_DEFAULTS
    ) -> WrittenDetections:
        """Write an entry's nuclei, replacing or keeping those written before. Raises EntryDataError.

        One chunk is in memory at a time; to keep others, so are their ids.
        """
        self.require_writable()
        file = self.detections_file(entry)
        stored = nuclei  # nuclei that come from a file keep their parents
        if options.existing == "keep" and self._kept.is_usable(file):
            stored = self._readable_detections(entry, file)
            nuclei = Beside(stored, nuclei)
        elif options.checked is not None:
            with suppress(EntryDataError):  # QuPath's own data have them, and the script leaves them there
                staying = self.checked_detections(entry, options.checked)
                nuclei = Beside(staying, nuclei)
                if len(staying):
                    stored = StoredNuclei(file, self.columns_file(entry), options.checked)
        parents: ParentsOf | None = None
        cores = self.cores(entry)
        if options.within or cores:
            parents = partial(
                parents_within,
                annotations=self.annotations(entry),
                cores=cores,
                within=options.within,
                version=self.version,
            )
        if isinstance(stored, StoredNuclei):
            parents = partial(parents_or_earlier, stored.parents_of, parents)
        count = write_detections(
            file,
            nuclei,
            class_colors(self.path),
            options,
            parents,
            origin_of(entry),
            self.columns_file(entry),
        )
        return WrittenDetections(
            count=count,
            file=file,
            note="In QuPath, run cellgennet_import_detections.groovy, or drag the file onto the open image. "
            "If QuPath asks to update IDs, the nuclei are there already: answer Cancel and run the script.",
        )

    def write_suggestions(self, entry: ImageEntry, suggestions: Sequence[Suggestion]) -> WrittenSuggestions:
        """Write an entry's suggestions, which replace all earlier ones; no file if there are none.

        Raises EntryDataError.
        """
        self.require_writable()
        file = self.suggestions_file(entry)
        try:
            if suggestions:
                write_suggestions(file, suggestions, entry.id, origin_of(entry), self.work_folder)
            else:
                remove_file(self.work_folder, file)
        except OSError as error:
            raise EntryDataError(
                file, f"cannot be written ({error.strerror or error})", "Free some space"
            ) from error
        return WrittenSuggestions(
            file, "In QuPath, drag the file onto the open image, or run cellgennet_suggest.groovy."
        )

    def _readable_detections(self, entry: ImageEntry, file: Path) -> NucleiChunks:
        """Detections to be kept; a damaged file is moved to ``set-aside`` and has none."""
        try:
            return StoredNuclei(file, self.columns_file(entry))
        except EntryDataError as error:
            moved = set_aside(self.work_folder, file)
            self._reporter.warn(f"{entry.name}: {file} {error.reason}, so it was moved to {moved.parent}.")
            return empty()

    def close(self) -> None:
        """Release the lock."""
        if self._lock is not None:
            self._lock.release()

    def __enter__(self) -> FilesBackend:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()

    def require_writable(self) -> None:
        """Raises ValueError if the project was opened read-only."""
        if self._lock is None:
            raise ValueError("the project was opened read-only")

    def detections_file(self, entry: ImageEntry) -> Path:
        """The file of an entry's detections. Raises ProjectError where a link is on the way to it."""
        return confined(self.work_folder, self._kept.detections(entry))

    def columns_file(self, entry: ImageEntry) -> Path:
        """The file of the same detections as columns. Raises ProjectError where a link is on the way."""
        return confined(self.work_folder, self._kept.columns(entry))

    def suggestions_file(self, entry: ImageEntry) -> Path:
        """The file of an entry's suggestions. Raises ProjectError where a link is on the way to it."""
        return confined(self.work_folder, self._kept.suggestions(entry))

    def data_file(self, entry: ImageEntry) -> Path:
        """QuPath's file of an entry's objects."""
        return self.path / "data" / entry.id / DATA_FILE

    def _newer_annotations(self, entry: ImageEntry) -> Path | None:
        """The entry's GeoJSON file of annotations, if it is newer than ``data.qpdata``."""
        data = self.data_file(entry)
        saved = data.stat().st_mtime_ns if data.is_file() else -1
        newer = (file for file in self._kept.annotations(entry) if file.stat().st_mtime_ns > saved)
        return next(newer, None)

    def _objects(self, entry: ImageEntry, file: Path) -> tuple[list[Annotation], Counter[str]]:
        """The content of a GeoJSON file of annotations as it is now (see ``read_objects``)."""
        status = file.stat()
        state = (file, status.st_mtime_ns, status.st_size)
        known = self._drawn.get(entry.id)
        if known is None or known[0] != state:
            known = (state, read_objects(file))
            self._drawn[entry.id] = known
        return known[1]

    def data(self, entry: ImageEntry) -> QpData:
        """The content of ``data.qpdata`` as it is now; empty if the entry was never opened."""
        file = self.data_file(entry)
        exists = file.is_file()
        if not exists and not entry.opened:
            return QpData(annotations=(), counts=ObjectCounts())
        state = (file.stat().st_mtime_ns, file.stat().st_size) if exists else (0, 0)
        known = self._read.get(entry.id)
        if known is None or known[0] != state:
            known = (state, read_qpdata(file))
            self._read[entry.id] = known
        return known[1]


def _displayed(annotation: Annotation) -> str:
    """QuPath's label of an annotation in its tables."""
    path_class = f" ({annotation.path_class})" if annotation.path_class else ""
    return annotation.name or f"Annotation{path_class}"
