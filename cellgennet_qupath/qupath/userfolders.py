"""QuPath's user folders on this computer: the usual ones, and those that were chosen in its preferences."""

from __future__ import annotations

import html
import plistlib
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

_KEY = "userPath"
_ENTRY = re.compile(r'<entry key="userPath" value="([^"]*)"')


def user_folders() -> tuple[Path, ...]:
    """All that exist, each once: ``~/QuPath/v0.5`` and so on, and those in the preferences of QuPath."""
    usual = [path for path in sorted((Path.home() / "QuPath").glob("v*")) if path.is_dir()]
    chosen = [Path(text) for text in sorted(set(_preferences())) if text]
    return tuple(dict.fromkeys([*usual, *(path for path in chosen if path.is_dir())]))


def _preferences() -> Iterator[str]:
    """The folders in QuPath's preferences, where Java keeps them on this system."""
    if sys.platform == "win32":
        yield from _registry()
    elif sys.platform == "darwin":
        for file in (Path.home() / "Library" / "Preferences").glob("*.plist"):
            if file.name.startswith(("com.apple.java.util.prefs", "io.github.qupath")):
                yield from in_plist(file)
    else:
        for file in (Path.home() / ".java" / ".userPrefs").rglob("prefs.xml"):
            yield from in_xml(file)


def in_xml(file: Path) -> list[str]:
    """The user folders in a file of Java's preferences on Linux; none if it cannot be read."""
    try:
        text = file.read_text(encoding="utf-8")
    except (OSError, ValueError):
        return []
    return [html.unescape(found) for found in _ENTRY.findall(text)]


def in_plist(file: Path) -> list[str]:
    """The same on macOS."""
    try:
        content = plistlib.loads(file.read_bytes())
    except (OSError, ValueError, plistlib.InvalidFileException):
        return []
    return list(_below(content))


def _below(content: Any) -> Iterator[str]:
    if isinstance(content, dict):
        for key, value in content.items():
            if key == _KEY and isinstance(value, str):
                yield value
            yield from _below(value)


def from_registry(text: str) -> str:
    """A name or value as Java writes it to the registry of Windows, decoded."""

    def decoded(match: re.Match[str]) -> str:
        code = match[0]
        if code == "\\":
            return "/"
        if code == "//":
            return "\\"
        return chr(int(code[2:], 16)) if len(code) > 2 else code[1]

    return re.sub(r"/u[0-9a-fA-F]{4}|//|/.|\\", decoded, text)


def _registry() -> Iterator[str]:
    if sys.platform != "win32":
        return
    import winreg

    top = r"Software\JavaSoft\Prefs\io.github.qupath"
    try:
        with winreg.OpenKey(winreg.HKEY_CURRENT_USER, top) as versions:
            names = [winreg.EnumKey(versions, n) for n in range(winreg.QueryInfoKey(versions)[0])]
    except OSError:  # QuPath was never started
        return
    for name in names:
        with winreg.OpenKey(winreg.HKEY_CURRENT_USER, rf"{top}\{name}") as key:
            values = [winreg.EnumValue(key, n)[:2] for n in range(winreg.QueryInfoKey(key)[1])]
        yield from (from_registry(str(value)) for one, value in values if from_registry(one) == _KEY)
