"""Opens a QuPath project with the backend that the user chose, or the best available."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from ..core.errors import QuPathError
from ..core.extras import require
from ..core.progress import SILENT, Reporter
from .files import FilesBackend
from .formats.qpproj import PROJECT_FILE
from .image_list import is_loose
from .java.installation import Installation, find_qupath
from .locate import SizeOf
from .loose import LooseImages
from .project import Project

Backend = Literal["auto", "qupath", "files"]


def is_project_path(path: Path) -> bool:
    """Whether a path given by a user is a project rather than a folder of images: its folder, or a file.

    A folder of results of images without a project counts as one: it has the same interface.
    """
    return path.is_file() or (path / PROJECT_FILE).is_file() or is_loose(path)


def open_project(
    path: Path,
    backend: Backend = "auto",
    slides: Path | None = None,
    size_of: SizeOf | None = None,
    writable: bool = False,
    reporter: Reporter = SILENT,
    older_qupath: bool = False,
) -> Project:
    """Open a project, given its folder or its ``project.qpproj``; or a folder of results without a project.

    backend  : "auto" uses QuPath if paquo finds it, else the project's files.
    slides   : a folder to search for slides that are not at their recorded paths.
    size_of  : (width, height) of a slide file, to choose between slides of the same name.
    writable : take the project's lock, so that ``write_detections`` may be called.
    older_qupath : write also with a QuPath older than the one that wrote the project.

    Close it, or use it in a ``with`` block. Raises ProjectError, LockedError, and for
    ``backend="qupath"`` MissingExtraError without paquo and QuPathError without QuPath, or with an older one.
    """
    if is_loose(path):
        return LooseImages(path, writable, reporter)
    if installation_for(backend) is None:
        return FilesBackend(path, slides, size_of, writable, reporter)
    from .java.backend import QuPathBackend

    return QuPathBackend(path, slides, size_of, writable, reporter, older_qupath)


def installation_for(backend: Backend) -> Installation | None:
    """The QuPath that a backend uses; None for the project's files. Raises as ``open_project``."""
    if backend == "qupath":
        require("qupath", "--backend qupath")
    installation = None if backend == "files" else find_qupath()
    if backend == "qupath" and installation is None:
        raise QuPathError(
            "QuPath", "was not found", "Set PAQUO_QUPATH_DIR to its folder, or use --backend files"
        )
    return installation
