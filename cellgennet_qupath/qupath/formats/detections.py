"""Nuclei as GeoJSON detections for import by QuPath 0.5 to 0.7, and back.

A single invalid feature makes QuPath refuse the whole file, so outlines are repaired first: two decimals,
valid, closed, polygons of one part or multipolygons of several.
"""

from __future__ import annotations

import gzip
import itertools
import json
import zlib
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO, TextIO, TypeVar

import numpy as np
import shapely
from numpy.typing import NDArray

from ...core.errors import EntryDataError
from ...core.files import replacing
from ...core.lazy import lazy
from ...nuclei import CHUNK, Nuclei, NucleiChunks, concat, own_id
from ..project import WRITE_DEFAULTS, WriteOptions
from .bounded import open_text, parse_json
from .columns import columns_of, confirm_columns, writing_columns
from .featurelines import FeatureColumns, parse_features, parse_lines
from .geojson import DETECTION_TYPES, features, is_uuid, object_type
from .outlines import with_area

if TYPE_CHECKING:
    import pandas as pd
    import pyarrow as pa
else:
    pd = lazy("pandas")
    pa = lazy("pyarrow")

PROBABILITY = "Detection probability"
"""The measurement under which QuPath's StarDist extension keeps the probability; ours as well."""

Color = tuple[int, int, int]

_OPENING = ('{"type":"FeatureCollection","cellgennet":', ',"features":[\n')
_CLOSING = "]}\n"
_LONGEST_HEAD = 1 << 20
_Item = TypeVar("_Item")
DEFAULT_COLOR = (60, 160, 60)
"""The colour of a class to which the project assigns none."""


def write_detections(
    path: Path,
    nuclei: NucleiChunks,
    colors: Mapping[str, Color] | None = None,
    options: WriteOptions = WRITE_DEFAULTS,
    parents: Callable[[Nuclei], NDArray[np.object_]] | None = None,
    origin: Mapping[str, Any] | None = None,
    columns_file: Path | None = None,
) -> int:
    """Write nuclei as detections or cells for import by QuPath, completely or not at all.

    A file whose name ends in ``.gz`` is packed.

    colors  : of classes by full name; QuPath uses them for classes that it does not have yet.
    options : written at the head of the file, for the script that imports it.
    parents : returns the ids of the parent annotations of nuclei, "" for none; QuPath itself ignores them.
    origin  : the slide they were made from (see ``qupath/origin.py``), written at the head of the file.
    columns_file : the same as columns, to be read faster (see ``columns.py``); in a folder beside the file's.

    Returns how many were written: an outline without an area on the grid of 0.01 px is left out, and so
    are NaN measurements. Raises EntryDataError.
    """
    written, root = 0, path.parent.parent
    try:
        # No name and no time inside, so that equal nuclei give equal bytes.
        with (
            replacing(path) as part,
            part.open("wb") as raw,
            _packed(raw) if path.suffix == ".gz" else nullcontext(raw) as file,
            nullcontext() if columns_file is None else writing_columns(columns_file, root) as add,
        ):
            for number, chunk in enumerate(nuclei.chunks()):
                if number == 0:
                    file.write((_OPENING[0] + _text(_head(chunk, options, origin)) + _OPENING[1]).encode())
                lines, features = _features(chunk, colors, None if parents is None else parents(chunk))
                if lines:
                    file.write(((",\n" if written else "") + ",\n".join(lines)).encode())
                    if add is not None:
                        add(features())
                written += len(lines)
            file.write((("\n" if written else "") + _CLOSING).encode())
        if columns_file is not None:
            confirm_columns(columns_file, path, root)
    except OSError as error:
        raise EntryDataError(path, f"cannot be written ({error.strerror})") from error
    return written


def _head(nuclei: Nuclei, options: WriteOptions, origin: Mapping[str, Any] | None) -> dict[str, Any]:
    about = {} if origin is None else {"image": dict(origin)}
    return about | {
        "existing": options.existing,
        "history": dict(options.history),
        "measurements": [str(name) for name in nuclei.measurements.columns],
    }


def _packed(raw: BinaryIO) -> gzip.GzipFile:
    return gzip.GzipFile("", "wb", compresslevel=2, fileobj=raw, mtime=0)


def _text(value: object) -> str:
    return json.dumps(value, ensure_ascii=False)


def feature_lines(
    nuclei: Nuclei,
    colors: Mapping[str, Color] | None = None,
    parents: NDArray[np.object_] | None = None,
) -> list[str]:
    """One GeoJSON feature per nucleus that has an area, as text without line breaks."""
    return _features(nuclei, colors, parents)[0]


