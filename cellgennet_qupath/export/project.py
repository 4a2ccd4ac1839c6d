"""The measurements of a whole project in one file."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import chain
from pathlib import Path

from ..atomic import replacing
from ..errors import ExportError, UsageError
from ..nuclei import Nuclei
from ..progress import SILENT, Reporter
from ..qupath.project import ImageEntry, Project
from .formats import FORMATS, Writer


def export_project(project: Project, path: Path, reporter: Reporter = SILENT) -> int:
    """Write all detections of a project to one file; its ending says the format (see ``FORMATS``).

    Returns how many there are. The file is written whole or not at all. Raises UsageError for an unknown
    ending, and ExportError where there is nothing to export or the file cannot be written.
    """
    write = _writer(path)
    images = _images(project, reporter)
    first = next(images, None)
    if first is None:
        raise ExportError(project.path, "holds no detections to export", "Run `cellgennet segment` first")
    try:
        with replacing(path) as part:
            return write(part, chain([first], images))
    except OSError as error:
        raise ExportError(path, f"cannot be written ({error.strerror or error})") from error


def _writer(path: Path) -> Writer:
    name = path.name.lower()
    for ending in sorted(FORMATS, key=len, reverse=True):
        if name.endswith(ending):
            return FORMATS[ending]
    raise UsageError(path, "has no known ending", f"Choose one of {', '.join(FORMATS)}")


def _images(project: Project, reporter: Reporter) -> Iterator[tuple[ImageEntry, Nuclei]]:
    with reporter.track("exporting", len(project.entries), "images") as task:
        for entry in project.entries:
            nuclei = project.detections(entry)
            if len(nuclei):
                yield entry, nuclei
            task.advance(1, entry.name)
