"""What MkDocs needs beyond its configuration: pages from the top level, links, and formulas.

The pages are written for GitHub, where links may leave docs/ and LaTeX is rendered. Here README, CONTRIBUTING
and CHANGELOG become pages, links to other files lead to the repository, and formulas become MathML.
"""

from __future__ import annotations

import html
import posixpath
import re
from pathlib import Path
from typing import Any

from latex2mathml.converter import convert
from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page

ROOT = Path(__file__).resolve().parents[2]

# File at the top level -> page of the site.
PAGES = {"README.md": "index.md", "CONTRIBUTING.md": "contributing.md", "CHANGELOG.md": "changelog.md"}

_LINK = re.compile(r"(\]\()([^)\s]+)(\))")
_FORMULA = re.compile(r'<(span|div) class="arithmatex">\\[(\[](.*?)\\[)\]]</\1>', re.DOTALL)


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add the pages from the top level of the repository."""
    for source, page in PAGES.items():
        text = rewrite((ROOT / source).read_text(encoding="utf-8"), source, config.repo_url or "")
        files.append(File.generated(config, page, content=text))
    return files


def on_page_markdown(markdown: str, page: Page, config: MkDocsConfig, **_: Any) -> str:
    """Let the links of a page of docs/ lead to pages of the site, or into the repository."""
    if page.file.src_uri in PAGES.values():
        return markdown
    return rewrite(markdown, f"docs/{page.file.src_uri}", config.repo_url or "")


def on_page_content(content: str, **_: Any) -> str:
    """Formulas as MathML, which browsers render without a script."""

    def mathml(found: re.Match[str]) -> str:
        display = "block" if found[1] == "div" else "inline"
        return convert(html.unescape(found[2]).strip(), display=display)

    return _FORMULA.sub(mathml, content)


def rewrite(markdown: str, source: str, repository: str) -> str:
    """Rewrite the links of the repository's file ``source`` for the site."""

    def link(found: re.Match[str]) -> str:
        target, _, anchor = found[2].partition("#")
        if not target or ":" in target:
            return found[0]
        path = posixpath.normpath(posixpath.join(posixpath.dirname(source), target))
        if path in PAGES:
            new = PAGES[path]
        elif path.startswith("docs/"):
            new = path.removeprefix("docs/")
        else:
            new = f"{repository}/blob/main/{path}"
        return f"{found[1]}{new}{'#' + anchor if anchor else ''}{found[3]}"

    return _LINK.sub(link, markdown)
