"""Reads ``project.qpproj`` and ``server.json``: the images of a project and what is recorded about them."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from pathlib import Path
from typing import Any

from ...core.errors import ProjectError
from ...slides.source import Frame
from ...slides.view import AS_STORED, FLIPS, QUARTER_TURNS, View, reordered
from ..project import ImageEntry
from . import bounded

PROJECT_FILE = "project.qpproj"
DATA_FILE = "data.qpdata"

_SAFE_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]*")
_WHOLE = re.compile(r"[0-9]{1,9}")
_LARGEST_MPP = 1e9
_MICROMETRES = {"µm", "μm", "um", "micrometer", "micrometre", "micron", "microns"}
_SAME_PIXELS = {"uri", "pyramidize"}
"""Server builders that return a file's pixels unchanged."""

_CHANGES = {
    "cropped": "cropped",
    "affine": "with an affine transform",
    "channels": "with channels of several files",
    "color": "with computed channels",
    "color_deconvolved": "with its stains separated",
    "sparse": "as a mosaic of several files",
    "normalized": "with normalised colours",
    "typeConvert": "with another pixel type",
    "sliced": "with some of its slices only",
    "z_projected": "as a projection of its slices",
    "z_concatenated": "as a stack of several files",
}
"""Server builders that compute other pixels, and how, as the end of "shown ..."."""


@dataclass(frozen=True)
class RecordedImage:
    """An image as recorded in the project.

    entry     : all that is known before the slide is located (``slide`` is None).
    file_size : (width, height) of the file itself, before any rotation or crop; None if not recorded.
    """

    entry: ImageEntry
    file_size: tuple[int, int] | None


@dataclass(frozen=True)
class RecordedProject:
    """A project as recorded. ``folder`` is where it is, ``uri`` where it was when saved ("" if unknown)."""

    folder: Path
    uri: str
    version: str
    images: tuple[RecordedImage, ...]


def project_folder(path: Path) -> Path:
    """The folder of a project, given the folder or its ``project.qpproj``. Raises ProjectError."""
    if path.is_dir():
        folder = path
    elif path.is_file() and path.suffix == ".qpproj":
        folder = path.parent
        if path.name != PROJECT_FILE:
            raise ProjectError(path, f"is not named {PROJECT_FILE}", f"Rename it to {PROJECT_FILE}")
    elif path.is_file():
        raise ProjectError(path, "is not a QuPath project", f"Name a project's folder or its {PROJECT_FILE}")
    else:
        raise ProjectError(path, "does not exist", "Give the folder of a QuPath project")
    if not (folder / PROJECT_FILE).is_file():
        raise ProjectError(
            folder, f"holds no {PROJECT_FILE}", "Give the folder that QuPath made for the project"
        )
    return folder.resolve()


def read_project(path: Path) -> RecordedProject:
    """Read a project, given its folder or its ``project.qpproj``. Raises ProjectError."""
    folder = project_folder(path)
    file = folder / PROJECT_FILE
    try:
        content = json.loads(file.read_text(encoding="utf-8-sig"))
    except OSError as error:
        raise ProjectError(file, f"cannot be read ({error.strerror})") from error
    except (ValueError, RecursionError) as error:
        raise ProjectError(
            file, "is not valid JSON", "Put back QuPath's own copy, project.qpproj.backup, or another backup"
        ) from error
    images = content.get("images") if isinstance(content, dict) else None
    if not isinstance(images, list):
        raise ProjectError(file, "is not a QuPath project", "Open and save it in QuPath 0.2 or newer")
    recorded: list[RecordedImage] = []
    faults: list[ProjectError] = []
    for number, image in enumerate(images, start=1):
        try:
            recorded.append(_image(folder, image))
        except ProjectError as error:
            faults.append(error)
            recorded.append(_unusable(image, number, error))
    if faults and len(faults) == len(images):
        raise faults[0]
    seen: set[str] = set()
    for one in recorded:
        if one.entry.id in seen:
            raise ProjectError(file, f"records two images of the id {one.entry.id}")
        seen.add(one.entry.id)
    return RecordedProject(
        folder=folder,
        uri=_text(content.get("uri")),
        version=_text(content.get("version")),
        images=tuple(recorded),
    )


