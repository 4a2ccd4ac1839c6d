"""Evaluation regions: images, or parts of slides, in which every nucleus is annotated."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import shapely
from numpy.typing import NDArray

from ..annotations.classes import Role, role_of
from ..annotations.findings import report
from ..annotations.labels import UNKNOWN, Split, Supervision
from ..annotations.reader import read_supervision
from ..annotations.windows import LabelBox, label_boxes, own_labels, render_window
from ..bundle import Bundle
from ..core.config import ClassNames
from ..core.environment import of_image
from ..core.errors import CellGenNetError, SupervisionError, UsageError
from ..core.progress import SILENT, Reporter
from ..core.wording import composed, listed
from ..geometry.lookup import ShapeIndex
from ..geometry.rectangle import Rectangle
from ..geometry.solid import solid
from ..qupath.images import distinct_names, open_image
from ..qupath.project import Annotation, ImageEntry, Project
from ..qupath.search import NOT_IMAGES
from ..slides.judgement import judge_slide
from ..slides.pixel_size import resolve_mpp
from ..slides.reader import SlideReader, open_slide, slide_size
from ..slides.view import AS_STORED, View
from .label_images import LABEL_ENDINGS, check_turned, label_size, read_labels
from .manifest import read_manifest
from .same_tissue import SharedPlace, shared_places

_MARGIN = 32
_IMAGE_ENDINGS = (".png", ".tif", ".tiff", ".jpg", ".jpeg", ".bmp", ".svs", ".ndpi")

Truth = tuple[NDArray[np.int32], NDArray[np.bool_] | None]


@dataclass(frozen=True)
class EvaluationRegion:
    """An image with its ground truth: a whole image of a folder, or a window of a slide.

    name       : unique among the regions of an evaluation.
    image      : name of the image that contains it, from the file ``slide`` (image ``series`` of it, as
                 ``view`` shows it).
    group      : the tissue or class to which it belongs; "" for none.
    box        : its position in the image, in full-resolution pixels.
    image_size : width and height of the image, in full-resolution pixels.
    mpp        : µm per full-resolution pixel; None if unknown.
    keys       : names under which other tools may have stored the image's result.
    shared     : its place on a slide that several images of the project show; None for any other.
    truth      : reads the true nuclei, int32 (rows, columns) of the box, and a mask of the unknown pixels,
                 bool of the same shape (None: all are known).

    overlaps_training says whether a part of it is inside a training region.
    """

    name: str
    image: str
    group: str
    slide: Path
    series: int
    box: Rectangle
    image_size: tuple[int, int]
    mpp: float | None
    overlaps_training: bool
    keys: tuple[str, ...]
    truth: Callable[[], Truth]
    view: View = AS_STORED
    shared: SharedPlace | None = None

    def open(self) -> SlideReader:
        """The image that contains it. Raises SlideError."""
        return open_slide(self.slide, self.series, self.view)

    def pixels(self) -> NDArray[np.uint8]:
        """RGB of the box at full resolution, uint8 (rows, columns, 3). Raises SlideError."""
        with self.open() as reader:
            return reader.read_grid(self.box.x0, self.box.y0, self.box.columns, self.box.rows, 1.0)


def regions_of(
    place: Project | Path,
    models: Sequence[Bundle],
    *,
    mpp: float | None = None,
    split: str | None = None,
    group_by: str | None = None,
    reporter: Reporter = SILENT,
) -> list[EvaluationRegion]:
    """The regions of a project or of a folder on which models are scored; the first one names the classes.

    Raises as ``project_regions`` and ``folder_regions``.
    """
    stain = "H&E" if any(model.card.stain == "H&E" for model in models) else ""
    if isinstance(place, Path):
        return folder_regions(place, mpp=mpp, split=split, group_by=group_by, stain=stain, reporter=reporter)
    return project_regions(place, models[0].config.classes, mpp=mpp, stain=stain, reporter=reporter)


def folder_regions(
    folder: Path,
    *,
    mpp: float | None = None,
    split: str | None = None,
    group_by: str | None = None,
    stain: str = "H&E",
    reporter: Reporter = SILENT,
) -> list[EvaluationRegion]:
    """The images of a folder with ``images/`` and ``labels/``, or of several such folders inside it.

    mpp      : µm per pixel of images without a pixel size.
    split    : only images of this split, according to ``folder/manifest.csv`` (columns ``file``, ``split``
               and, with several folders, ``dataset``).
    group_by : column of the manifest by which images are grouped; None groups them by folder.
    stain    : of the evaluated models, as for ``project_regions``.

    An image without a label image of its name, or that cannot be read, is skipped with a warning. Raises
    UsageError where the manifest is missing or lacks a column, and SupervisionError where two images or two
    label images have one name, or no image is left.
    """
    datasets = sorted(p.parent for p in folder.rglob("images") if (p.parent / "labels").is_dir())
    if not datasets:
        raise SupervisionError(
            folder,
            "is neither a QuPath project nor a folder with images/ and labels/",
            "Check the path",
        )
    split = None if split is None else composed(split)
    manifest = read_manifest(folder, [c for c in ("split" if split else None, group_by) if c])
    if manifest.rows and len({dataset.name for dataset in datasets}) < len(datasets):
        raise UsageError(folder, "contains folders of one name, between which manifest.csv cannot choose")
    regions, seen = [], []
    for dataset in datasets:
        group = "" if len(datasets) == 1 else dataset.relative_to(folder).as_posix()
        label_files = _by_stem(dataset / "labels", LABEL_ENDINGS, "label images")
        images = _images(dataset / "images", label_files)
        alone = [file.name for stem, file in label_files.items() if stem not in images]
        if alone:
            reporter.warn(f"{dataset / 'labels'}: no image has the name of {listed(alone)}.")
        inner = _folders(dataset / "images", images.values())
        if inner:
            reporter.warn(f"{dataset / 'images'}: folders in it are not searched: {listed(inner)}.")
        for stem, image in images.items():
            seen.append((dataset.name, image.name))
            row = manifest.row(dataset.name, image.name)
            if split and row.get("split") != split:
                continue
            labels, size = label_files.get(stem), slide_size(image)
            if labels is None or size is None:
                # An image without labels is not meant to be evaluated; one that cannot be read is a loss.
                lost = size is None
                why = "not a readable image" if lost else "no label image"
                reporter.warn(f"{'Skipped' if lost else 'Left out'}: {image}: {why}.")
                continue
            named = row.get(group_by, "") if group_by else group
            name = f"{group}/{image.stem}" if group else image.stem
            with open_slide(image) as reader:
                calibration = resolve_mpp(None, reader.stated_mpp, mpp, image.name)
                judgement = judge_slide(reader, calibration.mpp, stain=stain)
            if calibration.warning:
                reporter.warn(calibration.warning)
            for sentence in judgement.sentences:
                reporter.warn(f"{name}: {sentence}")
            regions.append(_folder_region(name, named, image, labels, size, calibration.mpp))
    for sentence in manifest.oddities(seen, split):
        reporter.warn(sentence)
    if not regions:
        raise SupervisionError(
            folder,
            f"contains no image with labels{f' of split {split}' if split else ''}",
            "Check the folder" + (" and --split" if split else ""),
        )
    return regions


def _images(folder: Path, labels: Mapping[str, Path]) -> dict[str, Path]:
    """The images of a folder by their names without endings.

    A file of any other ending is one where a label image has its name and no image of a usual ending has.
    """
    images = _by_stem(folder, _IMAGE_ENDINGS, "images")
    for file in sorted(_listed(folder)):
        stem = composed(file.stem)
        if stem in labels and file.suffix.lower() not in NOT_IMAGES and not file.name.startswith("."):
            images.setdefault(stem, file)
    return dict(sorted(images.items()))


def _folders(folder: Path, images: Iterable[Path]) -> list[str]:
    """The names of the folders in a folder that are not images themselves."""
    inner = (path for path in sorted(_listed(folder)) if path.is_dir() and not path.name.startswith("."))
    known = set(images)
    return [path.name for path in inner if path not in known and path.suffix.lower() != ".zarr"]


def _by_stem(folder: Path, endings: Sequence[str], what: str) -> dict[str, Path]:
    """The files of a folder with one of these endings, by their name without it, in the order of the names.

    Accents count as equal however they are encoded (macOS writes them in two characters). Raises
    SupervisionError where two files have one name.
    """
    found: dict[str, Path] = {}
    for file in sorted(_listed(folder)):
        if file.suffix.lower() in endings and not file.name.startswith("."):
            other = found.setdefault(composed(file.stem), file)
            if other is not file:
                raise SupervisionError(
                    folder,
                    f"holds two {what} of one name: {other.name} and {file.name}",
                    "Rename or remove one of them",
                )
    return found


def _listed(folder: Path) -> Iterable[Path]:
    try:
        return list(folder.iterdir())
    except OSError as error:
        raise SupervisionError(folder, f"cannot be read ({error.strerror or error})") from error


def _folder_region(
    name: str, group: str, image: Path, labels: Path, size: tuple[int, int], mpp: float | None
) -> EvaluationRegion:
    def truth() -> Truth:
        *own, _ = label_size(labels)
        if own != list(size):
            raise SupervisionError(
                labels,
                f"differs in size from {image.name} ({own[0]} x {own[1]} px, {size[0]} x {size[1]} px)",
                "Save it at full resolution",
            )
        check_turned(labels, image)
        true = read_labels(labels)
        unknown = true < 0
        return np.maximum(true, 0), unknown if unknown.any() else None

    keys = (name.replace("/", "_"), image.stem, image.name)
    box = Rectangle(0, 0, *size)
    return EvaluationRegion(name, image.name, group, image, 0, box, size, mpp, False, keys, truth)


def project_regions(
    project: Project,
    classes: ClassNames,
    *,
    mpp: float | None = None,
    stain: str = "H&E",
    reporter: Reporter = SILENT,
) -> list[EvaluationRegion]:
    """Windows around the validation regions of all images of a project; nearby regions share a window.

    mpp   : µm per pixel of images without a pixel size.
    stain : of the evaluated models; what is odd about an image for it is reported (see ``judge_slide``).

    The group of a window is the class of the smallest annotation around its centre that is not one of
    ``classes`` ("Tumour", "Stroma"). Odd annotations are reported, and images that cannot be read are
    skipped with a warning. Raises SupervisionError where no region is left.
    """
    regions: list[EvaluationRegion] = []
    for entry, name in zip(project.entries, distinct_names(project.entries), strict=True):
        try:
            regions += _entry_regions(project, entry, name, classes, mpp, stain, reporter)
        except Exception as error:
            reporter.warn(f"Skipped: {of_image(name, error)}")
    if not regions:
        raise SupervisionError(
            project.path,
            f"has no usable region of class {classes.validation}",
            f"Draw rectangles of class {classes.validation} in QuPath and outline every nucleus in them",
        )
    regions = _placed(regions, project.entries)
    times = Counter(region.name for region in regions)  # an image may be called like a window of another
    return [
        region if times[region.name] == 1 else replace(region, name=f"{region.name} (id {region.keys[-1]})")
        for region in regions
    ]


def _placed(regions: Sequence[EvaluationRegion], entries: Sequence[ImageEntry]) -> list[EvaluationRegion]:
    """The regions, with their places on slides that several images show."""
    sizes, boxes = {}, defaultdict[str, list[Rectangle]](list)
    for region in regions:
        sizes[region.keys[-1]] = region.image_size
        boxes[region.keys[-1]].append(region.box)
    places = {image: iter(shared) for image, shared in shared_places(entries, sizes, boxes).items()}
    return [replace(region, shared=next(places.get(region.keys[-1], iter(())), None)) for region in regions]


def _entry_regions(
    project: Project,
    entry: ImageEntry,
    name: str,
    classes: ClassNames,
    mpp: float | None,
    stain: str,
    reporter: Reporter,
) -> list[EvaluationRegion]:
    annotations = project.annotations(entry)
    if not annotations:
        return []
    needed = any(role_of(one.path_class, classes) is Role.VALIDATION for one in annotations)
    seen: list[str] = []
    try:
        with open_image(entry) as reader:
            slide, size = reader.path, (reader.width, reader.height)
            calibration = resolve_mpp(entry.mpp, reader.stated_mpp, mpp, name)
            if needed:
                image_type = project.image_type(entry)
                judgement = judge_slide(reader, calibration.mpp, image_type, entry.channels, stain)
                seen = judgement.sentences
    except CellGenNetError:
        if needed:
            raise
        return []
    if calibration.warning and needed:
        reporter.warn(calibration.warning)
    supervision = read_supervision(project, entry, classes, size, calibration.mpp)
    report(supervision.findings, name, reporter)
    for sentence in seen:
        reporter.warn(f"{name}: {sentence}")
    names = (name, Path(name).stem) if name == entry.name else (name,)
    surroundings = _Surroundings(annotations, classes)
    boxes = label_boxes(supervision, Split.VALIDATION, 1.0, _MARGIN)
    regions = []
    for number, wide in enumerate(boxes, start=1):
        where = LabelBox(_on_image(wide.box, size), _on_image(wide.core, size), wide.whole)
        validated = _part_of(supervision.layers.regions[Split.VALIDATION], shapely.box(*where.core))
        trained = _part_of(supervision.layers.drawn[Split.TRAINING], validated)
        regions.append(
            EvaluationRegion(
                name=name if len(boxes) == 1 else f"{name} #{number}",
                image=name,
                group=surroundings.of(validated),
                slide=slide,
                series=entry.series,
                box=where.box,
                image_size=size,
                mpp=calibration.mpp,
                overlaps_training=bool(shapely.area(trained) > 0),
                keys=(*names, slide.name, slide.stem, entry.id),
                truth=_window_truth(supervision, where),
                view=entry.view,
            )
        )
    return regions


def _on_image(box: Rectangle, size: tuple[int, int]) -> Rectangle:
    return Rectangle(max(0, box.x0), max(0, box.y0), min(size[0], box.x1), min(size[1], box.y1))


def _window_truth(supervision: Supervision, where: LabelBox) -> Callable[[], Truth]:
    def truth() -> Truth:
        rasters, owned = render_window(supervision, Split.VALIDATION, where, 1.0)
        labels = own_labels(rasters, owned, where).objects
        return np.maximum(labels, 0), labels == UNKNOWN

    return truth


def _part_of(shapes: ShapeIndex, window: shapely.Geometry) -> shapely.Geometry:
    """The part of the union of shapes in a window."""
    bounds = shapely.bounds(window)
    return shapely.intersection(shapely.union_all(shapes.near(bounds[:2], bounds[2:])), window)


class _Surroundings:
    """The areas of tissue around regions: annotations of classes that are not ours."""

    def __init__(self, annotations: Sequence[Annotation], classes: ClassNames) -> None:
        other = [one for one in annotations if role_of(one.path_class, classes) is Role.OTHER]
        shapes = solid([one.geometry for one in other])
        self._classes = [one.path_class for one in other]
        self._areas = shapely.area(shapes)
        self._tree = shapely.STRtree(shapes)

    def of(self, region: shapely.Geometry) -> str:
        """The class of the smallest one around a region's centre; "" for none."""
        rows = np.sort(self._tree.query(shapely.centroid(region), predicate="within"))
        # An area of tissue, not a nucleus.
        rows = rows[self._areas[rows] >= shapely.area(region) / 2]
        return self._classes[rows[np.argmin(self._areas[rows])]] if len(rows) else ""
