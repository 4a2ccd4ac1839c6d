"""Results of other tools: one label image or GeoJSON file per image, checked before any work."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import numpy as np
import shapely
from numpy.typing import NDArray

from ..core.errors import EntryDataError, SupervisionError
from ..core.wording import listed
from .label_images import check_turned, label_size, read_labels, used_twice
from .prediction import Prediction, rasterized
from .regions import EvaluationRegion
from .result_files import ResultFile, belongs_to_two, check_alone, find_result
from .result_outlines import SENTENCES, ResultOutlines, read_result_outlines


@dataclass(frozen=True)
class PrecomputedPredictor:
    """Results of another tool: a folder with a label image or a GeoJSON file for each image.

    A file has the name of the image, of its slide file, or the image's id (``EvaluationRegion.keys``), also
    with the suffixes of Cellpose and InstanSeg (see ``find_result``).
    """

    name: str
    folder: Path

    def predict(self, region: EvaluationRegion, pixels: NDArray[np.uint8]) -> Prediction:
        """The nuclei of the region's file. Raises SupervisionError and EntryDataError, as ``check``."""
        file = find_result(self.folder, region)
        if file is None:
            return Prediction(
                np.zeros((region.box.rows, region.box.columns), np.int32), np.zeros(0, np.float32)
            )
        if file.is_label_image:
            return _from_labels(file, region)
        found = _outlines(file.path)
        polygons, probability = found.polygons, found.probability
        # Where outlines overlap, the later one wins: the smaller one, in whatever order the file has them.
        order = np.lexsort((probability, *shapely.bounds(polygons).reshape(-1, 4).T, -shapely.area(polygons)))
        return Prediction(rasterized(polygons[order], region, order + 1), probability)

    def check(self, regions: Sequence[EvaluationRegion]) -> list[str]:
        """Find and read the file of every image, and return what is odd about them, one sentence each.

        Raises SupervisionError where an image has no file or two, a file serves two images, is not a label
        image, differs in size from its image or has features without any outline, and EntryDataError for a
        damaged GeoJSON file.
        """
        if not self.folder.is_dir():
            raise SupervisionError(self.folder, "is not a folder", "Give the folder of the results")
        owners: dict[Path, tuple[ResultFile, EvaluationRegion]] = {}
        served: Counter[Path] = Counter()
        absent: dict[str, None] = {}
        for region in regions:
            file = find_result(self.folder, region)
            if file is None:
                absent[region.image] = None
                continue
            _, owner = owners.setdefault(file.path, (file, region))
            if (owner.slide, owner.series, owner.view) != (region.slide, region.series, region.view):
                raise belongs_to_two(file.path, owner, region)
            served[file.path] += 1
            if file.is_label_image and served[file.path] > 1 and _check_size(file, owner).region_only:
                raise SupervisionError(
                    file.path,
                    f"shows one region only, and {region.image} has several",
                    "Write a label image of the whole image",
                )
        check_alone(self.folder, regions)
        sentences = [
            f"no file for {listed(list(absent))}: taken as no nucleus, as Cellpose writes none then."
        ]
        return [
            f"{self.name}: {sentence}"
            for sentence in (sentences if absent else []) + self._oddities(list(owners.values()))
        ]

    def _oddities(self, owners: Sequence[tuple[ResultFile, EvaluationRegion]]) -> list[str]:
        """Read all files; what is odd about each, and what is to be known about all of them together."""
        sentences: list[str] = []
        counts: Counter[str] = Counter()
        centred: list[str] = []
        planes = 0
        for file, region in owners:
            if file.is_label_image:
                planes += _check_size(file, region).planes == file.planes > 1
                twice = used_twice(read_labels(file.path, file.planes))
                sentences += [f"{file.path.name}: {twice}"] if twice else []
                continue
            found = _outlines(file.path)
            counts += found.counts
            if found.pixel_centres:
                centred.append(file.path.name)
            if not _any_inside(found.polygons, region):
                width, height = region.image_size
                sentences.append(
                    f"none of the {len(found.polygons)} outlines in {file.path.name} is inside the image "
                    f"({width} x {height} px). Coordinates must be full-resolution pixels."
                )
        sentences += [f"{SENTENCES[kind].format(n=counts[kind])}." for kind in SENTENCES if counts[kind]]
        if planes:
            sentences.append(f"of the two planes of {planes} label images, the first is read: the nuclei.")
        if centred:
            sentences.append(
                f"the outlines in {listed(centred)} seem to run through pixel centres, as those of OpenCV "
                "and Cellpose do. They are half a pixel too small on all sides and shifted by half a pixel "
                "here, which lowers the scores: use the tool's label images instead."
            )
        return sentences


def _any_inside(polygons: NDArray[np.object_], region: EvaluationRegion) -> bool:
    """Whether an outline is on the image; also where there is none."""
    image = shapely.box(0, 0, *region.image_size)
    return not len(polygons) or bool(shapely.intersects(polygons, image).any())


@dataclass(frozen=True)
class _Fit:
    """How a label image fits its region: it may show only that, and have several planes."""

    region_only: bool
    planes: int


def _check_size(file: ResultFile, region: EvaluationRegion) -> _Fit:
    """Raises SupervisionError if a label image fits neither the region nor the whole image."""
    *size, planes = label_size(file.path, file.planes)
    box = [region.box.columns, region.box.rows]
    if size not in (list(region.image_size), box):
        raise SupervisionError(
            file.path,
            f"differs in size from {region.image} ({size[0]} x {size[1]} px, {region.image_size[0]} x "
            f"{region.image_size[1]} px)",
            "Write it at full resolution",
        )
    check_turned(file.path, region.slide)
    return _Fit(size != list(region.image_size), planes)


def _from_labels(file: ResultFile, region: EvaluationRegion) -> Prediction:
    """The labels of a region, from a label image of the region or of the whole image."""
    fit = _check_size(file, region)
    labels = np.maximum(read_labels(file.path, file.planes), 0)
    box = region.box
    if not fit.region_only:
        labels = labels[box.y0 : box.y1, box.x0 : box.x1]
    return Prediction(labels, np.full(int(labels.max(initial=0)), np.nan, np.float32))


@lru_cache(maxsize=1)
def _parsed(file: Path, changed: int) -> ResultOutlines:
    return read_result_outlines(file)


def _outlines(file: Path) -> ResultOutlines:
    """The nuclei of a GeoJSON file, read once while it stays as it is."""
    try:
        return _parsed(file, file.stat().st_mtime_ns)
    except OSError as error:
        raise EntryDataError(file, f"cannot be read ({error.strerror or error})") from error
