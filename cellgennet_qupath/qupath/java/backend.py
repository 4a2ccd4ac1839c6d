"""The backend with QuPath: reads with QuPath's own code, writes into each entry's ``data.qpdata``."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import shapely

from ...core.environment import advice
from ...core.errors import EntryDataError, ProjectError, QuPathError
from ...core.files import make_folder, remove_file
from ...core.progress import SILENT, Reporter
from ...nuclei import Nuclei, NucleiChunks, collect, empty
from ..checked import inside
from ..files import FilesBackend
from ..formats.qpdata import compare_with_summary, is_whole
from ..formats.qpproj import PROJECT_FILE, class_colors
from ..locate import SizeOf
from ..origin import set_aside
from ..parents import release
from ..project import (
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
from ..stored import StoredNuclei
from ..suggested import removable
from . import jvm, write
from . import objects as javaobjects

_RELOAD = "They are in the project; where the image is open in QuPath, choose File > Reload data."


class QuPathBackend:
    """A project read and written by QuPath (see ``Project``).

    Annotations, counts and detections are what QuPath itself reads. ``write_detections`` changes only two
    of QuPath's files, ``data.qpdata`` and ``summary.json`` of the entry; the project file and the recorded
    slide URIs stay as they are. It does not need the slide. The new ``data.qpdata`` is written beside the
    old one, read back, compared with it object by object, and only then moved in place in one step.

    older_qupath : write also with a QuPath older than the one that wrote the project.

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
        older_qupath: bool = False,
    ) -> None:
        self._files = FilesBackend(path, slides, size_of, writable, reporter)
        self.path = self._files.path
        self.entries: Sequence[ImageEntry] = self._files.entries
        self._last: tuple[str, tuple[int, int], Any] | None = None
        file = self.path / PROJECT_FILE
        try:
            with jvm.errors(lambda why: ProjectError(file, f"cannot be opened by QuPath ({why})")):
                images = jvm.open_project(str(file)).getImageList()
            self._images = {str(image.getID()): image for image in images}
            self.version = str(jvm.java_class("qupath.lib.common.GeneralTools").getVersion() or "")
            if writable and not older_qupath:
                refuse_older(self.version, self._files.version)
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

    def cores(self, entry: ImageEntry) -> list[Core]:
        """The cores of an entry's tissue microarray. Raises EntryDataError."""
        hierarchy = self._hierarchy(entry)
        return [] if hierarchy is None else javaobjects.cores_of(hierarchy)

    def counts(self, entry: ImageEntry) -> ObjectCounts:
        """Object counts of an entry. Raises EntryDataError."""
        hierarchy = self._hierarchy(entry)
        if hierarchy is None:
            return ObjectCounts()
        repeated = int(jvm.compiled("HierarchyChecksum").repeated(hierarchy))
        return replace(javaobjects.counts_of(hierarchy), repeated=repeated)

    def stains(self, entry: ImageEntry) -> StainVectors | None:
        """The stains of a brightfield entry, QuPath's own for its type where none are set; else None."""
        return self._files.stains(entry)

    def image_type(self, entry: ImageEntry) -> str:
        """QuPath's name of the image type; "" if not set."""
        return self._files.image_type(entry)

    def detections(self, entry: ImageEntry) -> Nuclei:
        """The nuclei that this tool wrote or a user imported, as they are now. Raises EntryDataError."""
        hierarchy = self._hierarchy(entry)
        return empty() if hierarchy is None else javaobjects.detections_of(hierarchy)

    def checked_detections(self, entry: ImageEntry, area: shapely.Geometry | None = None) -> Nuclei:
        """The same: what is in QuPath is what its user saw."""
        return inside(self.detections(entry), area)

    def detection_chunks(self, entry: ImageEntry) -> Iterator[DetectionChunk]:
        """All detections and cells as they are now, whoever made or corrected them, in chunks."""
        hierarchy = self._hierarchy(entry)
        if hierarchy is not None:
            yield from javaobjects.detection_chunks_of(hierarchy)

    def write_detections(
        self,
        entry: ImageEntry,
        nuclei: NucleiChunks,
        options: WriteOptions = WRITE_DEFAULTS,
        image_type: str = "",
    ) -> WrittenDetections:
        """Write an entry's nuclei into its ``data.qpdata``. Raises EntryDataError and then changes nothing.

        image_type : of an image that is new, QuPath's name; "" to leave it as it is.

        As in QuPath itself, all objects of the image are in memory. If another program changes the file
        meanwhile, the nuclei are kept as GeoJSON, to be imported.
        """
        geojson = self._files.detections_file(entry)
        # Nuclei that come from a file keep their parents.
        earlier = nuclei.parents_of if isinstance(nuclei, StoredNuclei) else None
        content = write.Detections(
            collect(nuclei), class_colors(self.path), options, self._files.version, image_type, earlier
        )
        data_file, count = self._write(
            entry, content, lambda: self._files.write_detections(entry, nuclei, options)
        )
        if geojson.is_file():  # by the other backend, in an earlier run
            set_aside(self.work_folder, geojson)
        return WrittenDetections(count, data_file, _RELOAD)

    def write_suggestions(self, entry: ImageEntry, suggestions: Sequence[Suggestion]) -> WrittenSuggestions:
        """Write an entry's suggestions into its ``data.qpdata``, as ``write_detections`` does nuclei.

        Raises EntryDataError.
        """
        self._files.write_suggestions(entry, [])  # of the other backend, in an earlier run
        if not suggestions and not removable(self.annotations(entry)):
            return WrittenSuggestions(self._files.data_file(entry), "There was nothing to change.")
        content = write.Suggestions(suggestions, entry.id)
        data_file, _ = self._write(entry, content, lambda: self._files.write_suggestions(entry, suggestions))
        return WrittenSuggestions(data_file, _RELOAD)

    def _write(
        self,
        entry: ImageEntry,
        content: write.Content,
        instead: Callable[[], WrittenDetections | WrittenSuggestions],
    ) -> tuple[Path, int]:
        """Write objects into an entry's ``data.qpdata``; returns that file and ``NewData.count``.

        instead : keeps them as GeoJSON, where another program changed the file meanwhile.
        """
        self._files.require_writable()
        data_file, geojson = self._files.data_file(entry), self._files.detections_file(entry)
        for leftover in geojson.parent.glob(f"{entry.id}.*-*.qpdata*"):  # of a run that was killed
            remove_file(self.work_folder, leftover)
        new_file = geojson.with_name(f"{entry.id}.{os.getpid()}-{time.time_ns()}.qpdata")
        before = write.state_of(data_file)
        server = javaobjects.placeholder_server(self._images[entry.id], entry)
        self._readable(entry)

        def check(counts: ObjectCounts) -> None:
            self._check(entry, counts)

        try:
            make_folder(self.work_folder, new_file.parent)
            new_data = write.write_new_data(data_file, new_file, server, check, content)
            write.move_in_place(data_file, new_file, new_data.summary, before)
        except write.ChangedError as error:
            kept = instead()
            raise EntryDataError(
                data_file, error.reason, f"The result is in {kept.file}. {kept.note}"
            ) from error
        except OSError as error:
            raise EntryDataError(
                data_file,
                f"cannot be written ({error.strerror}); it is unchanged",
                advice(error),
            ) from error
        finally:
            remove_file(self.work_folder, new_file)
            remove_file(self.work_folder, new_file.with_name(new_file.name + ".json"))
        return data_file, new_data.count

    def close(self) -> None:
        """Release the lock and what was read."""
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
        """Whether an entry has data. Raises EntryDataError if they are missing, truncated or damaged.

        QuPath itself reads a missing file as one without objects, and never returns from a truncated one.
        """
        file = self._files.data_file(entry)
        if not file.is_file() or not is_whole(file):
            self._files.data(entry)
        return file.is_file()

    def _check(self, entry: ImageEntry, counts: ObjectCounts) -> None:
        """Compare what QuPath read of an entry with its summary, or with what is read without QuPath.

        QuPath silently drops objects that it fails to read.
        """
        file = self._files.data_file(entry)
        if not file.is_file() or compare_with_summary(file, counts):
            return
        expected = self._files.data(entry).counts
        if counts != expected:
            raise EntryDataError(
                file,
                f"contains {expected.total} objects, of which QuPath reads {counts.total}",
                "Open the image in QuPath, check its annotations and save it",
            )


def refuse_older(version: str, wrote: str) -> None:
    """Raise QuPathError if a QuPath is older than the one that ``wrote`` the project; "" is unknown.

    Versions that differ in their third number only write the same data.
    """
    if release(version) < release(wrote):
        raise QuPathError(
            "QuPath",
            f"is version {version or 'unknown'}, but {wrote} wrote the project; it would drop newer data",
            "Use the newer QuPath or --backend files, or allow it with --older-qupath",
        )
