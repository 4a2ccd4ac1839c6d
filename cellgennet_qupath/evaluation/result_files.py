"""Which file of a folder holds another tool's result for an image, by the names that tools give."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

from ..core.errors import EntryDataError, SupervisionError
from ..core.wording import composed
from .label_images import LABEL_ENDINGS
from .regions import EvaluationRegion
from .result_outlines import kind_of_json

_OUTLINE_ENDINGS = (".geojson", ".geojson.gz", ".json")
_ENDINGS = (*LABEL_ENDINGS, *_OUTLINE_ENDINGS)
_CELLPOSE = "_cp_masks"
_INSTANSEG = "_instanseg_prediction"

_NOT_READ = {
    "_seg.npy": (
        "Cellpose's working file, whose Python objects are not opened",
        "Save the masks as well: `--save_png` or `--save_tif`, cellpose.io.save_masks, or its File menu",
    ),
    "_cp_outlines.txt": (
        "Cellpose's outlines as text, which run through pixel centres",
        "Save the masks (`--save_png` or `--save_tif`)",
    ),
    "_rois.zip": ("outlines for ImageJ", "Save the masks as an image"),
    f"{_INSTANSEG}.zarr": (
        "InstanSeg's store at the resolution of its model",
        "Write GeoJSON (`save_geojson=True`), or a label image at full resolution",
    ),
    ".mat": ("a MATLAB file", "Save its instance map (in HoVer-Net's: `inst_map`) as .npy or .tif"),
    ".xml": ("an XML file", "Import it in QuPath and export GeoJSON"),
    ".zip": ("an archive", "Unpack it, or save the masks as an image"),
    ".db": ("a database (TIAToolbox's?)", "Write GeoJSON: SQLiteStore(file).to_geojson(...)"),
    ".npz": ("an archive of arrays", "Save the label array itself with numpy.save"),
    ".csv": ("a table", "Save label images or GeoJSON"),
    ".parquet": ("a table", "Save label images or GeoJSON"),
    ".dat": ("a file of Python objects, which are not opened", "Save label images or GeoJSON"),
    ".pkl": ("a file of Python objects, which are not opened", "Save label images or GeoJSON"),
}
"""What follows an image's name in files that are no result here: what the file is, and the way out."""


@dataclass(frozen=True)
class ResultFile:
    """A file with the nuclei of an image.

    planes : how many planes a label image may have, of which the first holds the nuclei.
    key    : the name of the image by which the file was found.
    """

    path: Path
    planes: int = 1
    key: str = ""

    @property
    def is_label_image(self) -> bool:
        """Whether the file is a label image, not GeoJSON."""
        return self.path.suffix.lower() in LABEL_ENDINGS


def find_result(folder: Path, region: EvaluationRegion) -> ResultFile | None:
    """The file with the result for a region's image; None where Cellpose wrote no PNG, having found nothing.

    The file has one of ``region.keys`` as its name, or that name with the suffix of Cellpose (``_cp_masks``)
    or InstanSeg (``_instanseg_prediction``). In a folder with such suffixes an image without one is the
    picture itself. Raises SupervisionError where there is no file, or two.
    """
    found = _found(folder, region)
    if found:
        return found[0]
    # Cellpose writes a TIFF for an image without nuclei, but no PNG.
    if any(f"{_CELLPOSE}.png" in name for name in _files(folder)):
        return None
    raise _missing(folder, region)


def check_alone(folder: Path, regions: Sequence[EvaluationRegion]) -> None:
    """Raises SupervisionError for a file that has another name of an image whose result is in another file.

    One of them is probably left from an earlier run. The picture itself is not a result, and a number may be
    the name of an image that is not evaluated as well as the id of one that is.
    """
    found = [_found(folder, region) for region in regions]
    owned = {files[0].path for files in found if files}
    for region, files in zip(regions, found, strict=True):
        pictures = (region.image, region.slide.name)
        for other in files[1:]:
            if other.path not in owned and other.path.name not in pictures and not other.key.isdigit():
                raise _two(folder, region, files[0], other)


def _two(folder: Path, region: EvaluationRegion, first: ResultFile, other: ResultFile) -> SupervisionError:
    return SupervisionError(
        folder,
        f"contains two results for the image {region.image}: {first.path.name} and {other.path.name}",
        "Remove one of them",
    )


def _found(folder: Path, region: EvaluationRegion) -> list[ResultFile]:
    """The files that have a name of a region's image, those of the first of ``region.keys`` first."""
    names = _files(folder)
    found: list[ResultFile] = []
    suffixes = [suffix for suffix in (_CELLPOSE, _INSTANSEG) if any(suffix in name for name in names)]
    for key in dict.fromkeys(map(composed, region.keys)):
        wanted = [f"{key}{suffix}{ending}" for suffix in suffixes for ending in _ENDINGS]
        wanted += [f"{key}{ending}" for ending in (_OUTLINE_ENDINGS if suffixes else _ENDINGS)]
        own = [names[name] for name in wanted if name in names]
        files = [ResultFile(file, 2 if _INSTANSEG in file.name else 1, key) for file in own]
        if len(files) > 1 and not found:
            raise _two(folder, region, *files[:2])
        found += files
    return found


def _missing(folder: Path, region: EvaluationRegion) -> SupervisionError:
    what = f"contains no result for the image {region.image}"
    for key in dict.fromkeys(region.keys):
        for ending, (kind, remedy) in _NOT_READ.items():
            if (folder / f"{key}{ending}").exists():
                return SupervisionError(folder, f"{what}: {key}{ending} is {kind}", remedy)
    for file in sorted(folder.glob("*.json")):
        try:
            named = kind_of_json(file)
        except EntryDataError:
            continue
        if named is not None:
            return SupervisionError(folder, f"{what}: {file.name} is {named.name}", named.remedy)
    return SupervisionError(
        folder,
        what,
        f"Add {region.keys[0]}.png or {region.keys[0]}.geojson; where the tool detected no nucleus, an "
        "image of zeros or a file without features",
    )


def belongs_to_two(file: Path, owner: EvaluationRegion, region: EvaluationRegion) -> SupervisionError:
    """The error of a file whose name fits two images."""
    return SupervisionError(
        file,
        f"could be the result of two images: {owner.name} and {region.name}",
        f"Name them {owner.keys[0]} and {region.keys[0]}",
    )


@lru_cache(maxsize=8)
def _listing(folder: Path, changed: int, endings: Sequence[str]) -> dict[str, Path]:
    # Endings in capital letters count as well.
    listed: dict[str, Path] = {}
    for file in sorted(folder.iterdir()):
        ending = next((e for e in endings if file.name.lower().endswith(e) and file.is_file()), None)
        if ending is not None:
            listed.setdefault(composed(file.name[: -len(ending)]) + ending, file)
    return listed


def _files(folder: Path) -> dict[str, Path]:
    """The results in a folder by name, with the ending in small letters."""
    try:
        return _listing(folder, folder.stat().st_mtime_ns, _ENDINGS)
    except OSError as error:
        raise SupervisionError(folder, f"cannot be read ({error.strerror or error})") from error