def _features(
    nuclei: Nuclei, colors: Mapping[str, Color] | None, parents: NDArray[np.object_] | None
) -> tuple[list[str], Callable[[], FeatureColumns]]:
    """The same, and a function that returns exactly what these texts are read as."""
    nuclei, rows = with_area(nuclei)
    parent_ids = np.full(len(nuclei), "", dtype=object) if parents is None else parents[rows]
    outlines = _geometries(nuclei.polygons, nuclei)
    cells = [""] * len(nuclei) if nuclei.cells is None else _geometries(nuclei.cells, nuclei)
    classes = {name: _classification(name, colors or {}) for name in set(nuclei.classes)}
    ids = [qupath_id(identifier) for identifier in nuclei.ids]
    names, numbers = _number_texts(nuclei)
    lines = []
    for row, measured in enumerate(_measurement_texts(names, numbers)):
        parent = f'"parent":"{parent_ids[row]}",' if parent_ids[row] else ""
        kind, shape = "detection", f'"geometry":{outlines[row]}'
        if cells[row]:
            kind, shape = "cell", f'"geometry":{cells[row]},"nucleusGeometry":{outlines[row]}'
        lines.append(
            f'{{"type":"Feature","id":"{ids[row]}",{parent}{shape},'
            f'"properties":{{"objectType":"{kind}"{classes[nuclei.classes[row]]}{measured}}}}}'
        )

    def columns() -> FeatureColumns:
        # In the order in which they are read: that of the head, which does not list the probability.
        order = list(dict.fromkeys([*map(str, nuclei.measurements.columns), PROBABILITY]))
        values = np.array([[float(text) for text in row] for row in numbers])
        table = pd.DataFrame(values.reshape(len(numbers), len(names)), columns=names)
        full = {name: ": ".join(class_names(name)) for name in classes}
        has_cell = nuclei.cells is not None and any(cells)
        return FeatureColumns(
            ids=np.array(ids, dtype=object),
            polygons=nuclei.polygons,
            cells=nuclei.cells if has_cell else None,
            classes=np.array([full[name] for name in nuclei.classes], dtype=object),
            parents=np.array([str(parent) for parent in parent_ids], dtype=object),
            z=nuclei.z,
            t=nuclei.t,
            measurements=table[order],
        )

    return lines, columns


def _geometries(outlines: NDArray[np.object_], nuclei: Nuclei) -> list[str]:
    """GeoJSON geometries with planes, as text; "" for none."""
    texts: list[str] = [text or "" for text in shapely.to_geojson(outlines).tolist()]
    for row in np.flatnonzero((nuclei.z != 0) | (nuclei.t != 0)).tolist():
        if texts[row]:
            plane = f'"plane":{{"c":-1,"z":{nuclei.z[row]},"t":{nuclei.t[row]}}}'
            texts[row] = f"{texts[row][:-1]},{plane}}}"
    return texts


def class_names(path_class: str) -> list[str]:
    """The parts of a class name: "Tumor: Positive" derives from "Tumor"."""
    return [part.strip() for part in path_class.split(":") if part.strip()]


def _classification(path_class: str, colors: Mapping[str, Color]) -> str:
    names = class_names(path_class)
    if not names:
        return ""
    # QuPath 0.5 refuses a class without a colour, and a derived class that is not a list of names.
    color = list(colors.get(path_class, DEFAULT_COLOR))
    classification: dict[str, Any] = {"name": names[0]} if len(names) == 1 else {"names": names}
    return ',"classification":' + _text({**classification, "color": color})


def columns(nuclei: Nuclei) -> tuple[list[str], NDArray[np.float64]]:
    """Names and (n, m) values of the measurements that are written; NaN for missing ones."""
    table = nuclei.measurements
    names = [str(name) for name in table.columns]
    values = [table.to_numpy(np.float64)]
    if PROBABILITY not in names:
        names.insert(0, PROBABILITY)
        values.insert(0, nuclei.probability[:, np.newaxis].astype(np.float64))
    columns = np.concatenate(values, axis=1)
    return names, np.where(np.isfinite(columns), columns, np.nan)


def qupath_id(identifier: object) -> str:
    """An id for QuPath; one that is not a UUID is replaced, always by the same one."""
    text = str(identifier)
    return text if is_uuid(text) else own_id(text.encode())


def _number_texts(nuclei: Nuclei) -> tuple[list[str], list[list[str]]]:
    """Names of the measurements that are written, and for each nucleus their values as text."""
    names, values = columns(nuclei)
    # QuPath stores measurements in 32 bits, which have at most nine digits.
    return names, [[f"{value:.9g}" for value in row] for row in values.tolist()]


