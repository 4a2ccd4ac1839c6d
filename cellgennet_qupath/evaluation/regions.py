"""What to evaluate on: pictures whose every nucleus is known."""

from __future__ import annotations

import csv
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import shapely
import tifffile
from numpy.typing import NDArray

from ..annotations.labels import UNKNOWN, Split, Supervision, interpret, render
from ..annotations.windows import label_boxes
from ..core.config import ClassNames
from ..core.errors import CellGenNetError, SupervisionError, UsageError
from ..core.progress import SILENT, Reporter
from ..geometry.rectangle import Rectangle
from ..qupath.images import open_image
from ..qupath.project import Annotation, ImageEntry, Project
from ..slides.pixel_size import resolve_mpp
from ..slides.reader import open_slide, slide_size

_MARGIN = 32
LABEL_ENDINGS = (".png", ".tif", ".tiff")
_IMAGE_ENDINGS = (*LABEL_ENDINGS, ".jpg", ".jpeg", ".bmp", ".svs", ".ndpi")

Truth = tuple[NDArray[np.int32], NDArray[np.bool_] | None]


@dataclass(frozen=True)
class EvaluationRegion:
    """A picture with its truth: an image of a folder, or a window around validation regions of a slide.

    name    : unlike that of every other field; ``image`` is the name of the image it lies in.
    group   : the tissue or class it belongs to, "" for none.
    box     : where in the image, in full-resolution pixels.
    whole   : width and height of the image.
    mpp     : µm per full-resolution pixel; None if nobody knows.
    trained : whether some of it lies in a training region too.
    keys    : names under which other tools may have kept the image's result.
    truth   : reads the true nuclei, int32 (rows, columns) of the box, and where nothing is known
              (None: everything is).
    """

    name: str
    image: str
    group: str
    slide: Path
    series: int
    box: Rectangle
    whole: tuple[int, int]
    mpp: float | None
    trained: bool
    keys: tuple[str, ...]
    truth: Callable[[], Truth]

    def pixels(self) -> NDArray[np.uint8]:
        """RGB (rows, columns, 3) of the box. Raises SlideError."""
        with open_slide(self.slide, self.series) as reader:
            return reader.read_grid(self.box.x0, self.box.y0, self.box.columns, self.box.rows, 1.0)


def read_labels(path: Path) -> NDArray[np.int32]:
    """A label image (PNG or TIFF of any integer type), int32 (rows, columns). Raises SupervisionError."""
    try:
        if path.suffix.lower() in (".tif", ".tiff"):
            labels = tifffile.imread(path)
        else:
            # Read by Python: OpenCV itself cannot open every name on Windows.
            labels = cv2.imdecode(np.frombuffer(path.read_bytes(), np.uint8), cv2.IMREAD_UNCHANGED)
    except (OSError, ValueError, cv2.error) as error:
        raise SupervisionError(path, "cannot be read as a label image") from error
    if labels is None or labels.ndim != 2 or labels.dtype.kind not in "iub":
        raise SupervisionError(
            path, "is no label image", "It needs one channel of whole numbers: 0, and one for each nucleus"
        )
    return np.asarray(labels, np.int32)


def folder_regions(
    folder: Path,
    *,
    mpp: float | None = None,
    split: str | None = None,
    group_by: str | None = None,
    reporter: Reporter = SILENT,
) -> list[EvaluationRegion]:
    """The images of a folder that holds ``images/`` and ``labels/``, or several such folders.

    split    : only the images whose row in ``folder/manifest.csv`` (``file``, ``split`` and, where there are
               several folders, ``dataset``) says so.
    group_by : column of the manifest that groups images; without it they are grouped by folder.
    Images without labels are told and left out. Raises UsageError and SupervisionError.
    """
    sets = sorted(p.parent for p in folder.rglob("images") if (p.parent / "labels").is_dir())
    if not sets:
        raise SupervisionError(
            folder, "is no QuPath project and holds no images/ with labels/ beside it", "Name another folder"
        )
    rows = _manifest(folder, [c for c in ("split" if split else None, group_by) if c])
    fields = []
    for place in sets:
        group = "" if len(sets) == 1 else place.relative_to(folder).as_posix()
        for image in sorted((place / "images").iterdir()):
            if image.suffix.lower() not in _IMAGE_ENDINGS:
                continue
            row = rows.get((place.name, image.name)) or rows.get(("", image.name)) or {}
            if split and row.get("split") != split:
                continue
            labels = _label_file(place / "labels", image.stem)
            size = slide_size(image)
            if labels is None or size is None:
                reporter.warn(f"Left out: {image}: {'no label image' if size else 'no readable image'}.")
                continue
            named = row.get(group_by, "") if group_by else group
            name = f"{group}/{image.stem}" if group else image.stem
            fields.append(_folder_field(name, named, image, labels, size, mpp))
    if not fields:
        raise SupervisionError(
            folder,
            f"holds no image with labels{f' of split {split}' if split else ''}",
            "Name another folder",
        )
    return fields


