"""Draws docs/img/architecture.svg from the table of rooms in docs/architecture.md.

python docs/site/architecture.py
"""

from __future__ import annotations

import re
from html import escape
from pathlib import Path

DOCS = Path(__file__).resolve().parents[1]
PAGE, PICTURE = DOCS / "architecture.md", DOCS / "img" / "architecture.svg"

WIDTH, LEFT, GAP, HEIGHT = 980, 120, 12, 78
COLOURS = ("#dbe7ff", "#ffe9cf", "#dff3df", "#f1e2f7", "#e8e8e8")

Room = tuple[str, str, str]
"""Floor, name, a few words."""


def rooms(markdown: str) -> list[Room]:
    """The rows of the table of rooms, from the top floor down."""
    found = re.findall(r"^\| (\w+) \| `(\w+)` \| ([^|]+?) \| [^|]+ \|$", markdown, re.MULTILINE)
    return [(floor, name, short) for floor, name, short in found]


def svg(rows: list[Room]) -> str:
    """The picture: a row of boxes for each floor."""
    floors = list(dict.fromkeys(floor for floor, _, _ in rows))
    height = len(floors) * HEIGHT + 16
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" role="img" '
        'font-family="Helvetica, Arial, sans-serif" text-anchor="middle">',
        "<title>Rooms of cellgennet_qupath; each imports only what lies below it</title>",
        f'<rect width="{WIDTH}" height="{height}" fill="#ffffff"/>',
    ]
    for number, floor in enumerate(floors):
        y = 12 + number * HEIGHT
        middle = y + (HEIGHT - GAP) / 2
        parts.append(f'<text x="{LEFT / 2:g}" y="{middle + 5:g}" font-size="15" fill="#444">{floor}</text>')
        inside = [(name, short) for where, name, short in rows if where == floor]
        width = (WIDTH - LEFT - GAP) / len(inside) - GAP
        for place, (name, short) in enumerate(inside):
            x = LEFT + place * (width + GAP)
            parts += [
                f'<rect x="{x:g}" y="{y}" width="{width:g}" height="{HEIGHT - GAP}" rx="6" '
                f'fill="{COLOURS[number % len(COLOURS)]}" stroke="#888"/>',
                f'<text x="{x + width / 2:g}" y="{middle - 4:g}" font-size="17" fill="#111">{name}</text>',
                f'<text x="{x + width / 2:g}" y="{middle + 17:g}" font-size="13" fill="#333">'
                f"{escape(short)}</text>",
            ]
    return "\n".join([*parts, "</svg>", ""])


if __name__ == "__main__":
    PICTURE.write_text(svg(rooms(PAGE.read_text(encoding="utf-8"))), encoding="utf-8")
