"""Export of all detections of a project to one file, or to one file per image."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace
from functools import partial
from itertools import chain
from pathlib import Path

from ..core.errors import ExportError, UsageError
from ..core.extras import require
from ..core.files import replacing, replacing_folder
from ..core.progress import SILENT, Reporter
from ..core.wording import listed
from ..measure.compartments import stain_comes_first
from ..qupath.loose import LooseImages
from ..qupath.project import ImageEntry, Project
from ..qupath.repeats import remark
from ..segmentation.record import measured_in, mixed_nuclei, read_record, same_size
from ..slides.pixel_size import implausible
from .about import check_columns, export_facts, extra_columns, image_facts
from .cells import folded, writable
from .formats import FORMATS, Format, ending_of
from .segmented import why_unknown
from .spatialdata import is_own_store
from .spool import Chunks, Export
from .stream import NucleiStream, Tally, has_nuclei
from .units import Unit, Units, choose_units

IMAGE = "{image}"
"""Placeholder for the image name in the file name, which makes one file per image."""

_FORBIDDEN = re.compile(r'[<>:"/\\|?*\x00-\x1f]')


@dataclass(frozen=True)
class _Options:
    """See ``export_project``."""

    neighbours: bool
    summary: bool
    unit: Unit | None
    mpp: float | None
    excel: bool
    columns: Sequence[str]


@dataclass(frozen=True)
class _File:
    """A file to write: its images and their units; ``mixed``: the images in px beside others in µm."""

    path: Path
    entries: Sequence[ImageEntry]
    units: Units
    mixed: list[str]


def export_project(
    project: Project,
    path: Path,
    *,
    neighbours: bool = False,
    summary: bool = False,
    unit: Unit | None = None,
    mpp: float | None = None,
    excel: bool = False,
    columns: Sequence[str] = (),
    reporter: Reporter = SILENT,
) -> int:
    """Write the detections and cells of a project to a file; its ending sets the format (``FORMATS``).

    path       : with ``{image}`` in its name, one file is written for each image that has detections.
    neighbours : add the distance to the nearest nucleus, and the number and density of nuclei nearby.
    summary    : write one row per image and annotation instead: counts, density, means, quantiles.
    unit       : of all images; None: of each image as QuPath shows it, where the format can hold that.
    mpp        : µm per pixel of images without a pixel size; all numbers are then in µm.
    excel      : make a text table safe for spreadsheets.
    columns    : further columns (see ``about``).

    Returns the number of detections. A file is written whole or not at all. Raises UsageError for an unknown
    ending and where a format would mix units, MissingExtraError, and ExportError where there are no
    detections or a file cannot be written.
    """
    options = _Options(neighbours, summary, unit, mpp, excel, columns)
    form = _format(project, path, options)
    check_columns(options.columns, options.summary)
    files = _files(project, path, form, options)
    _refuse_own_files(project, files)
    _warn_before(project, files, reporter)
    tallies: dict[str, Tally] = {}
    counts = [_write(project, file, form, options, tallies, reporter) for file in files]
    written = [count for count in counts if count is not None]
    if not written:
        raise _nothing(project)
    _warn_after(project, files, form, tallies, options, reporter)
    return sum(written)


def _nothing(project: Project) -> ExportError:
    """The error of a project without detections: nobody looked for them, or there are none."""
    unknown = [entry.name for entry in project.entries if why_unknown(project, entry)]
    if unknown or not project.entries:
        return ExportError(project.path, "contains no detections to export", "Run `cellgennet segment` first")
    return ExportError(
        project.path,
        "contains no detections to export: all images were segmented, and none has a nucleus "
        "outside ignored areas",
        "With --summary, each has a row with the number 0",
    )


def _format(project: Project, path: Path, options: _Options) -> Format:
    endings: tuple[str, ...] = tuple(FORMATS)
    if options.summary:
        from .summary import SUMMARY_FORMATS, write_summary

        endings = SUMMARY_FORMATS
    ending = ending_of(path.name, endings)
    if ending is None:
        what = "summary format" if options.summary else "format"
        raise UsageError(path, f"its ending is not a {what}", f"Choose one of {', '.join(endings)}")
    form = FORMATS[ending]
    if form.extra:
        require(form.extra, f"export to {ending.lstrip('.')}")
    if options.excel and not form.is_text:
        raise UsageError("--excel", "is for csv and tsv", "Leave it out: .xlsx needs no such help")
    if options.summary:
        write = partial(write_summary, project=project, columns=options.columns, ending=ending)
        form = replace(form, write=write)
    return form


def _files(project: Project, path: Path, form: Format, options: _Options) -> list[_File]:
    """The files to write, with the unit of each, so that nothing is written before all are decided."""

    def file(path: Path, entries: Sequence[ImageEntry]) -> _File:
        has = partial(has_nuclei, project)
        return _File(path, entries, *choose_units(entries, options.unit, options.mpp, form.one_unit, has))

    if any(IMAGE in part for part in path.parts[:-1]):
        raise UsageError(path, f"has {IMAGE} in the name of a folder", "Put it into the name of the file")
    if IMAGE not in path.name:
        return [file(path, project.entries)]
    names = _file_names(path.name, project.entries)
    return [file(path.with_name(names[entry.id]), [entry]) for entry in project.entries]


def _file_names(pattern: str, entries: Sequence[ImageEntry]) -> dict[str, str]:
    """The name of each image's file by its id, no two of which a file system takes for the same.

    Where several images have a name, all but the first have their id in the name of their file.
    """
    plain = {entry.id: _FORBIDDEN.sub("_", writable(entry.name)) for entry in entries}
    first: dict[str, str] = {}
    for entry in entries:
        first.setdefault(folded(plain[entry.id]), entry.id)
    taken = set(first)
    names: dict[str, str] = {}
    for entry in entries:
        name = plain[entry.id]
        if first[folded(name)] != entry.id:
            while folded(name) in taken:
                name = f"{name}-{entry.id}"
            taken.add(folded(name))
        names[entry.id] = pattern.replace(IMAGE, name)
    return names


def _refuse_own_files(project: Project, files: Sequence[_File]) -> None:
    """A table must not replace the nuclei that it is made of, or other files of this tool."""
    kept = project.work_folder.resolve()
    own: list[Path] = []
    if isinstance(project, LooseImages):
        own = [project.detections_file(entry).resolve() for entry in project.entries]
    for file in files:
        path = file.path.resolve()
        if path in own or path.is_relative_to(kept):
            what = "is where the nuclei of an image are kept" if path in own else "is among this tool's files"
            raise UsageError(file.path, what, "Choose another folder")


def _write(
    project: Project,
    file: _File,
    form: Format,
    options: _Options,
    tallies: dict[str, Tally],
    reporter: Reporter,
) -> int | None:
    """Write one file; None where there is nothing to write. What was seen is added to ``tallies``."""
    stream = NucleiStream(project, file.entries, file.units, file.path, options.neighbours, reporter)
    stream.tallies = tallies
    try:
        chunks = iter(stream)
        first = next(chunks, None)
        # No nuclei in any image is a result, if they were looked for.
        looked = options.summary and any(not why_unknown(project, e) for e in file.entries)
        if first is None and not looked:
            return None
        export = _export(
            project, file, chunks if first is None else chain([first], chunks), options, reporter
        )
        with _replacing(file.path, form.folder) as part:
            return form.write(part, export)
    except OSError as error:
        raise ExportError(file.path, f"cannot be written ({error.strerror or error})") from error


def _export(project: Project, file: _File, chunks: Chunks, options: _Options, reporter: Reporter) -> Export:
    shown = [file.units.entry(entry) for entry in file.entries]
    facts = {entry.id: image_facts(project, entry) for entry in shown}
    return Export(
        chunks=chunks,
        entries=shown,
        extra={entry.id: extra_columns(entry, facts[entry.id], options.columns) for entry in shown},
        images=facts,
        about=export_facts(project, file.units, facts.values()),
        modern=not stain_comes_first(project.version),
        excel=options.excel,
        reporter=reporter,
    )


def _replacing(path: Path, folder: bool) -> AbstractContextManager[Path]:
    if folder != path.is_dir() and path.exists():
        what = "is a file" if folder else "is a folder"
        raise ExportError(path, f"cannot be written ({what})", "Choose another name")
    if folder and path.exists() and not is_own_store(path):
        raise ExportError(path, "is a folder that holds something else", "Choose another name")
    return replacing_folder(path) if folder else replacing(path)


def _warn_before(project: Project, files: Sequence[_File], reporter: Reporter) -> None:
    for line in mixed_nuclei(project):
        reporter.warn(line)
    for file in files:
        resized = [entry.name for entry in file.entries if _is_resized(project, entry, file.units)]
        if resized:
            reporter.warn(
                f"{listed(resized)}: the pixel size was changed since the nuclei were measured, so areas and "
                "lengths do not fit the centroids and densities. Segment again."
            )
        for shown in map(file.units.entry, file.entries):
            reason = "" if shown.mpp is None else implausible(shown.mpp)
            if reason:
                reporter.warn(
                    f"{shown.name}: {reason} in the project, so its centroids, areas and densities are "
                    "wrong. Correct the pixel size in QuPath (Image tab) and segment again."
                )
        if file.mixed:
            reporter.warn(
                f"{listed(file.mixed)}: without a pixel size in the project, so the numbers are in px, in "
                "columns of their own. Add --mpp MICROMETRES or --units px for one unit in all images."
            )


def _is_resized(project: Project, entry: ImageEntry, units: Units) -> bool:
    """Whether nuclei were all measured with pixels of one size in µm that is not the image's now."""
    record, now = read_record(project, entry), units.calibrated(entry).mpp
    then = [] if record is None else measured_in(record)
    return now is not None and len(then) == 1 and not same_size(now, then[0])


