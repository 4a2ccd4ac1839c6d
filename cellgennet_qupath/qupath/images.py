"""The pixels of a project's entry: opened and checked the same way by every command."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from ..core.errors import SlideError
from ..slides.reader import SlideReader, open_slide
from .project import ImageEntry


def distinct_names(entries: Sequence[ImageEntry]) -> list[str]:
    """A name for each image that no other one has: its own, with its id where several have that."""
    times = Counter(entry.name for entry in entries)
    return [entry.name if times[entry.name] == 1 else f"{entry.name} (id {entry.id})" for entry in entries]


def open_image(entry: ImageEntry) -> SlideReader:
    """Open an entry's slide, so that its pixels are those on which the entry's objects were drawn.

    Use it in a ``with`` block. Raises SlideError where the slide was not found or cannot be read, where
    the project changes its pixels in a way that is not exact, and where its size is not the recorded one.
    """
    if entry.fault:
        raise SlideError(
            entry.name, f"the project {entry.fault}", "Remove the image from the project and add it again"
        )
    if entry.slide is None:
        why = entry.missing or f"its slide was not found ({entry.uri})"
        raise SlideError(entry.name, why, "Name the folder of the slide with --slides DIR")
    if entry.altered:
        raise SlideError(
            entry.name,
            f"the project shows it {entry.altered}, so its pixels are not those of the file",
            "Export it from QuPath as OME-TIFF (File > Export images) and add that file to the project",
        )
    reader = open_slide(entry.slide, entry.series, entry.view)
    size = (reader.width, reader.height)
    if entry.size is not None and entry.size != size:
        reader.close()
        raise SlideError(
            entry.slide,
            f"is {size[0]} x {size[1]} pixels, but the project recorded {entry.size[0]} x {entry.size[1]}: "
            "it is another slide, or another image of the file",
            "Name the folder of the right one with --slides DIR",
        )
    return reader
