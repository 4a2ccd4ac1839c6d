"""Summary by image and annotation: counts and density of detections, statistics of measurements."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from itertools import groupby
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import shapely

from ..core.errors import EntryDataError, SlideError
from ..core.progress import Reporter
from ..qupath.images import open_image
from ..qupath.project import Annotation, ImageEntry, Project
from ..segmentation.covered import covered_area
from ..segmentation.record import read_record
from ..slides.tissue_area import tissue_area
from .cells import text_column, writable
from .counted import ignored_classes, readable_cores
from .parquet import plain_schema
from .segmented import why_unknown
from .spool import Export
from .summary_rows import AREAS, Detections, Row, class_columns, image_rows
from .tables import Kind, field_of
from .text import write_text
from .xlsx import check_size, write_sheet

SUMMARY_FORMATS = (".csv", ".csv.gz", ".tsv", ".tsv.gz", ".xlsx", ".parquet")

Tissue = Callable[[shapely.Geometry], float]


def write_summary(file: Path, export: Export, project: Project, columns: Sequence[str], ending: str) -> int:
    """Write one row for each image of an export and for each of its cores and annotations, except outlines of
    nuclei.

    columns : on request (``about.SUMMARY_COLUMNS``).
    ending  : of the file, one of ``SUMMARY_FORMATS``.

    An image that was segmented and holds no detections has rows with the number 0, one that was not has rows
    without numbers; so have cores and annotations outside the part of the image that was segmented. All areas
    are those in which nuclei were looked for, without what is ignored.

    Returns the number of detections. The measurements of one image are in memory at a time.
    """
    by_image: dict[str, list[Row]] = {}
    count = 0

    def add(entry: ImageEntry, detections: Detections) -> None:
        by_image[entry.id] = _rows(project, entry, detections, "tissue" in columns, export)

    for entry, group in groupby(export.chunks, key=lambda pair: pair[0]):
        detections = Detections()
        for _, chunk in group:
            detections.add(chunk)
            count += len(chunk.nuclei)
        add(entry, detections)
    for entry in export.entries:
        if entry.id not in by_image:
            add(entry, Detections())
    rows = [row for entry in export.entries for row in by_image[entry.id]]
    table = _table(rows, "classes" in columns)
    if ending == ".parquet":
        pq.write_table(table.cast(plain_schema(table.schema)), file)
    elif ending == ".xlsx":
        check_size(file, table.num_rows, table.num_columns)
        write_sheet(file, table.column_names, [table], export.about)
    else:
        delimiter = "\t" if ending.startswith(".tsv") else ","
        write_text(file, table.column_names, [table], delimiter, ending.endswith(".gz"), export.excel)
    return count


def _rows(
    project: Project, entry: ImageEntry, detections: Detections, with_tissue: bool, export: Export
) -> list[Row]:
    unknown = "" if detections.classes else why_unknown(project, entry)
    if unknown:
        export.reporter.warn(f"{entry.name}: {unknown}, so its rows have no numbers of nuclei.")
    try:
        annotations: list[Annotation] = project.annotations(entry)
    except EntryDataError as error:
        # The other images, and this one's own row, do not depend on it.
        export.reporter.warn(
            f"{entry.name}: has no rows of annotations, because they cannot be read: {error}"
        )
        annotations = []
    cores = readable_cores(project, entry)
    record = read_record(project, entry)
    rows = image_rows(
        entry,
        detections,
        annotations,
        cores,
        ignore=ignored_classes(project, entry),
        covered=entry.size and covered_area(record, entry.size, [*cores, *annotations]),
        known=not unknown,
        missing_name="Missing core" if export.modern else "Missing",
        extra=export.extra.get(entry.id, {}),
        tissue=_tissue_of(entry, export.reporter) if with_tissue else None,
    )
    return list(rows)


def _tissue_of(entry: ImageEntry, reporter: Reporter) -> Tissue | None:
    """A function that measures the tissue inside a shape, in px²; None where the slide cannot be read."""
    try:
        with open_image(entry) as reader:
            return tissue_area(reader, entry.mpp[0] if entry.mpp else None).inside
    except SlideError as error:
        reporter.warn(f"{entry.name}: its tissue is not measured: {error}")
        return None


def _table(rows: Sequence[Row], classes: bool) -> pa.Table:
    columns = dict(_columns(rows, classes))
    kinds = [Kind.AREA if name in AREAS else Kind.MEASUREMENT for name in columns]
    named = zip(columns.items(), kinds, strict=True)
    schema = pa.schema([field_of(name, values.type, kind) for (name, values), kind in named])
    return pa.table(list(columns.values()), schema=schema)


def _columns(rows: Sequence[Row], classes: bool) -> Iterator[tuple[str, pa.Array]]:
    """The columns of a summary in order: what rows are about, areas, numbers, statistics."""
    for name in dict.fromkeys(name for row in rows for name in row.texts):
        yield writable(name), text_column([row.texts.get(name) for row in rows])
    for name in dict.fromkeys(name for row in rows for name in row.areas):
        yield name, pa.array([row.areas.get(name) for row in rows], pa.float64())
    counts = [None if row.classes is None else float(row.classes.total()) for row in rows]
    yield "Num Detections", pa.array(counts, pa.float64())
    for name, numbers in class_columns(rows, classes):
        yield writable(name), pa.array(numbers, pa.float64())
    for name in dict.fromkeys(name for row in rows for name in row.statistics):
        yield writable(name), pa.array([row.statistics.get(name) for row in rows], pa.float64())