def _manifest(folder: Path, needed: Sequence[str]) -> dict[tuple[str, str], dict[str, str]]:
    if not needed:
        return {}
    file = folder / "manifest.csv"
    if not file.is_file():
        raise UsageError(file, "is missing", f"It names each image (`file`) and its `{'`, `'.join(needed)}`")
    with file.open(encoding="utf-8-sig", newline="") as stream:
        reader = csv.DictReader(stream)
        absent = [column for column in ("file", *needed) if column not in (reader.fieldnames or ())]
        if absent:
            raise UsageError(file, f"has no column `{absent[0]}`")
        return {(row.get("dataset") or "", row["file"]): row for row in reader}


def _label_file(folder: Path, stem: str) -> Path | None:
    files = (folder / f"{stem}{ending}" for ending in LABEL_ENDINGS)
    return next((file for file in files if file.is_file()), None)


def _folder_field(
    name: str, group: str, image: Path, labels: Path, size: tuple[int, int], mpp: float | None
) -> EvaluationRegion:
    def truth() -> Truth:
        true = read_labels(labels)
        if true.shape != (size[1], size[0]):
            raise SupervisionError(labels, f"is not of the size of {image.name}")
        return true, None

    with open_slide(image) as reader:
        known = resolve_mpp(None, reader.mpp, mpp, image.name).mpp
    keys = (name.replace("/", "_"), image.stem, image.name)
    box = Rectangle(0, 0, *size)
    return EvaluationRegion(name, image.name, group, image, 0, box, size, known, False, keys, truth)


def project_regions(
    project: Project, classes: ClassNames, *, mpp: float | None = None, reporter: Reporter = SILENT
) -> list[EvaluationRegion]:
    """A window around the validation regions of every image of a project; overlapping ones share a window.

    A window belongs to the smallest annotation of a class with no meaning here ("Tumour", "Stroma") that
    holds its centre. Images that cannot be read are told and left out. Raises SupervisionError where no
    region is left.
    """
    fields: list[EvaluationRegion] = []
    for entry in project.entries:
        try:
            annotations = project.annotations(entry)
            supervision = interpret(annotations, classes)
            if supervision.regions[Split.VALIDATION]:
                fields += _entry_fields(entry, annotations, supervision, classes, mpp)
        except CellGenNetError as error:
            reporter.warn(f"Left out: {error}")
    if not fields:
        raise SupervisionError(
            project.path,
            f"has no region of class {classes.validation} that can be used",
            f"Draw rectangles of class {classes.validation} in QuPath and outline every nucleus in them",
        )
    return fields


def _entry_fields(
    entry: ImageEntry,
    annotations: Sequence[Annotation],
    supervision: Supervision,
    classes: ClassNames,
    mpp: float | None,
) -> list[EvaluationRegion]:
    with open_image(entry) as reader:
        slide, whole = reader.path, (reader.width, reader.height)
        known = resolve_mpp(entry.mpp, reader.mpp, mpp, entry.name).mpp
    training = shapely.union_all(supervision.regions[Split.TRAINING])
    boxes = label_boxes(supervision, Split.VALIDATION, 1.0, _MARGIN)
    fields = []
    for number, wide in enumerate(boxes, start=1):
        x0, y0 = max(0, wide.x0), max(0, wide.y0)
        x1, y1 = min(whole[0], wide.x0 + wide.columns), min(whole[1], wide.y0 + wide.rows)
        if x1 <= x0 or y1 <= y0:
            continue
        box = Rectangle(x0, y0, x1, y1)
        area = shapely.box(x0, y0, x1, y1)
        regions = shapely.intersection(shapely.union_all(supervision.regions[Split.VALIDATION]), area)
        fields.append(
            EvaluationRegion(
                name=entry.name if len(boxes) == 1 else f"{entry.name} #{number}",
                image=entry.name,
                group=_surroundings(annotations, classes, shapely.centroid(regions)),
                slide=slide,
                series=entry.series,
                box=box,
                whole=whole,
                mpp=known,
                trained=bool(shapely.area(shapely.intersection(training, regions)) > 0),
                keys=(entry.name, Path(entry.name).stem, slide.name, slide.stem, entry.id),
                truth=_window_truth(supervision, box),
            )
        )
    return fields


def _window_truth(supervision: Supervision, box: Rectangle) -> Callable[[], Truth]:
    def truth() -> Truth:
        labels = render(supervision, Split.VALIDATION, (box.rows, box.columns), 1.0, (box.x0, box.y0)).objects
        unknown = labels == UNKNOWN
        return np.where(unknown, 0, labels).astype(np.int32), unknown

    return truth


def _surroundings(annotations: Sequence[Annotation], classes: ClassNames, centre: shapely.Geometry) -> str:
    ours = {classes.training, classes.validation, classes.nucleus, classes.background, ""}
    holding = [
        annotation
        for annotation in annotations
        if annotation.path_class not in ours
        and not classes.is_ignored(annotation.path_class)
        and shapely.contains(shapely.make_valid(annotation.geometry), centre)
    ]
    return min(holding, key=lambda a: float(shapely.area(a.geometry))).path_class if holding else ""
