"""The files of an evaluation's report beside its page: tables, and everything as JSON."""

from __future__ import annotations

import json
import math
import tempfile
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pandas as pd

from ..bundle import Bundle, now, versions
from ..core.errors import ExportError, UsageError
from ..core.files import replacing
from ..evaluation.run import Evaluation
from ..evaluation.verdict import Verdict
from ..tables.cells import text_frame

REPORT = "report.html"
DOCUMENT = "report.json"
FIGURES = "figures"


def check_output(folder: Path) -> None:
    """Raise UsageError unless a report can be written to ``folder``.

    It must be missing, empty, or contain an earlier report, and files can be created there. What is missing
    is not created.
    """
    try:
        if folder.is_dir():
            earlier = (folder / REPORT).is_file() or (folder / DOCUMENT).is_file()
            if any(folder.iterdir()) and not earlier:
                raise UsageError(
                    folder, "is not empty and contains no earlier report", "Choose another folder"
                )
            for name in (REPORT, DOCUMENT, FIGURES):
                if (folder / name).exists() and (folder / name).is_dir() != (name == FIGURES):
                    raise UsageError(folder / name, "is not a file of a report", "Choose another folder")
        elif folder.exists() or folder.is_symlink():
            raise UsageError(folder, "is a file", "Name a folder with -o")
        parent = next(
            place for place in (folder, *folder.absolute().parents) if place.exists() or place.is_symlink()
        )
        if not parent.is_dir():
            raise UsageError(
                folder, f"cannot be created, because {parent} is not a folder", "Choose another folder"
            )
        with tempfile.TemporaryFile(dir=parent):
            pass
    except (OSError, ValueError) as error:
        why = getattr(error, "strerror", None) or error
        raise UsageError(folder, f"cannot be written ({why})", "Choose another folder") from error


def clear_output(folder: Path) -> None:
    """Delete the page and the JSON of an earlier report, so that they never stand beside new tables.

    Raises ExportError.
    """
    for name in (REPORT, DOCUMENT):
        try:
            (folder / name).unlink(missing_ok=True)
        except OSError as error:
            raise ExportError(folder / name, f"cannot be replaced ({error.strerror})") from error


def write_files(
    folder: Path,
    evaluation: Evaluation,
    subject: str,
    bundles: Sequence[Bundle],
    notes: Sequence[str],
    verdict: Verdict,
) -> dict[str, Any]:
    """Write the tables, then ``report.json``, and return its content as plain data. Raises ExportError."""
    document = _document(evaluation, subject, bundles, notes, verdict)
    tables = {
        "per_image.csv": evaluation.scores,
        "summary.csv": evaluation.summary(),
        "groups.csv": evaluation.summary(by_group=True),
        "nuclei_kinds.csv": evaluation.strata,
        "tests.csv": pd.DataFrame(_tests(evaluation)),
    }
    for name, table in tables.items():
        write_file(folder / name, text_frame(table).to_csv(index=False))
    write_file(folder / DOCUMENT, json.dumps(document, indent=2, ensure_ascii=False))
    return document


def _document(
    evaluation: Evaluation,
    subject: str,
    bundles: Sequence[Bundle],
    notes: Sequence[str],
    verdict: Verdict,
) -> dict[str, Any]:
    raw = {
        "subject": subject,
        "written": now(),
        "unit_of_distances": evaluation.unit,
        "verdict": asdict(verdict),
        "notes": list(notes),
        "skipped": [f"{name}: {why}" for name, why in evaluation.skipped.items()],
        "methods": evaluation.summary().to_dict("records"),
        "groups": evaluation.summary(by_group=True).to_dict("records"),
        "kinds": evaluation.strata.to_dict("records"),
        "images": evaluation.scores.to_dict("records"),
        "tests": _tests(evaluation),
        "calibration": {
            name: {"error": one.error, "bias": one.bias} for name, one in evaluation.calibration.items()
        },
        "bundles": [
            {
                "path": str(b.path),
                "name": b.card.name,
                "fingerprint": b.fingerprint,
                "checksums": b.card.checksums,
            }
            for b in bundles
        ],
        "versions": versions(),
    }
    plain: dict[str, Any] = _plain(raw)
    return plain


def _tests(evaluation: Evaluation) -> list[dict[str, Any]]:
    return [asdict(comparison) | {"stars": comparison.stars} for comparison in evaluation.comparisons]


def _plain(value: Any) -> Any:
    """Plain data for JSON, which has no NaN: null instead."""
    if isinstance(value, dict):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    if hasattr(value, "item"):
        value = value.item()
    return None if isinstance(value, float) and not math.isfinite(value) else value


def write_file(file: Path, text: str) -> None:
    """Write a text file completely or not at all. Raises ExportError."""
    try:
        with replacing(file) as part:
            part.write_text(text, encoding="utf-8", errors="replace")
    except OSError as error:
        raise ExportError(file, f"cannot be written ({error.strerror})") from error
