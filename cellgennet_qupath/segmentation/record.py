"""What each image's nuclei were made from: one record per image, in ``<project>/cellgennet/segmented``.

A record is trusted only if its own checksum fits, and says that an image is done only while the file of its
nuclei is the one that was written.
"""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from ..core.environment import advice
from ..core.errors import EntryDataError
from ..core.files import replacing
from ..core.wording import listed
from ..qupath.files import FilesBackend
from ..qupath.kept import SEGMENTED
from ..qupath.origin import difference
from ..qupath.project import ImageEntry, Project

IGNORE = "ignore"
"""The name of ignored classes, in a record's model."""

BESIDE = "beside"
"""The models of earlier runs whose nuclei were kept beside those of the last one, in a record's model."""

MEASURED_IN = "measured in"
"""The size of a pixel for measurements, (x, y) in µm, in the inputs of an image and in a record's model."""

MEASURED_BESIDE = "measured beside"
"""The other sizes in which nuclei were measured that stayed beside new ones, in a record's model."""

PixelSize = tuple[float, float]
"""(x, y) in µm."""

_SAME_SIZE = 1e-3
"""Relative difference up to which two pixel sizes are the same, rounded differently."""


@dataclass(frozen=True)
class Record:
    """How an image was last segmented.

    origin   : the slide (see ``qupath/origin.py``).
    inputs   : everything that decides the nuclei and how they are written.
    model    : name, checksum, scale in µm per pixel, decoding rule, the pixel size for measurements, the name
               of ignored classes, and the models ``BESIDE`` and sizes ``MEASURED_BESIDE``; {} if not known.
    within   : the class inside which nuclei were kept; None for the whole image.
    inside   : ids of annotations and cores inside which nuclei were kept; empty for all.
    count    : nuclei written; ``file``: into this one, below the project's folder where possible.
    checksum : of that file as it was written (SHA-256).
    nuclei   : digest of the nuclei that the image then had (see ``present.py``); "" if unknown.
    current  : False once a restart has begun, so that the image is done again.
    covered  : the area in which these nuclei, and those kept beside them, were looked for, as well-known
               text; "" for the whole image (with ``within`` or ``inside``: not known).
    restored : whether `restore` put them back since.
    others   : digest of other tools' detections that "replace-all" left, or `restore` put back; "" for none.
    """

    origin: dict[str, Any]
    inputs: dict[str, Any]
    model: dict[str, Any]
    within: str | None
    count: int
    file: str
    note: str
    reason: str
    device: str
    checksum: str
    nuclei: str
    mm2: float | None = None
    current: bool = field(default=True)
    inside: list[str] = field(default_factory=list)
    covered: str = ""
    restored: bool = False
    others: str = ""

    def path(self, project: Project) -> Path:
        """The file of the nuclei."""
        return project.path / self.file


def read_record(project: Project, entry: ImageEntry) -> Record | None:
    """The record of an image; None if it is missing, damaged or about another slide."""
    return read_record_file(_file(project, entry), entry)


def read_record_file(file: Path, entry: ImageEntry) -> Record | None:
    """The same from another file, such as a copy that was kept."""
    try:
        content = json.loads(file.read_text(encoding="utf-8"))
        checksum = content.pop("sha256")
        record = Record(**content)
    except (OSError, ValueError, TypeError, KeyError, AttributeError, RecursionError):
        return None
    if checksum != _checksum(content) or difference(record.origin, entry):
        return None
    return record


def why_not_trusted(project: Project, entry: ImageEntry) -> str:
    """Why the record of an image is about another slide, as the end of a sentence; "" where it is not."""
    try:
        content = json.loads(_file(project, entry).read_text(encoding="utf-8"))
        return difference(content["origin"], entry)
    except (OSError, ValueError, TypeError, KeyError, RecursionError):
        return ""


