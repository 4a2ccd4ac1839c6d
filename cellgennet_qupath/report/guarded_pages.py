"""The pages after a run, behind the guard: nothing in them can cost results.

The pages themselves are imported inside the guard, because libraries for plots can fail at import.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from ..core.progress import Remembering, Reporter
from .guard import guarded

if TYPE_CHECKING:
    from ..bundle import Bundle
    from ..qupath.project import Project
    from ..segmentation.result import ImageResult
    from ..suggestion.run import SuggestResult
    from ..training.record import TrainingRecord


def run_page(
    project: Project,
    results: Sequence[ImageResult],
    bundle: Bundle,
    listener: Remembering,
    mpp: float | None = None,
    chosen: Mapping[str, str] | None = None,
) -> Path | None:
    """The page of a segmentation (``write_run_page``); without it the nuclei are in the project anyway."""

    def write() -> Path:
        from .segmentation_page import write_run_page

        return write_run_page(project, results, bundle, warnings=listener.warnings, mpp=mpp, chosen=chosen)

    return guarded(write, listener)


def suggestion_page(
    project: Project, result: SuggestResult, bundle: Bundle, listener: Remembering
) -> Path | None:
    """The page of suggestions (``write_suggestion_page``); without it they are in the project anyway."""

    def write() -> Path:
        from .suggestion_page import write_suggestion_page

        return write_suggestion_page(project, result, bundle, warnings=listener.warnings)

    return guarded(write, listener)


def training_page(reporter: Reporter) -> Callable[[TrainingRecord, Path], Path | None]:
    """What writes the page of a training (``write_training_page``); without it the bundle is complete."""

    def page(record: TrainingRecord, file: Path) -> Path | None:
        def write() -> Path:
            from .training_page import write_training_page

            return write_training_page(record, file)

        return guarded(write, reporter, "training page")

    return page