def _warn_after(
    project: Project,
    files: Sequence[_File],
    form: Format,
    tallies: dict[str, Tally],
    options: _Options,
    reporter: Reporter,
) -> None:
    held = {entry: tallies[entry.id] for entry in project.entries if tallies[entry.id].count}
    for entry, tally in held.items():
        if tally.foreign:
            reporter.warn(
                f"{entry.name}: {tally.foreign} of {tally.count} detections were not made by this tool (made "
                "by another one or by hand); they are exported and counted like the others."
            )
        if tally.repeated:
            reporter.warn(remark(tally.repeated, entry.name))
    unlike = [entry.name for entry, tally in held.items() if tally.unlike]
    if unlike:
        reporter.warn(
            f"{listed(unlike)}: measured in another unit than the image has now. Segment again, or convert "
            "all numbers with --units um."
        )
    if len(files) > 1:
        return
    repeated = [name for name, times in Counter(entry.name for entry in held).items() if times > 1]
    if repeated and "image-id" not in options.columns:
        reporter.warn(
            f"{listed(repeated)}: several images have this name. Add --columns image-id to tell them apart."
        )
    if form.is_layer and len(held) > 1:
        reporter.warn(
            f"The nuclei of {len(held)} images are in one file, and viewers show them all on one slide. "
            f"Write one file per image, with {IMAGE} in the name."
        )