def models_of(model: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    """The model of a record, then those whose nuclei were kept beside its own."""
    beside = model.get(BESIDE)
    earlier = [one for one in beside if isinstance(one, dict)] if isinstance(beside, list) else []
    return [
        {name: value for name, value in model.items() if name not in (BESIDE, MEASURED_BESIDE)},
        *earlier,
    ]


def models_beside(model: Mapping[str, Any], earlier: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    """Of the models of an earlier record, those that segment in another way than ``model``."""
    own = _settings(model)
    return [one for one in models_of(earlier) if _settings(one) != own]


def measured_in(record: Record) -> list[PixelSize]:
    """The different sizes of the pixels that the nuclei of a record were measured in, that of its run first.

    Those measured in px have none, and neither have those of which it is not known.
    """
    own = record.model.get(MEASURED_IN)
    if MEASURED_IN not in record.model and not record.restored:  # a record of an early version
        image = record.inputs.get("image")
        own = image.get(MEASURED_IN) if isinstance(image, dict) else None
    beside = record.model.get(MEASURED_BESIDE)
    sizes: list[PixelSize] = []
    for size in [own, *(beside if isinstance(beside, list) else [])]:
        if isinstance(size, list) and len(size) == 2:
            one = (float(size[0]), float(size[1]))
            sizes += [] if any(same_size(one, other) for other in sizes) else [one]
    return sizes


def same_size(one: PixelSize, other: PixelSize) -> bool:
    """Whether two pixel sizes are the same, rounded differently."""
    return all(abs(a - b) <= _SAME_SIZE * b for a, b in zip(one, other, strict=True))


def mixed_nuclei(project: Project) -> list[str]:
    """What to warn of before nuclei of a project are compared, a line each: pixel sizes, then settings."""
    return [line for line in (*mixed_sizes(project), mixed_settings(project)) if line]


def mixed_sizes(project: Project) -> list[str]:
    """One line for each image whose nuclei were measured in pixels of different sizes."""
    lines = []
    for entry in project.entries:
        record = read_record(project, entry)
        sizes = [] if record is None else measured_in(record)
        if len(sizes) > 1:
            named = listed(_texts(sizes))
            lines.append(
                f"{entry.name}: its nuclei were measured in pixels of different sizes ({named}), as those of "
                "an earlier run stayed (--existing keep, or Corrected regions). Their areas and lengths do "
                "not compare: segment the image again without these."
            )
    return lines


def _texts(sizes: Sequence[PixelSize]) -> list[str]:
    return [f"{x:.5g} µm" if same_size((x, x), (x, y)) else f"{x:.5g} x {y:.5g} µm" for x, y in sizes]


def write_record(project: Project, entry: ImageEntry, record: Record) -> None:
    """Replace the record of an image. Raises EntryDataError."""
    content = asdict(record)
    file = _file(project, entry)
    try:
        with replacing(file, project.work_folder) as part:
            part.write_text(json.dumps({**content, "sha256": _checksum(content)}, indent=1), encoding="utf-8")
    except OSError as error:
        raise EntryDataError(file, f"cannot be written ({error.strerror or error})", advice(error)) from error


def place_of(project: Project, file: Path) -> str:
    """A file as a record names it, so that a project that was moved still finds it."""
    return file.relative_to(project.path).as_posix() if file.is_relative_to(project.path) else str(file)


def file_checksum(file: Path) -> str:
    """SHA-256 of a file; "" if it cannot be read."""
    try:
        with file.open("rb") as opened:
            return hashlib.file_digest(opened, "sha256").hexdigest()
    except OSError:
        return ""


def mixed_settings(project: Project) -> str:
    """Whether nuclei of a project were segmented in different ways, in one line; "" if they were not."""
    groups: dict[tuple[str, ...], list[str]] = {}
    several: list[str] = []
    for entry in project.entries:
        record = read_record(project, entry)
        if record is not None:
            ways = dict.fromkeys(map(_settings, models_of(record.model)))
            several += [entry.name] if len(ways) > 1 else []
            for way in ways:
                groups.setdefault(way, []).append(entry.name)
    if len(groups) < 2:
        return ""
    unlike = [k for k in range(4) if len({key[k] for key in groups}) > 1]
    parts = [
        f"{', '.join(key[k] for k in dict.fromkeys([0, *unlike]))}: {listed(names)}"
        for key, names in groups.items()
    ]
    both = f" Nuclei of more than one run (--existing keep) are in {listed(several)}." if several else ""
    return f"The images of this project were segmented in different ways ({'; '.join(parts)}).{both}"


def waiting_nuclei(project: Project) -> str:
    """One line about nuclei in files of this tool that QuPath has not imported; "" if there are none."""
    if not isinstance(project, FilesBackend):
        return ""
    waiting: Counter[str] = Counter()
    for entry in project.entries:
        record, data = read_record(project, entry), project.data_file(entry)
        if record is None or not record.count or not record.path(project).is_file():
            continue
        saved = data.stat().st_mtime_ns if data.is_file() else 0
        if record.path(project).stat().st_mtime_ns > saved:
            waiting[entry.name] += record.count
    if not waiting:
        return ""
    count, names = waiting.total(), listed(list(waiting))
    return (
        f"Segmented, and not saved in QuPath since: {count} nuclei in {names}. "
        "In QuPath, run cellgennet_import_detections.groovy."
    )


def _settings(model: Mapping[str, Any]) -> tuple[str, ...]:
    if not model:
        return "an unknown model", "unknown checksum", "unknown scale", "unknown rule"
    scale, rule = model.get("mpp"), str(model.get("rule"))
    return (
        f"model {model.get('name') or 'without a name'}",
        f"checksum {str(model.get('checksum'))[:8]}",
        "scale of the image" if scale is None else f"{scale:g} µm per pixel",
        f"rule {hashlib.sha256(rule.encode()).hexdigest()[:8]}",
    )


def _file(project: Project, entry: ImageEntry) -> Path:
    return project.work_folder / SEGMENTED / f"{entry.id}.json"


def _checksum(content: Mapping[str, Any]) -> str:
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()
