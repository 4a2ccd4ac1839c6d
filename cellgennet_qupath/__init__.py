"""Nucleus segmentation for QuPath projects, trained on a few annotated rectangles.

>>> import cellgennet_qupath as cgn
>>> project = cgn.open_project("MyProject")
>>> run = cgn.segment(project)
>>> rows = cgn.export(project, "nuclei.csv")
>>> project.close()

The functions are those that the command line calls; ``cellgennet_qupath.api`` documents them. They are
imported when first used, so that ``import cellgennet_qupath`` is fast.
"""

from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"

__all__ = [
    "__version__",
    "create_project",
    "evaluate",
    "export",
    "load_bundle",
    "open_images",
    "open_project",
    "segment",
    "suggest",
    "train",
]

if TYPE_CHECKING:
    from .api import (
        create_project,
        evaluate,
        export,
        load_bundle,
        open_images,
        open_project,
        segment,
        suggest,
        train,
    )


def __getattr__(name: str) -> Any:
    if name in __all__:
        from . import api

        return getattr(api, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
