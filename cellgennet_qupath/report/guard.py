"""The one guard behind which every page is written: a page that fails never costs a result."""

from __future__ import annotations

import logging
from collections.abc import Callable
from pathlib import Path

from ..core.environment import in_one_line
from ..core.progress import Reporter

_logger = logging.getLogger(__name__)


def guarded(write: Callable[[], Path], reporter: Reporter, what: str = "page") -> Path | None:
    """The file that ``write`` wrote, or None after any error, which becomes one warning with the reason.

    A page is an extra on finished work. Whatever goes wrong in it (a plot, a picture, a font, a full disk)
    must not touch results, JSON or exit code; so every exception ends here, and its traceback is logged.
    Let ``write`` also import what the page needs: libraries for plots can fail at import.
    """
    try:
        return write()
    except Exception as error:
        _logger.debug("The %s could not be written", what, exc_info=True)
        reporter.warn(f"No {what} was written: {in_one_line(error)}")
        return None
