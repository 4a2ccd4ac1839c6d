"""The docstrings of this package as Markdown: parameter lists become lists, examples become code blocks."""

from __future__ import annotations

import re
from typing import Any

import griffe

_ITEM = re.compile(r"^([A-Za-z_][\w, ]*?)\s+: (.*)$")


class Docstrings(griffe.Extension):
    """Rewrite each docstring before it is rendered."""

    def on_object(self, *, obj: griffe.Object, **_: Any) -> None:
        if obj.docstring is not None:
            obj.docstring.value = markdown(obj.docstring.value)


def markdown(docstring: str) -> str:
    """A docstring of this package as Markdown."""
    return "\n\n".join(_paragraph(paragraph) for paragraph in re.split(r"\n{2,}", docstring.strip()))


def _paragraph(paragraph: str) -> str:
    lines = paragraph.splitlines()
    if lines[0].startswith(">>> "):
        return "\n".join(["```pycon", *lines, "```"])
    if not _ITEM.match(lines[0]):
        return paragraph
    items: list[str] = []
    for line in lines:
        item = _ITEM.match(line)
        if item and not line.startswith(" "):
            names = ", ".join(f"`{name.strip()}`" for name in item[1].split(","))
            items.append(f"- {names}: {item[2]}")
        else:
            items[-1] += f" {line.strip()}"
    return "\n".join(items)
