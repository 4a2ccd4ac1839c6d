"""Where the nuclei of an export come from: image, slide, model, versions."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from .. import __version__
from ..core.errors import UsageError
from ..core.wording import INTENDED_USE
from ..qupath.project import ImageEntry, Project
from ..segmentation.record import models_of, read_record
from .cells import writable
from .units import Units

COLUMNS = {
    "image-id": ("Image ID",),
    "slide": ("Slide",),
    "model": ("Model",),
    "checksum": ("Model checksum",),
}
"""Values of ``--columns`` that hold for a whole image, and the columns that they add."""
METADATA = "metadata"
"""The value of ``--columns`` for the metadata that an image has in the project."""
SUMMARY_COLUMNS = ("tissue", "classes")
"""Further values of ``--columns``, for summaries."""

Facts = dict[str, str | float]


def image_facts(project: Project, entry: ImageEntry) -> Facts:
    """What is known of an image: id, name, slide, pixel size, and the model that segmented it last.

    Models whose nuclei were kept beside its own follow, after a comma.
    """
    record = read_record(project, entry)
    models = [] if record is None else models_of(record.model)
    width, height = entry.mpp or (float("nan"), float("nan"))
    texts = {
        "Image ID": entry.id,
        "Image": entry.name,
        "Slide": entry.uri if entry.slide is None else str(entry.slide),
        "Model": _each(models, "name", ", "),
        "Model checksum": _each(models, "checksum", ", "),
        "Learnt from": _each(models, "learnt_from", "; "),
        "Within": "" if record is None else ", ".join(filter(None, [record.within, *record.inside])),
    }
    facts: Facts = {name: writable(text) for name, text in texts.items()}
    return {**facts, "Pixel width µm": width, "Pixel height µm": height}


def _each(models: Iterable[Mapping[str, Any]], what: str, between: str) -> str:
    """What each of several models says, once; "" where none says anything."""
    said = dict.fromkeys(str(model.get(what) or "") for model in models)
    return between.join(filter(None, said))


def extra_columns(entry: ImageEntry, facts: Facts, columns: Iterable[str]) -> dict[str, str]:
    """The columns on request of an image: name to text."""
    extra = {name: str(facts[name]) for value in columns for name in COLUMNS.get(value, ())}
    if METADATA in columns:
        extra |= {f"Metadata: {name}": text for name, text in entry.metadata}
    return extra


def check_columns(columns: Iterable[str], summary: bool) -> None:
    """Raises UsageError for a value of ``--columns`` that does not exist, or not here."""
    known = (*COLUMNS, METADATA, *SUMMARY_COLUMNS)
    for value in columns:
        if value not in known:
            raise UsageError(f"--columns {value}", "is not known", f"Choose from {', '.join(known)}")
        if value in SUMMARY_COLUMNS and not summary:
            raise UsageError(f"--columns {value}", "is a column of summaries", "Add --summary")


def export_facts(project: Project, units: Units, images: Iterable[Facts]) -> dict[str, Any]:
    """What is known of an export as a whole, as plain data."""
    images = list(images)
    models = sorted({(str(one["Model"]), str(one["Model checksum"])) for one in images if one["Model"]})
    return {
        "version": __version__,
        "qupath_version": project.version,
        "unit": units.target or "as in QuPath",
        "model": ", ".join(name for name, _ in models),
        "model_checksum": ", ".join(checksum for _, checksum in models),
        "learnt_from": "; ".join(sorted({str(one["Learnt from"]) for one in images if one["Learnt from"]})),
        "intended_use": INTENDED_USE,
    }
