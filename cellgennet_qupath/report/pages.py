"""Self-contained HTML pages from templates: they load no other file and need no internet connection.

Every value is escaped when it is inserted. In addition, a content security policy in each page allows only
the page's own script, by its checksum, and forbids loading anything.
"""

from __future__ import annotations

import base64
import hashlib
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from .. import __version__
from ..bundle import now
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
            written=now(),
        )
    )
    try:
        with replacing(file) as part:
            part.write_text(text, encoding="utf-8", errors="replace")
    except OSError as error:
        raise ExportError(file, f"cannot be written ({error.strerror})") from error
    return file


def _environment() -> Environment:
    environment = Environment(
        loader=FileSystemLoader(_FOLDER),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {"num": number, "pct": percent, "svg_uri": _svg_uri}
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


def _svg_uri(text: str) -> str:
    encoded = base64.b64encode(text.encode()).decode("ascii")
    return f"data:image/svg+xml;base64,{encoded}"
