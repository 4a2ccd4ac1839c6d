"""What this computer offers to each command, as plain data: the document of ``doctor --json``."""

from __future__ import annotations

import os
import platform
import sys
from importlib import metadata, util
from typing import Any

from .. import __version__
from ..bundle import pretrained_bundle
from ..core.errors import CellGenNetError
from ..core.extras import EXTRAS, install_line, missing
from ..core.resources import sample_projects
from ..qupath.java.installation import find_qupath

# Import name -> the name under which a package is installed, of what every command needs.
_NEEDED = {
    "torch": "torch",
    "openvino": "openvino",
    "tiffslide": "tiffslide",
    "cv2": "opencv-python-headless",
    "skimage": "scikit-image",
    "scipy": "scipy",
    "shapely": "shapely",
    "numpy": "numpy",
    "pandas": "pandas",
    "pyarrow": "pyarrow",
}

# What each extra enables, as users call it.
_ENABLED_BY = {
    "train": "train --init none, teachers",
    "qupath": "--backend qupath",
    "cluster": "segment --dask",
    "h5ad": "export to .h5ad and .zarr",
    "dicom": "slides in DICOM",
    "openslide": "slides in MRXS, BIF, CZI, VMS",
    "bioimageio": "models export",
}
_INSTALL_QUPATH = (
    "Install QuPath from qupath.github.io; if it is not found then, set PAQUO_QUPATH_DIR to its folder"
)
_ALWAYS = "inspect, segment, export, evaluate, suggest, train, demo"


def diagnose() -> dict[str, Any]:
    """Run all checks, in reading order: {ready, version, checks, commands}.

    checks   : [{what, status, found, remedy}]; status is "ok", "note" (works, but worth knowing) or
               "missing" (segmenting, exporting and evaluating cannot run).
    commands : [{commands, extra, ready, missing, remedy}]; extra is "" for what every installation can do,
               missing lists packages, and remedy is the one command that installs them.

    Starts neither Java nor QuPath.
    """
    checks = [_python(), *(_package(*names) for names in _NEEDED.items()), _qupath(), *_compute(), _sample()]
    commands = _commands()
    ready = all(check["status"] != "missing" for check in checks)
    return {"ready": ready, "version": __version__, "checks": checks, "commands": commands}


def report() -> str:
    """Versions, extras and devices as Markdown, for a bug report; it holds no path and no user's name."""
    found = find_qupath()
    extras = [f"{extra} ({'incomplete' if missing(extra) else 'installed'})" for extra in EXTRAS]
    modules = [*_NEEDED, *(module for extra in EXTRAS.values() for module in extra)]
    packages = [f"{_NEEDED.get(module, module)} {_version(module)}" for module in modules]
    system = f"{platform.system()} {platform.release()} ({platform.machine()})"
    devices = [f"{os.cpu_count()} CPU threads", *(check["found"] for check in _compute()[1:])]
    lines = [
        f"cellgennet_qupath: {__version__}",
        f"Python: {platform.python_version()} ({platform.python_implementation()}) on {system}",
        f"QuPath: {'not found' if found is None else found.version or 'version unknown'}",
        f"Devices: {'; '.join(devices)}",
        f"Pretrained model: {_pretrained()}",
        f"Extras: {', '.join(extras)}",
        f"Packages: {', '.join(packages)}",
    ]
    return "\n".join(f"- {line}" for line in lines)


def _check(what: str, status: str, found: object, remedy: str = "") -> dict[str, str]:
    return {"what": what, "status": status, "found": str(found), "remedy": remedy}


def _commands() -> list[dict[str, Any]]:
    absent = [name for module, name in _NEEDED.items() if util.find_spec(module) is None]
    rows = [_row(_ALWAYS, "", absent, "pip install cellgennet-qupath")]
    for extra in EXTRAS:
        absent, remedy = list(missing(extra)), install_line(extra)
        if extra == "qupath" and not absent and find_qupath() is None:
            absent, remedy = ["QuPath"], _INSTALL_QUPATH
        rows.append(_row(_ENABLED_BY[extra], extra, absent, remedy))
    return rows


def _row(commands: str, extra: str, absent: list[str], remedy: str) -> dict[str, Any]:
    return {
        "commands": commands,
        "extra": extra,
        "ready": not absent,
        "missing": absent,
        "remedy": remedy if absent else "",
    }


def _python() -> dict[str, str]:
    version = platform.python_version()
    found = f"{version} on {platform.system()} {platform.machine()} ({sys.executable})"
    if not (3, 11) <= sys.version_info[:2] <= (3, 13):
        return _check("Python", "missing", found, "Install Python 3.11, 3.12 or 3.13")
    return _check("Python", "ok", found)


def _package(module: str, name: str) -> dict[str, str]:
    if util.find_spec(module) is None:
        return _check(name, "missing", "not installed", f"pip install {name}")
    return _check(name, "ok", _version(module))


def _version(module: str) -> str:
    """The installed version of the package that a module comes from; "not installed" without one."""
    if util.find_spec(module) is None:
        return "not installed"
    try:
        return metadata.version(_NEEDED.get(module, module))
    except metadata.PackageNotFoundError:
        # Some modules come from packages of several names: tensorflow also from tensorflow-cpu.
        names = sorted(set(metadata.packages_distributions().get(module, [])))
        return ", ".join(f"{metadata.version(name)} ({name})" for name in names) or "installed"


def _qupath() -> dict[str, str]:
    found = find_qupath()
    if found is None:
        return _check(
            "QuPath",
            "note",
            "not found; projects are read and written by their files alone (--backend files)",
            "Only needed to write into projects directly",
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


def _pretrained() -> str:
    try:
        return pretrained_bundle().stem
    except CellGenNetError:
        return "none"


def _sample() -> dict[str, str]:
    try:
        return _check("sample project", "ok", sample_projects())
    except CellGenNetError as error:
        return _check("sample project", "note", error, "`cellgennet demo` needs it")
