"""The size of a slide file, for telling files of one name apart."""

from __future__ import annotations

from pathlib import Path

from ..errors import SlideError
from .reader import open_slide


def slide_size(path: Path) -> tuple[int, int] | None:
    """(width, height) of full resolution; None where the file is no readable slide."""
    try:
        with open_slide(path) as reader:
            return reader.width, reader.height
    except SlideError:
        return None
