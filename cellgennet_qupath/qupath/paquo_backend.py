"""The backend with QuPath: reads with QuPath's own code, writes into each entry's ``data.qpdata``."""

from __future__ import annotations

import os
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from ..errors import EntryDataError, ProjectError
from ..nuclei import Nuclei, empty
from ..progress import SILENT, Reporter
from . import javaobjects, jvm, safewrite
from .detections import joined, qupath_id, read_detections, read_ids, write_detections
from .files import FilesBackend
from .locate import SizeOf
from .project import Annotation, ImageEntry, ObjectCounts, StainVectors, WrittenDetections
from .qpproj import PROJECT_FILE, class_colors


class QuPathBackend:
    """A project read and written by QuPath (see ``Project``).

    Annotations, counts and detections are what QuPath itself reads; ``not_found`` tells, by entry id, why
    a slide was not found. ``write_detections`` changes two of QuPath's files, ``data.qpdata`` and
    ``summary.json`` of the entry, and nothing else: not the project file, no recorded slide address. It
    never needs the slide itself. The new ``data.qpdata`` is written aside, read back by this package's own
    reader, held against the old one, and only then moved to its place in one step.

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
        """The stains set for an entry; None where none are. Raises EntryDataError."""
        return self._files.stains(entry)

    def detections(self, entry: ImageEntry) -> Nuclei:
        """Those of the nuclei this tool wrote that are still there, as QuPath has them now."""
        hierarchy = self._hierarchy(entry)
        if hierarchy is None:
            return empty()
        written = joined([read_detections(file) for file in sorted(self._lists(entry))])
        _, first = np.unique(written.ids.astype(str), return_index=True)
        return javaobjects.detections_of(hierarchy, written.take(np.sort(first)))

    def write_detections(self, entry: ImageEntry, nuclei: Nuclei) -> WrittenDetections:
        """Put an entry's nuclei into its ``data.qpdata``, in place of those this tool wrote before.

        They are kept as GeoJSON too, which lists what to remove the next time. Raises EntryDataError;
        then nothing was changed.
        """
        self._files.require_writable()
        place, listed = self._files.data_file(entry), self._files.detections_file(entry)
        aside = f"{entry.id}.{os.getpid()}-{time.time_ns()}"
        # Until it has replaced the old list, both are looked up: a run may be killed at any line.
        pending, fresh = listed.with_name(f"{aside}.geojson.gz"), listed.with_name(f"{aside}.qpdata")
        earlier = self._lists(entry)
        ids = self._written_ids(entry) | {qupath_id(identifier) for identifier in nuclei.ids}
        colors = class_colors(self.path)
        before = safewrite.state_of(place)
        old = self._files.data(entry)
        for left in listed.parent.glob(f"{entry.id}.*-*.qpdata*"):  # by a run that was killed
            left.unlink()
        written = False
        try:
            count = write_detections(pending, nuclei, colors)
            with jvm.errors(lambda why: EntryDataError(place, f"cannot be changed by QuPath ({why})")):
                bulk, _ = jvm.bulk()
                server = javaobjects.stand_in(self._images[entry.id], entry)
                data = bulk.read(_java_path(place) if place.is_file() else None, server)
                removed = int(bulk.remove(data, "\n".join(ids)))
                javaobjects.add(data, nuclei, colors)
                bulk.write(data, _java_path(fresh))
                summary = str(bulk.summary(data, time.time_ns() // 1_000_000))
            safewrite.check(place, fresh, old, removed=removed, added=count)
            safewrite.replace(place, fresh, summary, before)
            written = True
            pending.replace(listed)
        except OSError as error:
            raise EntryDataError(place, f"cannot be written ({error.strerror})") from error
        finally:
            fresh.unlink(missing_ok=True)
            if not written:
                pending.unlink(missing_ok=True)
        for file in earlier - {listed}:
            file.unlink(missing_ok=True)
        return WrittenDetections(
            count=count,
            place=place,
            how="They are in the project; where the image is open in QuPath, choose File > Reload data.",
        )

    def close(self) -> None:
        """Let go of the lock and of what was read."""
        self._last = None
        self._files.close()

    def __enter__(self) -> QuPathBackend:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()

    def _lists(self, entry: ImageEntry) -> set[Path]:
        listed = self._files.detections_file(entry)
        return {*listed.parent.glob(f"{entry.id}.*-*.geojson.gz"), *([listed] if listed.is_file() else [])}

    def _written_ids(self, entry: ImageEntry) -> set[str]:
        return {identifier for file in self._lists(entry) for identifier in read_ids(file)}

    def _hierarchy(self, entry: ImageEntry) -> Any:
        """QuPath's objects of an entry as they are on disk now; None where it was never opened."""
        file = self._files.data_file(entry)
        # Read by ourselves first: QuPath takes a missing file for one without objects, and reads on for
        # ever where one is cut off.
        expected = self._files.data(entry).counts
        if not file.is_file():
            return None
        state = (file.stat().st_mtime_ns, file.stat().st_size)
        if self._last is None or self._last[:2] != (entry.id, state):
            with jvm.errors(lambda why: EntryDataError(file, f"cannot be read by QuPath ({why})")):
                hierarchy = self._images[entry.id].readHierarchy()
                found = javaobjects.counts_of(hierarchy)
            if found != expected:
                raise EntryDataError(
                    file,
                    f"holds {expected.total} objects of which QuPath reads {found.total}",
                    "Open the image in QuPath, check its annotations and save it",
                )
            self._last = entry.id, state, hierarchy
        return self._last[2]


def _java_path(path: Path) -> Any:
    return jvm.java_class("java.nio.file.Paths").get(str(path))
