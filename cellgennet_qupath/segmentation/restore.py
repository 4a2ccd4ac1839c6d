"""Detections as they were before the last run that replaced them, with what is known of their own run."""

from __future__ import annotations

from dataclasses import replace

from ..qupath.project import ImageEntry, Project, WrittenDetections
from ..qupath.replaced import kept_detections, record_beside, restore_detections
from .present import nuclei_digest, others_digest
from .record import (
    Record,
    file_checksum,
    place_of,
    read_record,
    read_record_file,
    write_record,
)


def restore_image(project: Project, entry: ImageEntry) -> WrittenDetections | None:
    """Put back an image's detections that were replaced last; None if none were kept.

    Their model and the area in which they were looked for are recorded again, on which densities depend.
    Raises EntryDataError; the present detections are then unchanged.
    """
    kept = kept_detections(project, entry)
    made = read_record_file(record_beside(kept[-1]), entry) if kept else None
    last = read_record(project, entry)
    written = restore_detections(project, entry)
    if written is not None and last is not None:
        record = _restored(project, last, made, written, nuclei_digest(project, entry))
        write_record(project, entry, replace(record, others=others_digest(project, entry)))
    return written


def _restored(
    project: Project, last: Record, made: Record | None, written: WrittenDetections, digest: str
) -> Record:
    """The record of restored detections: of the run that ``made`` them, None where that is not known.

    The inputs stay those of the last run: its command, given again, keeps what a user has restored.
    """
    return replace(
        last,
        model={} if made is None else made.model,
        within=None if made is None else made.within,
        inside=[] if made is None else made.inside,
        covered="" if made is None else made.covered,
        mm2=None if made is None else made.mm2,
        count=written.count,
        file=place_of(project, written.file),
        checksum=file_checksum(written.file),
        nuclei=digest,
        restored=True,
    )
