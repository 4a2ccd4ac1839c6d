"""What all pages have in common: earlier ones are kept, and commands in sentences are set as code."""

from __future__ import annotations

import os
import re
from pathlib import Path

from cellgennet_qupath.report.pages import keep_earlier, write_page


def _suggestions(file: Path, earlier: list[str]) -> str:
    values = {"project": "p", "path": "/p", "cards": [], "images": [], "notes": [], "earlier": earlier}
    warnings = ["Run `cellgennet inspect <b>`, not `that`."]

    class Bundle:
        fingerprint = "f"

        class card:
            name, created = "m", "now"

    write_page(file, "suggest.html.j2", {**values, "bundle": Bundle, "warnings": warnings})
    return file.read_text(encoding="utf-8")


def test_pages_of_earlier_runs_are_kept(tmp_path: Path) -> None:
    file = tmp_path / "report" / "suggest.html"
    assert keep_earlier(file) == []
    first = _suggestions(file, [])
    assert "earlier runs" not in first
    os.utime(file, (1_790_000_000.25, 1_790_000_000.25))
    [name] = keep_earlier(file)
    assert name == "suggest-20260921-141320-250000.html"
    assert not file.exists()
    second = _suggestions(file, [name])
    assert f'href="{name}"' in second and "2026-09-21 14:13 UTC" in second
    os.utime(file, (1_790_000_001, 1_790_000_001))
    names = keep_earlier(file)
    assert names == ["suggest-20260921-141321-000000.html", name], "the latest first"
    assert (file.parent / names[1]).read_text(encoding="utf-8") == first
    (file.parent / "suggest-notes.html").write_text("", encoding="utf-8")
    assert keep_earlier(file) == names, "only pages of runs are listed"


def test_commands_in_sentences_are_code_and_escaped(tmp_path: Path) -> None:
    text = _suggestions(tmp_path / "suggest.html", [])
    [item] = re.findall(r"<li>(Run .*?)</li>", text)
    assert item == "Run <code>cellgennet inspect &lt;b&gt;</code>, not <code>that</code>."
