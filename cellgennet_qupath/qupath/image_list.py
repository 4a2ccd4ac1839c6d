"""The list of images in a folder of results without a project: who they are, and where their nuclei are kept.

``<folder>/cellgennet/images.json``. An image keeps the id and the names that it got first, so that results of
earlier runs stay its own.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from ..core.environment import advice
from ..core.errors import ProjectError
from ..core.files import replacing
from ..slides.pixel_size import resolve_mpp
from .formats import bounded
from .formats.detections import read_head
from .formats.qpproj import PROJECT_FILE
from .locate import path_of_uri
from .project import WORK_FOLDER, ImageEntry
from .search import FoundImage

LIST = "images.json"
TABLE, PAGE = "nuclei.csv", "segment.html"
"""In a folder of results: the table of all nuclei, and the page about the last run."""
ENDING = ".geojson"
_FORMAT = 1
_Number = TypeVar("_Number", int, float)


@dataclass(frozen=True)
class Listed:
    """An image of the folder: what a project records of it, and the name of the file of its nuclei."""

    entry: ImageEntry
    result: str


def is_loose(folder: Path) -> bool:
    """Whether a folder holds results of images without a project."""
    return (folder / WORK_FOLDER / LIST).is_file() and not (folder / PROJECT_FILE).is_file()


def own_files(folder: Path) -> list[Path]:
    """What this tool wrote into a folder of results, besides its work folder. Raises ProjectError."""
    if not is_loose(folder):
        return []
    results = [folder / one.result for one in read_list(folder)[1]]
    return [*results, folder / TABLE, *folder.glob(f"{Path(PAGE).stem}*.html")]


def list_image(
    folder: Path, image: FoundImage, uri: str, known: Mapping[str, Listed], mpp: float | None
) -> Listed:
    """An image as it is listed in a folder of results beside those that are known, by uri.

    mpp : µm per pixel of images without a plausible pixel size. Raises CalibrationError.
    """
    earlier = known.get(uri)
    others = [listed for key, listed in known.items() if key != uri]
    calibration = resolve_mpp(None, image.mpp, mpp, image.path.name)
    sides = calibration.mpp_x, calibration.mpp_y
    entry = ImageEntry(
        id=earlier.entry.id if earlier else str(1 + max((int(o.entry.id) for o in others), default=0)),
        name=earlier.entry.name
        if earlier
        else name_of(image.path, {o.entry.name.casefold() for o in others}),
        uri=uri,
        slide=image.path.resolve(),
        size=image.size,
        mpp=None if sides[0] is None or sides[1] is None else (sides[0], sides[1]),
        opened=False,
    )
    if earlier:
        return Listed(entry, earlier.result)
    # A file that is there may be the user's own: annotations that were exported beside the image.
    taken = {other.result.casefold() for other in others} | {file.name.casefold() for file in _theirs(folder)}
    return Listed(entry, _result(image.path, taken, entry.name))


def _theirs(folder: Path) -> list[Path]:
    """The GeoJSON files in a folder that this tool did not write."""
    return [file for file in folder.glob(f"*{ENDING}") if read_head(file) is None]


def name_of(path: Path, taken: Collection[str]) -> str:
    """The name of an image in tables: of its file, with that of its folder where another one has it."""
    names = [path.name, f"{path.resolve().parent.name}/{path.name}"]
    return _first_free([*names, *(f"{names[1]} ({n})" for n in range(2, len(taken) + 3))], taken)


def _result(path: Path, taken: Collection[str], name: str) -> str:
    """The name of the file of an image's nuclei, unlike those of all others in any case of letters.

    Only where the image is listed under its file's ``name`` is that the name of its nuclei as well.
    """
    stem = path.name if path.is_dir() else path.stem
    stem = re.sub(r"\.(ome|zarr)$", "", re.sub(r"\.(ome|zarr)$", "", stem, flags=re.I), flags=re.I)
    full = f"{path.resolve().parent.name}_{path.name}"
    bases = [stem, path.name, full] if name == path.name else [stem, full]
    bases += [f"{full}-{number}" for number in range(2, len(taken) + 3)]
    return _first_free([f"{base}{ENDING}" for base in bases], taken)


def _first_free(names: Sequence[str], taken: Collection[str]) -> str:
    return next(name for name in names if name.casefold() not in taken)


def read_list(folder: Path) -> tuple[str, list[Listed]]:
    """Stain and images of a folder of results; none if it is new. Raises ProjectError."""
    file = folder / WORK_FOLDER / LIST
    if not file.is_file():
        return "H&E", []
    try:
        content = bounded.read_json(file)
        if content["format"] != _FORMAT:
            raise ValueError("another format")
        return str(content["stain"]), [_listed(image) for image in content["images"]]
    except OSError as error:
        raise ProjectError(file, f"cannot be read ({error.strerror})", advice(error)) from error
    except (ValueError, LookupError, TypeError, AttributeError) as error:
        raise ProjectError(
            file, "is damaged, or of another version", "Choose another folder for -o"
        ) from error


def _listed(image: Mapping[str, Any]) -> Listed:
    result, identifier, uri = str(image["result"]), int(image["id"]), str(image["uri"])
    path = path_of_uri(uri)
    if Path(result).name != result or not result.endswith(ENDING) or path is None:
        raise ValueError("a file outside the folder")
    slide = Path(path)
    entry = ImageEntry(
        id=str(identifier),
        name=str(image["name"]),
        uri=uri,
        slide=slide if slide.exists() else None,
        size=_pair(image["size"], int),
        mpp=_pair(image["mpp"], float),
        opened=False,
    )
    return Listed(entry, result)


def _pair(value: Any, kind: Callable[[Any], _Number]) -> tuple[_Number, _Number] | None:
    if value is None:
        return None
    first, second = value
    return kind(first), kind(second)


def write_list(folder: Path, stain: str, listed: Sequence[Listed]) -> None:
    """Replace the list. Raises ProjectError."""
    file = folder / WORK_FOLDER / LIST
    images = [
        {
            "id": int(one.entry.id),
            "name": one.entry.name,
            "uri": one.entry.uri,
            "size": one.entry.size,
            "mpp": one.entry.mpp,
            "result": one.result,
        }
        for one in listed
    ]
    try:
        with replacing(file, folder / WORK_FOLDER) as part:
            content = {"format": _FORMAT, "stain": stain, "images": images}
            part.write_text(json.dumps(content, indent=1, ensure_ascii=False), encoding="utf-8")
    except OSError as error:
        raise ProjectError(file, f"cannot be written ({error.strerror})", advice(error)) from error
