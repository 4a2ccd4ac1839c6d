"""Which images of a project a user means by names, patterns and ids."""

from __future__ import annotations

import fnmatch
from collections.abc import Callable, Sequence
from pathlib import Path

from ..core.errors import UsageError
from ..core.wording import composed
from .project import ImageEntry


def chosen(
    entries: Sequence[ImageEntry], names: Sequence[str], ids: Sequence[str], project: Path
) -> list[ImageEntry]:
    """The images meant by ``--image`` and ``--image-id``, in the project's order; all without either.

    names : each is the name of an image, or else of a slide's file, or else a pattern (``*``, ``?``,
            ``[...]``) of names and file names. The first of these that fits holds alone.
    ids   : ids of images in the project.

    Raises UsageError where there are no images, where something fits none of them, and for a name that
    several images have.
    """
    if not entries:
        raise UsageError(project, "contains no images", "Add slides to the project in QuPath")
    if not names and not ids:
        return list(entries)
    meant: set[str] = set()
    for name in names:
        fitting = _meant_by(name, entries)
        meant |= fitting
    for identifier in ids:
        if all(entry.id != identifier for entry in entries):
            listed = ", ".join(f"{entry.id} ({entry.name})" for entry in entries)
            raise UsageError(f"--image-id {identifier}", "no image has this id", f"The ids are: {listed}")
        meant.add(identifier)
    return [entry for entry in entries if entry.id in meant]


def _meant_by(name: str, entries: Sequence[ImageEntry]) -> set[str]:
    """The ids of the images that a name or pattern means."""
    wanted = composed(name)
    named = [entry for entry in entries if composed(entry.name) == wanted]
    if len(named) > 1:
        listed = ", ".join(f"--image-id {entry.id} ({entry.uri})" for entry in named)
        raise UsageError(f"--image {name}", f"{len(named)} images have this name", f"Choose: {listed}")
    rules: list[Callable[[ImageEntry], bool]] = [
        lambda entry: composed(entry.name) == wanted,
        lambda entry: entry.slide is not None and composed(entry.slide.name) == wanted,
        lambda entry: any(
            fnmatch.fnmatchcase(composed(one), wanted)
            for one in (entry.name, entry.slide.name if entry.slide else "")
        ),
    ]
    for rule in rules:
        fitting = {entry.id for entry in entries if rule(entry)}
        if fitting:
            return fitting
    listed = ", ".join(entry.name for entry in entries)
    remedy = f"Its images are: {listed}"
    if any(entry.id == name for entry in entries):
        remedy = f"For the image of this id, use --image-id {name}"
    raise UsageError(f"--image {name}", "no image of the project has this name", remedy)
