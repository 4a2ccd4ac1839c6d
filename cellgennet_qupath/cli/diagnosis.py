"""What this computer has for the main job, as plain data: the document of ``doctor --json``."""

from __future__ import annotations

import os
import platform
import sys
from importlib import metadata, util
from typing import Any

from .. import __version__
from ..core.errors import CellGenNetError
from ..core.resources import sample_projects
from ..qupath.java.installation import find_qupath

_NEEDED = (
    "torch",
    "openvino",
    "tensorflow",
    "stardist",
    "paquo",
    "shapely",
    "tiffslide",
    "numpy",
    "scikit-image",
    "distributed",
)
_MODULES = {"scikit-image": "skimage"}


def diagnose() -> dict[str, Any]:
    """Checks in reading order: {ready, checks: [{what, status, found, remedy}]}.

    status is "ok", "note" (works, but worth knowing) or "missing" (the main job cannot run). Nothing is
    started for it: neither Java nor QuPath.
    """
    checks = [_python(), *(_package(name) for name in _NEEDED), _qupath(), *_compute(), _sample()]
    ready = all(check["status"] != "missing" for check in checks)
    return {"ready": ready, "version": __version__, "checks": checks}


def _check(what: str, status: str, found: object, remedy: str = "") -> dict[str, str]:
    return {"what": what, "status": status, "found": str(found), "remedy": remedy}


def _python() -> dict[str, str]:
    version = platform.python_version()
    found = f"{version} on {platform.system()} {platform.machine()} ({sys.executable})"
    if not (3, 11) <= sys.version_info[:2] <= (3, 13):
        return _check("Python", "missing", found, "Install Python 3.11, 3.12 or 3.13")
    return _check("Python", "ok", found)


def _package(name: str) -> dict[str, str]:
    module = _MODULES.get(name, name)
    if util.find_spec(module) is None:
        return _check(name, "missing", "not installed", f"pip install {name}")
    try:
        return _check(name, "ok", metadata.version(name))
    except metadata.PackageNotFoundError:
        # Some libraries come under several names: tensorflow is also tensorflow-cpu.
        names = sorted(set(metadata.packages_distributions().get(module, [])))
        return _check(name, "ok", ", ".join(f"{metadata.version(n)} ({n})" for n in names) or "installed")


def _qupath() -> dict[str, str]:
    found = find_qupath()
    if found is None:
        return _check(
            "QuPath",
            "note",
            "not found; projects are read and written by their files alone (--backend files)",
            "To write into projects directly, install QuPath (qupath.github.io); if it is then not found, "
            "set PAQUO_QUPATH_DIR to its folder",
        )
    java = "with its own Java" if found.java else "without a Java of its own"
    return _check("QuPath", "ok", f"{found.version or 'version unknown'} in {found.folder}, {java}")


def _compute() -> list[dict[str, str]]:
    processor = platform.processor() or platform.machine()
    checks = [_check("processor", "ok", f"{os.cpu_count()} threads, {processor}")]
    if util.find_spec("torch") is None:
        return checks
    from ..networks.device import describe_device

    checks.append(_check("device", "ok", describe_device()))
    return checks


def _sample() -> dict[str, str]:
    try:
        return _check("sample project", "ok", sample_projects())
    except CellGenNetError as error:
        return _check("sample project", "note", error, "`cellgennet demo` needs it")