def _measurement_texts(names: list[str], numbers: list[list[str]]) -> list[str]:
    keys = [_text(name) for name in names]
    texts = []
    for row in numbers:
        pairs = [f"{key}:{text}" for key, text in zip(keys, row, strict=True) if text != "nan"]
        texts.append(f',"measurements":{{{",".join(pairs)}}}' if pairs else "")
    return texts


def read_head(path: Path) -> dict[str, Any] | None:
    """What this tool wrote at the head of a file of detections; None for any other or a damaged file."""
    try:
        with open_text(path) as file:
            first = file.readline(_LONGEST_HEAD)
        if not (first.startswith(_OPENING[0]) and first.endswith(_OPENING[1])):
            return None
        head = json.loads(first + _CLOSING)["cellgennet"]
    except (OSError, EOFError, ValueError, LookupError, RecursionError, zlib.error):
        return None
    return head if isinstance(head, dict) else None


def read_detections(path: Path) -> Nuclei:
    """The detections and cells of a GeoJSON file as nuclei, in the file's order. Raises EntryDataError."""
    return concat([nuclei for nuclei, _ in detection_chunks(path)])


def detection_chunks(
    path: Path, columns_file: Path | None = None
) -> Iterator[tuple[Nuclei, NDArray[np.object_]]]:
    """The detections and cells of a GeoJSON file in chunks, with the ids of their parents.

    The parent is an annotation, "" for none. A file that this tool wrote is never in memory as a whole.

    columns_file : the same as columns, which is read instead where it is the same (see ``columns.py``).
    Raises EntryDataError.
    """
    try:
        stored = None if columns_file is None else columns_of(columns_file, path)
        if stored is not None:
            yield from map(_nuclei, stored)
            return
        with open_text(path) as file:
            first = file.readline()
            if first.startswith(_OPENING[0]) and first.endswith(_OPENING[1]):
                head = parse_json(first + _CLOSING)["cellgennet"]
                # The probability is a column of its own in memory, so the head need not list it.
                names = list(dict.fromkeys([*map(str, head["measurements"]), PROBABILITY]))
                for lines in _chunks(_own_lines(file)):
                    yield _nuclei(parse_lines(lines, names))
            else:
                for chunk in _chunks(_detections_in(features(path))):
                    yield _nuclei(parse_features(chunk, []))
    except OSError as error:
        raise EntryDataError(path, f"cannot be read ({error.strerror or error})") from error
    except (ValueError, LookupError, TypeError, AttributeError, OverflowError, EOFError, zlib.error) as error:
        raise _unreadable(path) from error
    except (shapely.errors.ShapelyError, pa.ArrowException) as error:
        raise _unreadable(path) from error


def _unreadable(path: Path) -> EntryDataError:
    return EntryDataError(path, "is truncated or damaged", "Segment the image again")


def _own_lines(file: TextIO) -> Iterator[str]:
    for line in file:
        if line == _CLOSING:
            return
        yield line.rstrip(",\n")
    raise ValueError("no end")


def _detections_in(collection: Iterable[Mapping[str, Any]]) -> Iterator[Mapping[str, Any]]:
    for feature in collection:
        if object_type(feature) in DETECTION_TYPES:
            yield feature


def _chunks(items: Iterator[_Item]) -> Iterator[list[_Item]]:
    while chunk := list(itertools.islice(items, CHUNK)):
        yield chunk


def _nuclei(read: FeatureColumns) -> tuple[Nuclei, NDArray[np.object_]]:
    # QuPath keeps measurements in 32 bits: what does not fit there is no measurement.
    values = read.measurements.to_numpy(np.float64)
    measured = pd.DataFrame(
        np.where(np.abs(values) <= np.finfo(np.float32).max, values, np.nan),
        index=read.measurements.index,
        columns=read.measurements.columns,
    )
    nuclei = Nuclei(
        polygons=read.polygons,
        probability=pop_probability(measured),
        classes=read.classes,
        ids=read.ids,
        z=read.z,
        t=read.t,
        measurements=measured,
        cells=read.cells,
    )
    return nuclei, read.parents


def pop_probability(table: pd.DataFrame) -> NDArray[np.float32]:
    """The column of probabilities, removed from a table of measurements; NaN if there is none."""
    if PROBABILITY in table.columns:
        return table.pop(PROBABILITY).to_numpy(np.float32)
    return np.full(len(table), np.nan, np.float32)
