"""The backend with QuPath: reads with QuPath's own code, writes into each entry's ``data.qpdata``."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from ...core.errors import EntryDataError, ProjectError
from ...core.progress import SILENT, Reporter
from ...nuclei import Nuclei, NucleiChunks, collect, empty
from ..files import FilesBackend
from ..formats.qpdata import compare_with_summary, is_whole
from ..formats.qpproj import PROJECT_FILE, class_colors
from ..locate import SizeOf
from ..project import (
    WRITE_DEFAULTS,
    Annotation,
    DetectionChunk,
    ImageEntry,
    ObjectCounts,
    StainVectors,
    WriteOptions,
    WrittenDetections,
)
from . import jvm, safewrite
from . import objects as javaobjects
from .write import Content, write_beside


class QuPathBackend:
    """A project read and written by QuPath (see ``Project``).

    Annotations, counts and detections are what QuPath itself reads; ``not_found`` tells, by entry id, why
    a slide was not found. ``write_detections`` changes two of QuPath's files, ``data.qpdata`` and
    ``summary.json`` of the entry, and nothing else: not the project file, no recorded slide address. It
    never needs the slide itself. The new ``data.qpdata`` is written aside, read back, held against the old
    one object by object, and only then moved to its place in one step.

    Raises ProjectError, QuPathError, and LockedError where ``writable`` and another run holds the project.
    """

    backend = "qupath"

    def __init__(
        self,
        path: Path,
        slides: Path | None = None,
        size_of: SizeOf | None = None,
        writable: bool = False,
        reporter: Reporter = SILENT,
    ) -> None:
        self._files = FilesBackend(path, slides, size_of, writable, reporter)
        self.path = self._files.path
        self.entries: Sequence[ImageEntry] = self._files.entries
        self.not_found = self._files.not_found
        self._last: tuple[str, tuple[int, int], Any] | None = None
        file = self.path / PROJECT_FILE
        try:
            with jvm.errors(lambda why: ProjectError(file, f"cannot be opened by QuPath ({why})")):
                images = jvm.open_project(str(file)).getImageList()
            self._images = {str(image.getID()): image for image in images}
            self.version = str(jvm.java_class("qupath.lib.common.GeneralTools").getVersion() or "")
        except BaseException:
            self._files.close()
            raise

    @property
    def work_folder(self) -> Path:
        return self._files.work_folder

    def annotations(self, entry: ImageEntry) -> list[Annotation]:
        """Every annotation of an entry; none where it was never opened. Raises EntryDataError."""
        hierarchy = self._hierarchy(entry)
        return [] if hierarchy is None else javaobjects.annotations_of(hierarchy)

    def counts(self, entry: ImageEntry) -> ObjectCounts:
        """Object counts of an entry. Raises EntryDataError."""
        hierarchy = self._hierarchy(entry)
        return ObjectCounts() if hierarchy is None else javaobjects.counts_of(hierarchy)

    def stains(self, entry: ImageEntry) -> StainVectors | None:
        """The stains of a brightfield entry, QuPath's own for its type where none are set; else None."""
        return self._files.stains(entry)

    def detections(self, entry: ImageEntry) -> Nuclei:
        """The nuclei this tool wrote or a user imported, as QuPath has them now."""
        hierarchy = self._hierarchy(entry)
        return empty() if hierarchy is None else javaobjects.detections_of(hierarchy)

    def detection_chunks(self, entry: ImageEntry) -> Iterator[DetectionChunk]:
        """All detections and cells that QuPath has now, whoever made or corrected them, some at a time."""
        hierarchy = self._hierarchy(entry)
        if hierarchy is not None:
            yield from javaobjects.detection_chunks_of(hierarchy)

    def write_detections(
        self, entry: ImageEntry, nuclei: NucleiChunks, options: WriteOptions = WRITE_DEFAULTS
    ) -> WrittenDetections:
        """Put an entry's nuclei into its ``data.qpdata``. Raises EntryDataError; then nothing was changed.

        QuPath holds all objects of an image in memory, and so does this.
        Where another program changed the file meanwhile, they are kept as GeoJSON to be imported.
        """
        self._files.require_writable()
        place, listed = self._files.data_file(entry), self._files.detections_file(entry)
        for left in listed.parent.glob(f"{entry.id}.*-*.qpdata*"):  # by a run that was killed
            left.unlink()
        fresh = listed.with_name(f"{entry.id}.{os.getpid()}-{time.time_ns()}.qpdata")
        colors = class_colors(self.path)
        before = safewrite.state_of(place)
        server = javaobjects.stand_in(self._images[entry.id], entry)
        self._readable(entry)

        def check(found: ObjectCounts) -> None:
            self._check(entry, found)

        try:
            fresh.parent.mkdir(parents=True, exist_ok=True)
            written = write_beside(place, fresh, server, check, Content(collect(nuclei), colors, options))
            safewrite.replace(place, fresh, written.summary, before)
        except safewrite.ChangedError as error:
            kept = self._files.write_detections(entry, nuclei, options)
            raise EntryDataError(
                place, error.reason, f"Its nuclei are in {kept.file}. {kept.note}"
            ) from error
        except OSError as error:
            raise EntryDataError(
                place, f"cannot be written ({error.strerror}); it is as it was", "Make room, and run it again"
            ) from error
        finally:
            fresh.unlink(missing_ok=True)
            fresh.with_name(fresh.name + ".json").unlink(missing_ok=True)
        listed.unlink(missing_ok=True)  # what the other backend left is of an earlier run
        return WrittenDetections(
            count=written.count,
            file=place,
            note="They are in the project; where the image is open in QuPath, choose File > Reload data.",
        )

    def close(self) -> None:
        """Let go of the lock and of what was read."""
        self._last = None
        self._files.close()

    def __enter__(self) -> QuPathBackend:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()

    def _hierarchy(self, entry: ImageEntry) -> Any:
        """QuPath's objects of an entry as they are on disk now; None where it was never opened."""
        file = self._files.data_file(entry)
        if not self._readable(entry):
            return None
        state = (file.stat().st_mtime_ns, file.stat().st_size)
        if self._last is None or self._last[:2] != (entry.id, state):
            with jvm.errors(lambda why: EntryDataError(file, f"cannot be read by QuPath ({why})")):
                hierarchy = self._images[entry.id].readHierarchy()
                self._check(entry, javaobjects.counts_of(hierarchy))
            self._last = entry.id, state, hierarchy
        return self._last[2]

    def _readable(self, entry: ImageEntry) -> bool:
        """Whether an entry has data. Raises EntryDataError where they are missing, cut off or damaged.

        QuPath itself takes a missing file for one without objects, and reads on for ever in one cut off.
        """
        file = self._files.data_file(entry)
        if not file.is_file() or not is_whole(file):
            self._files.data(entry)
        return file.is_file()

    def _check(self, entry: ImageEntry, found: ObjectCounts) -> None:
        """Hold what QuPath read of an entry against its summary, or against what we read without QuPath.

        Where QuPath fails to read objects, it goes on without them.
        """
        file = self._files.data_file(entry)
        if not file.is_file() or compare_with_summary(file, found):
            return
        expected = self._files.data(entry).counts
        if found != expected:
            raise EntryDataError(
                file,
                f"holds {expected.total} objects of which QuPath reads {found.total}",
                "Open the image in QuPath, check its annotations and save it",
            )
