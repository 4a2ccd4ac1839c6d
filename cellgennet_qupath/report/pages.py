"""Self-contained HTML pages from templates: they load no other file and need no internet connection.

Every value is escaped when it is inserted. In addition, a content security policy in each page allows only
the page's own script, by its checksum, and forbids loading anything.
"""

from __future__ import annotations

import base64
import hashlib
import math
import re
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup, escape

from .. import __version__
from ..bundle import INTENDED_USE, now
from ..core.errors import ExportError
from ..core.files import replacing

_FOLDER = Path(__file__).with_name("templates")
UNDEFINED = "–"


def write_page(file: Path, template: str, values: Mapping[str, Any]) -> Path:
    """Fill a template and write the page atomically; returns ``file``. Raises ExportError."""
    script = (_FOLDER / "page.js").read_text(encoding="utf-8").strip()
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode("ascii")
    text = (
        _environment()
        .get_template(template)
        .render(
            **values,
            style=(_FOLDER / "page.css").read_text(encoding="utf-8"),
            script=script,
            script_digest=digest,
            version=__version__,
            intended_use=INTENDED_USE,
            written=now(),
        )
    )
    try:
        with replacing(file) as part:
            part.write_text(text, encoding="utf-8", errors="replace")
    except OSError as error:
        raise ExportError(file, f"cannot be written ({error.strerror})") from error
    return file


def keep_earlier(file: Path) -> list[str]:
    """Rename the page of an earlier run, so that the next one does not replace it.

    Returns the names of all kept pages in its folder, the latest first: the page's own name with the time
    (UTC) at which it was written. Raises ExportError.
    """
    try:
        if file.is_file():
            written = datetime.fromtimestamp(file.stat().st_mtime, UTC)
            kept = file.with_name(f"{file.stem}-{written:%Y%m%d-%H%M%S-%f}{file.suffix}")
            file.replace(kept)
        pattern = re.compile(rf"{re.escape(file.stem)}-\d{{8}}-\d{{6}}-\d{{6}}{re.escape(file.suffix)}")
        folder = file.parent
        names = [one.name for one in folder.iterdir()] if folder.is_dir() else []
    except OSError as error:
        raise ExportError(file, f"cannot be kept ({error.strerror})") from error
    return sorted((name for name in names if pattern.fullmatch(name)), reverse=True)


def _kept_at(name: str) -> str:
    """When a kept page was written, from its name: "2026-11-30 08:40 UTC"."""
    day, time = name.rsplit(".", 1)[0].split("-")[-3:-1]
    return f"{day[:4]}-{day[4:6]}-{day[6:]} {time[:2]}:{time[2:4]} UTC"


def _environment() -> Environment:
    environment = Environment(
        loader=FileSystemLoader(_FOLDER),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {
        "num": number,
        "pct": percent,
        "svg_uri": _svg_uri,
        "kept_at": _kept_at,
        "code": _code,
        "when": _when,
    }
    return environment


def number(value: float, digits: int = 3) -> str:
    """A score for a table; a dash if it is undefined."""
    if value is None or math.isnan(value):
        return UNDEFINED
    return f"{value:,.{digits}f}"


def percent(value: float, sign: bool = False) -> str:
    """A share in percent for a table; a dash if it is undefined."""
    if value is None or math.isnan(value):
        return UNDEFINED
    return f"{value:+.0%}" if sign else f"{value:.0%}"


def _when(stamp: str) -> str:
    """A time as it is read: "2026-11-30 08:40 UTC"; text that is not a time in UTC stays as it is."""
    return re.sub(r"^(\d{4}-\d{2}-\d{2})T(\d{2}:\d{2}):\d{2}Z$", r"\1 \2 UTC", stamp)


def _code(text: str) -> Markup:
    """Escaped text in which what is between backticks is set as code."""
    return Markup(re.sub(r"`([^`]+)`", r"<code>\1</code>", str(escape(text))))  # noqa: S704 - escaped first


def _svg_uri(text: str) -> str:
    encoded = base64.b64encode(text.encode()).decode("ascii")
    return f"data:image/svg+xml;base64,{encoded}"
