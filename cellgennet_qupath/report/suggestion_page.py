"""The page on suggested windows: a picture of each in its surroundings, where it is, and why."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ..bundle import Bundle
from ..core.environment import in_one_line
from ..qupath.images import open_image
from ..qupath.project import Project
from ..suggestion.run import SuggestedWindow, SuggestResult
from .density import ScaleBar, scale_bar, thumbnail_grid
from .overlay import jpeg
from .pages import keep_earlier, write_page

PAGE = "suggest.html"
_AROUND = 0.5
"""Surroundings shown on each side, as a share of the window's side."""
_SIDE = 320
"""Samples of the picture along its longer side."""


@dataclass(frozen=True)
class WindowCard:
    """The page's entry on one window; pictures are data URIs, "" if there is none.

    tissue : the window with its surroundings; ``slide``: the whole image. Frames are in their samples, bars
             are their scale bars, None without a pixel size.
    problem: why the pictures could not be read.
    """

    window: SuggestedWindow
    tissue: str = ""
    tissue_size: tuple[int, int] = (1, 1)
    tissue_frame: tuple[float, float, float, float] = (0, 0, 0, 0)
    slide: str = ""
    slide_size: tuple[int, int] = (1, 1)
    slide_frame: tuple[float, float, float, float] = (0, 0, 0, 0)
    tissue_bar: ScaleBar | None = None
    slide_bar: ScaleBar | None = None
    problem: str = ""

    @property
    def side(self) -> str:
        """The window's size in words."""
        box, mpp = self.window.suggestion.box, self.window.mpp
        pixels = f"{box.columns} × {box.rows} px"
        return pixels if mpp is None else f"{pixels} ({box.columns * mpp:.0f} × {box.rows * mpp:.0f} µm)"


def write_suggestion_page(
    project: Project, result: SuggestResult, bundle: Bundle, *, warnings: Sequence[str] = ()
) -> Path:
    """Write ``<project>/cellgennet/report/suggest.html`` and return its path. Raises ExportError.

    warnings : messages of the run. The page says why where a window cannot be shown; the page of an earlier
               run is kept beside it.
    """
    file = project.work_folder / "report" / PAGE
    return write_page(
        file,
        "suggest.html.j2",
        {
            "project": project.path.name,
            "path": str(project.path),
            "bundle": bundle,
            "warnings": warnings,
            "cards": [window_card(window) for window in result.windows],
            "images": result.images,
            "earlier": keep_earlier(file),
            "notes": sorted({i.written.note for i in result.images if i.written and i.windows}),
        },
    )


def window_card(window: SuggestedWindow) -> WindowCard:
    """The page's entry on one window; errors in reading it become its ``problem``."""
    box = window.suggestion.box
    around = _AROUND * max(box.columns, box.rows)
    x, y = box.x0 - around, box.y0 - around
    step = max(1.0, (max(box.columns, box.rows) + 2 * around) / _SIDE)
    columns, rows = (max(1, round((side + 2 * around) / step)) for side in (box.columns, box.rows))
    try:
        with open_image(window.entry) as reader:
            # The grid is anchored at the image's origin, so the picture begins at a whole sample.
            left, top = round(x / step), round(y / step)
            tissue = reader.read_grid(left, top, columns, rows, step)
            slide_step, slide_columns, slide_rows = thumbnail_grid((reader.width, reader.height))
            slide = reader.read_grid(0, 0, slide_columns, slide_rows, slide_step)
    except Exception as error:
        # One window that cannot be shown does not cost the page, which says why.
        return WindowCard(window, problem=in_one_line(error))
    return WindowCard(
        window,
        jpeg(tissue),
        _size(tissue),
        _frame(window, step, (left, top)),
        jpeg(slide),
        _size(slide),
        _frame(window, slide_step, (0, 0)),
        scale_bar(columns * step, window.mpp),
        scale_bar(slide_columns * slide_step, window.mpp),
    )


def _size(picture: NDArray[np.uint8]) -> tuple[int, int]:
    return picture.shape[1], picture.shape[0]


def _frame(
    window: SuggestedWindow, step: float, origin: tuple[int, int]
) -> tuple[float, float, float, float]:
    """x, y, width and height of a window in samples of a picture that begins at the sample ``origin``."""
    box = window.suggestion.box
    x, y = (round(edge / step - first, 1) for edge, first in zip((box.x0, box.y0), origin, strict=True))
    return x, y, round(box.columns / step, 1), round(box.rows / step, 1)
