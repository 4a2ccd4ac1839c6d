"""Makes a new QuPath project of images: its files, with the readers that QuPath chooses or usually takes."""

from __future__ import annotations

import json
import time
import uuid
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from ..core.environment import advice
from ..core.errors import ProjectError, SlideError
from ..core.files import replacing
from ..nuclei import NucleiChunks
from .formats.qpproj import PROJECT_FILE
from .project import ImageEntry, NewImage, Project, WriteOptions, WrittenDetections

Builder = dict[str, Any]
"""How QuPath opens an image, as ``project.qpproj`` records it."""

_OLDEST = "0.5.0"
"""The version that is recorded where there is no QuPath: the oldest one whose projects these are."""
_PICTURES = (".png", ".jpg", ".jpeg", ".bmp")
_OPENSLIDE = (".svs", ".ndpi", ".scn", ".mrxs", ".bif", ".vms", ".vmu", ".svslide")
_SERVERS = "qupath.lib.images.servers"
_CLASSES = {
    "Training": 0xFFC800,
    "Validation": 0x00A0FF,
    "Corrected": 0xFF8000,
    "Nucleus": 0x3CA03C,
    "Background": 0x808080,
    "Ignore*": 0xB4B4B4,
    "Region*": 0x0000B4,
    "Tumor": 0xC80000,
    "Stroma": 0x96C896,
    "Immune cells": 0xA05AA0,
    "Necrosis": 0x323232,
    "Other": 0xFFC800,
}
"""The classes of a new project, with their colours: those that this tool reads, and QuPath's own."""


def check_new(folder: Path) -> None:
    """Raises ProjectError unless a project can be made in ``folder``: it is missing or empty."""
    try:
        if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
            what = "is a QuPath project" if (folder / PROJECT_FILE).is_file() else "exists and is not empty"
            raise ProjectError(folder, what, "Choose another name for -o")
    except OSError as error:
        raise ProjectError(folder, f"cannot be read ({error.strerror})", advice(error)) from error


def write_project(
    folder: Path, images: Sequence[NewImage], builders: Sequence[Builder | None], version: str = ""
) -> None:
    """Write ``project.qpproj`` and what belongs to it; the images get the ids 1, 2, ...

    builders : of each image, from QuPath; None to record the reader that QuPath usually takes.
    version  : of that QuPath, "" without one.

    Raises ProjectError where ``check_new`` does, and where the disk fails.
    """
    check_new(folder)
    now = time.time_ns() // 1_000_000
    entries = []
    try:
        for number, (image, builder) in enumerate(zip(images, builders, strict=True), start=1):
            data = folder / "data" / str(number)
            data.mkdir(parents=True)
            if builder is None:
                builder = _usual_builder(image)
                # QuPath takes the levels of a pyramid from its reader if nothing is recorded of them.
                _write(data / "server.json", {"builder": builder, "metadata": _metadata(image)})
            entries.append(
                {
                    "serverBuilder": builder,
                    "entryID": number,
                    "randomizedName": str(uuid.uuid4()),
                    "imageName": image.name,
                    "metadata": {},
                }
            )
        classes = [{"name": name, "color": _packed(rgb)} for name, rgb in _CLASSES.items()]
        _write(folder / "classifiers" / "classes.json", {"pathClasses": classes})
        project = {
            "version": version or _OLDEST,
            "createTimestamp": now,
            "modifyTimestamp": now,
            "uri": (folder.resolve() / PROJECT_FILE).as_uri(),
            "lastID": len(images),
            "images": entries,
        }
        _write(folder / PROJECT_FILE, project)
    except OSError as error:
        raise ProjectError(folder, f"cannot be written ({error.strerror})", advice(error)) from error


def builders_of_qupath(images: Sequence[NewImage]) -> Iterator[Builder | SlideError | None]:
    """How QuPath opens each image: None without a reader, an error where it sees another size.

    Raises QuPathError where QuPath cannot be started.
    """
    from .java.builders import load_openslide, server_builder

    load_openslide()
    for image in images:
        try:
            yield server_builder(image)
        except SlideError as error:
            yield error


def write_first_nuclei(
    project: Project, entry: ImageEntry, nuclei: NucleiChunks, options: WriteOptions, image_type: str
) -> WrittenDetections:
    """Write nuclei into a new project; with QuPath, the type of the image too. Raises EntryDataError."""
    if project.backend == "qupath":
        from .java.backend import QuPathBackend

        if isinstance(project, QuPathBackend):
            return project.write_detections(entry, nuclei, options, image_type)
    return project.write_detections(entry, nuclei, options)


def _usual_builder(image: NewImage) -> Builder:
    kind = image.path.suffix.lower()
    builder: Builder = {"builderType": "uri", "uri": image.path.resolve().as_uri(), "args": []}
    if kind in _PICTURES:
        provider = "qupath.imagej.images.servers.ImageJServerBuilder"
        return {**builder, "providerClassName": provider, "metadata": _metadata(image)}
    if kind in _OPENSLIDE:
        return {**builder, "providerClassName": f"{_SERVERS}.openslide.OpenslideServerBuilder"}
    provider = f"{_SERVERS}.bioformats.BioFormatsServerBuilder"
    return {**builder, "providerClassName": provider, "args": ["--series", "0"]}


def _metadata(image: NewImage) -> dict[str, Any]:
    """What QuPath records of an RGB image of one level."""
    width, height = image.size
    colours = {"Red": 0xFF0000, "Green": 0x00FF00, "Blue": 0x0000FF}
    sides = [{"value": side, "unit": "µm"} for side in image.mpp or ()] or 2 * [{"value": 1, "unit": "px"}]
    return {
        "name": image.name,
        "width": width,
        "height": height,
        "sizeZ": 1,
        "sizeT": 1,
        "channelType": "DEFAULT",
        "isRGB": True,
        "pixelType": "UINT8",
        "levels": [{"downsample": 1.0, "width": width, "height": height}],
        "channels": [{"name": name, "color": _packed(rgb)} for name, rgb in colours.items()],
        "pixelCalibration": {
            "pixelWidth": sides[0],
            "pixelHeight": sides[1],
            "zSpacing": {"value": 1.0, "unit": "z-slice"},
            "timeUnit": "SECONDS",
            "timepoints": [],
        },
        "preferredTileWidth": min(width, 512),
        "preferredTileHeight": min(height, 512),
    }


def _packed(rgb: int) -> int:
    """A colour as QuPath's files hold it: opaque ARGB as a signed number of 32 bits."""
    return rgb - (1 << 24)


def _write(file: Path, content: Mapping[str, Any]) -> None:
    with replacing(file) as part:
        part.write_text(json.dumps(content, indent=2, ensure_ascii=False), encoding="utf-8")