def _image(folder: Path, image: Any) -> RecordedImage:
    file = folder / PROJECT_FILE
    if not isinstance(image, dict):
        raise ProjectError(file, "records an image in an unknown way", "Open and save it in a newer QuPath")
    if "entryID" not in image:
        raise ProjectError(
            file, "was written by a QuPath older than 0.2", "Open and save it in a newer QuPath"
        )
    if not isinstance(image["entryID"], str | int):
        raise ProjectError(file, "records an image of an impossible id")
    identifier = str(image["entryID"])
    if not _SAFE_ID.fullmatch(identifier):  # it becomes part of paths
        raise ProjectError(file, f"records an image of the impossible id {identifier!r}")
    data = folder / "data" / identifier
    builder = _mapping(image.get("serverBuilder"))
    server = _mapping(read_json(data / "server.json"))
    if not builder:
        builder = _mapping(server.get("builder"))
    layers = [builder]
    while _mapping(layers[-1].get("builder")) and len(layers) < 100:
        layers.append(_mapping(layers[-1]["builder"]))
    innermost = layers[-1]
    recorded = next((n for n, layer in enumerate(layers) if _mapping(layer.get("metadata"))), 0)
    metadata = _mapping(layers[recorded].get("metadata")) or _mapping(server.get("metadata"))
    # A layer without metadata has those of the one below it, turned.
    turned = _view(layers[:recorded]).transposed
    size, mpp = _size(metadata), _mpp(metadata)
    altered = " and ".join(filter(None, (_alteration(layer) for layer in layers)))
    arguments = innermost.get("args")
    uri = _text(innermost.get("uri")) or _text(innermost.get("path"))
    entry = ImageEntry(
        id=identifier,
        name=_text(image.get("imageName")) or _text(metadata.get("name")) or f"image {identifier}",
        uri=uri,
        slide=None,
        size=size[::-1] if turned and size else size,
        mpp=mpp[::-1] if turned and mpp else mpp,
        series=_series(innermost.get("args")),
        size_z=_whole(metadata.get("sizeZ")) or 1,
        size_t=_whole(metadata.get("sizeT")) or 1,
        opened=any((data / name).is_file() for name in (DATA_FILE, DATA_FILE + ".bkp")),
        view=replace(_view(layers), frame=_frame(innermost)),
        altered=altered,
        icc=isinstance(arguments, list) and "--icc-profile" in arguments,
        pixel_type=_text(metadata.get("pixelType")) or "UINT8",
        channels=len(metadata["channels"]) if isinstance(metadata.get("channels"), list) else 3,
        metadata=tuple((name, _text(text)) for name, text in _mapping(image.get("metadata")).items()),
    )
    file_size = _size(_mapping(innermost.get("metadata")))
    if file_size is None and not altered and entry.size is not None:
        file_size = entry.size[::-1] if entry.view.transposed else entry.size
    return RecordedImage(entry, file_size)


def _unusable(image: Any, number: int, error: ProjectError) -> RecordedImage:
    """An image whose record is malformed: it has a name to report it by, and no pixels and no objects."""
    name = _text(_mapping(image).get("imageName")) or f"image {number} of {PROJECT_FILE}"
    entry = ImageEntry(
        id=f"malformed-{number}",
        name=name,
        uri="",
        slide=None,
        size=None,
        mpp=None,
        opened=False,
        fault=error.reason,
    )
    return RecordedImage(entry, None)


def at(image: RecordedImage, slide: Path | None, missing: str = "") -> ImageEntry:
    """The entry of a recorded image whose slide was found, or ``missing`` for a reason."""
    return replace(image.entry, slide=slide, missing=missing)


def class_colors(folder: Path) -> dict[str, tuple[int, int, int]]:
    """The colours of a project's classes, by the class's full name; {} if none are set."""
    content = _mapping(read_json(folder / "classifiers" / "classes.json"))
    colors = {}
    listed = content.get("pathClasses")
    for path_class in listed if isinstance(listed, list) else ():
        name, color = _text(_mapping(path_class).get("name")), _mapping(path_class).get("color")
        if name and isinstance(color, int):
            colors[name] = ((color >> 16) & 255, (color >> 8) & 255, color & 255)
    return colors


def read_json(path: Path) -> Any:
    """An auxiliary file of QuPath's; None if it is missing or damaged, which does no harm."""
    try:
        return bounded.read_json(path)
    except (OSError, ValueError):
        return None


def _exact_view(builder: Mapping[str, Any]) -> View | None:
    """What a server builder does to the pixels below it; None if that is not a view."""
    match builder.get("builderType", "uri"):
        case "rotated":
            return QUARTER_TURNS.get(str(builder.get("rotation", "ROTATE_NONE")))
        case "flipped":
            return FLIPS.get(str(builder.get("flip", "NONE")))
        case "swapRedBlue":
            return reordered(str(builder.get("order", "RGB")))
        case kind:
            return AS_STORED if kind in _SAME_PIXELS else None


def _view(layers: Sequence[Mapping[str, Any]]) -> View:
    """What layers of server builders, the outermost first, do to the pixels below them."""
    view = AS_STORED
    for layer in reversed(layers):
        view = view.then(_exact_view(layer) or AS_STORED)
    return view


def _alteration(builder: Mapping[str, Any]) -> str:
    """How a server builder changes pixels otherwise; "" if it does not."""
    if _exact_view(builder) is not None:
        return ""
    kind = _text(builder.get("builderType"))
    return _CHANGES.get(kind, f'changed in an unknown way ("{kind}")')


def _mapping(value: object) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}


def _text(value: object) -> str:
    """A text without lone surrogates, which no file and no terminal can hold; "" for anything else."""
    return (
        value.encode("utf-16", "surrogatepass").decode("utf-16", "replace") if isinstance(value, str) else ""
    )


def _whole(value: object) -> int:
    if isinstance(value, bool) or not isinstance(value, int | float):
        return 0
    return int(value) if 0 < value < 2**31 else 0


def _size(metadata: Mapping[str, Any]) -> tuple[int, int] | None:
    width, height = _whole(metadata.get("width")), _whole(metadata.get("height"))
    return (width, height) if width and height else None


def _mpp(metadata: Mapping[str, Any]) -> tuple[float, float] | None:
    calibration = _mapping(metadata.get("pixelCalibration"))
    sizes = []
    for side in ("pixelWidth", "pixelHeight"):
        length = _mapping(calibration.get(side))
        value = length.get("value")
        if length.get("unit") not in _MICROMETRES or not isinstance(value, int | float):
            return None
        if not 0 < value < _LARGEST_MPP:
            return None
        sizes.append(float(value))
    return sizes[0], sizes[1]


def _series(args: object) -> int:
    if isinstance(args, list):
        for flag, value in pairwise(args):
            if flag == "--series" and _WHOLE.fullmatch(str(value)):
                return int(str(value))
        for flag in args:
            if str(flag).startswith("--series=") and _WHOLE.fullmatch(str(flag)[9:]):
                return int(str(flag)[9:])
    return 0


def _frame(builder: Mapping[str, Any]) -> Frame:
    """Where the coordinates of a recorded slide begin: QuPath crops what OpenSlide gives bounds for."""
    if "bioformats" in _text(builder.get("providerClassName")).lower():
        return "image"
    args = builder.get("args")
    return "canvas" if isinstance(args, list) and "--no-crop" in args else "bounds"
