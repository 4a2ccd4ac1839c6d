"""Images with instance labels (``DATASET/images/*.png``, ``DATASET/labels/*.png``) as training data."""

from __future__ import annotations

import csv
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from types import MappingProxyType

import cv2
import numpy as np
from numpy.typing import NDArray

from cellgennet_qupath.annotations.labels import UNKNOWN, LabelRasters, Split
from cellgennet_qupath.annotations.windows import LabelledWindow
from cellgennet_qupath.core.config import NormalisationConfig
from cellgennet_qupath.geometry.contours import label_polygons
from cellgennet_qupath.geometry.coordinates import grid_size
from cellgennet_qupath.geometry.raster import rasterize
from cellgennet_qupath.geometry.rectangle import Rectangle
from cellgennet_qupath.slides.normalisation import estimate
from cellgennet_qupath.slides.reader import open_slide
from cellgennet_qupath.slides.tissue import tissue_mask
from cellgennet_qupath.training.data import TrainingData, UnlabelledTile

Maps = NDArray[np.float32]
WINDOW = 160
MARGIN = 64
MPP = 0.25
TRAINED_ON = ("nuinsseg", "tnbc")
"""The data sets of the protocols with few labels; the third is only tested on."""


def _read(file: Path, flags: int) -> NDArray[np.generic]:
    image = cv2.imread(str(file), flags)
    if image is None:
        raise SystemExit(f"{file} cannot be read")
    return image


@dataclass(frozen=True)
class LabelledImage:
    """One image: uint8 (rows, columns, 3) RGB and int32 labels (rows, columns)."""

    dataset: str
    name: str
    image: Path
    labels: Path

    def pixels(self) -> NDArray[np.uint8]:
        return np.ascontiguousarray(_read(self.image, cv2.IMREAD_COLOR)[..., ::-1], np.uint8)

    def truth(self) -> NDArray[np.int32]:
        return _read(self.labels, cv2.IMREAD_UNCHANGED).astype(np.int32)

    @property
    def shape(self) -> tuple[int, int]:
        """Rows and columns, without reading the pixels."""
        with open_slide(self.image) as reader:
            return reader.height, reader.width

    def normalised(self, mpp: float = MPP) -> NDArray[np.float32]:
        """The picture as a slide's tile of ``mpp`` would reach the network."""
        step = mpp / MPP
        with open_slide(self.image) as reader:
            normalisation = estimate(reader, step, NormalisationConfig(), tissue_mask(reader))
            columns, rows = grid_size(reader.width, reader.height, step)
            return normalisation.apply(reader.read_grid(0, 0, columns, rows, step))

    def objects(self, mpp: float = MPP) -> NDArray[np.int32]:
        """The labels on the grid of ``normalised``."""
        truth, step = self.truth(), mpp / MPP
        if step == 1:
            return truth
        columns, rows = grid_size(truth.shape[1], truth.shape[0], step)
        return rasterize(label_polygons(truth), (rows, columns), step)


def images(root: Path, split: str, datasets: Sequence[str]) -> list[LabelledImage]:
    """The images of a split, by data set and file name, as the manifest lists them."""
    with (root / "manifest.csv").open(encoding="utf-8", newline="") as file:
        rows = [row for row in csv.DictReader(file) if row["split"] == split and row["dataset"] in datasets]
    rows.sort(key=lambda row: (datasets.index(row["dataset"]), row["file"]))
    return [
        LabelledImage(
            row["dataset"],
            Path(row["file"]).stem,
            root / "nuclei" / row["dataset"] / "images" / row["file"],
            (root / "nuclei" / row["dataset"] / "labels" / row["file"]).with_suffix(".png"),
        )
        for row in rows
    ]


@dataclass(frozen=True)
class _ImageTile:
    item: LabelledImage
    labelled: Rectangle | None
    mpp: float

    def read(self) -> UnlabelledTile:
        image = self.item.normalised(self.mpp)
        usable = np.ones(image.shape[:2], bool)
        if self.labelled is not None:
            usable &= ~_on_grid(_region(self.item.shape, self.labelled), usable.shape)
        rows, columns = (length // 2 * 2 for length in image.shape[:2])
        return UnlabelledTile(image[:rows, :columns], usable[:rows, :columns], self.item.name)


def validates(number: int) -> bool:
    """Whether the train image of this number is kept for validation."""
    return number % 10 == 9


def labelled(item: LabelledImage, split: Split, mpp: float = MPP) -> LabelledWindow:
    """A whole image with all its labels, on the grid of ``mpp``."""
    objects = item.objects(mpp)
    rows, columns = objects.shape
    return LabelledWindow(
        item.normalised(mpp),
        LabelRasters(objects, (objects > 0).astype(np.int8), np.zeros(objects.shape, bool)),
        Rectangle(0, 0, columns, rows),
        split,
        item.name,
    )


def labelled_part(item: LabelledImage, box: Rectangle, mpp: float = MPP) -> LabelledWindow:
    """A window of an image in which every nucleus is outlined, to train on; ``box`` in the image's pixels."""
    return _window(item, box, Split.TRAINING, mpp)


def overlapping_groups(root: Path) -> dict[str, str]:
    """The group of each field that shares tissue with another one, directly or by way of a third, by name."""
    group: dict[str, str] = {}
    with (root / "overlapping_pairs.csv").open(encoding="utf-8", newline="") as file:
        for row in csv.DictReader(file):
            # The pairs list every field as PNG, also where DATA has it as JPEG.
            one, other = Path(row["a"]).stem, Path(row["b"]).stem
            joined = {group.get(one, one), group.get(other, other)}
            name = min(joined)
            group |= {field: name for field, of in group.items() if of in joined}
            group |= {one: name, other: name}
    return group


def held_out(root: Path, datasets: Sequence[str]) -> list[LabelledImage]:
    """Every tenth train image, and the train images that share tissue with one of them."""
    everything = images(root, "train", datasets)
    groups = overlapping_groups(root)
    kept = {groups.get(item.name, item.name) for n, item in enumerate(everything) if validates(n)}
    return [item for item in everything if groups.get(item.name, item.name) in kept]


def with_soft_labels(window: LabelledWindow, maps: Maps) -> LabelledWindow:
    """The window of a whole image with maps of it, at any resolution, beside its labels."""
    rows, columns = window.shape
    maps = np.asarray(cv2.resize(maps, (columns, rows), interpolation=cv2.INTER_LINEAR), np.float32)
    labels = replace(window.labels, soft=np.rint(maps * 255).astype(np.uint8))
    return replace(window, labels=labels)


def labelled_everywhere(
    root: Path,
    datasets: Sequence[str],
    mpp: float = MPP,
    opinion: Callable[[LabelledImage], Maps] | None = None,
    emphasis: Mapping[str, int] = MappingProxyType({}),
) -> TrainingData:
    """All labels of the train images; those of ``held_out`` are for validation.

    opinion  : maps of an image to learn beside its labels.
    emphasis : how much more often than others the images of a data set are drawn.
    """
    kept = held_out(root, datasets)
    return labelled_data(
        [(item, item in kept) for item in images(root, "train", datasets)], mpp, opinion, emphasis
    )


def labelled_data(
    items: Sequence[tuple[LabelledImage, bool]],
    mpp: float,
    opinion: Callable[[LabelledImage], Maps] | None,
    emphasis: Mapping[str, int],
) -> TrainingData:
    """All labels of images, each with whether it is for validation.

    opinion, emphasis : as for ``labelled_everywhere``.
    """
    training: list[LabelledWindow] = []
    validation: list[LabelledWindow] = []
    for item, validating in items:
        if validating:
            validation.append(labelled(item, Split.VALIDATION, mpp))
        else:
            window = labelled(item, Split.TRAINING, mpp)
            if opinion is not None:
                window = with_soft_labels(window, opinion(item))
            training += [window] * emphasis.get(item.dataset, 1)
    return TrainingData(mpp, len(items), training, validation, [])


@dataclass(frozen=True)
class SparseWindow:
    """The window drawn in a train image; ``split`` is None where a protocol leaves it unlabelled."""

    item: LabelledImage
    box: Rectangle
    split: Split | None


def sparse_windows(root: Path, protocol: str) -> list[SparseWindow]:
    """One window for each nuinsseg and tnbc train image, and what the protocol labels it for.

    sparse-10 : every window is labelled exhaustively; every tenth one is for validation.
    sparse-1  : only every tenth of those windows, every fifth of them for validation.
    """
    rng = np.random.default_rng(0)
    drawn = []
    for number, item in enumerate(images(root, "train", TRAINED_ON)):
        rows, columns = item.truth().shape
        x = int(rng.integers(0, columns - WINDOW, endpoint=True))
        y = int(rng.integers(0, rows - WINDOW, endpoint=True))
        drawn.append(
            SparseWindow(item, Rectangle.of_size(x, y, WINDOW, WINDOW), _sparse_split(number, protocol))
        )
    return drawn


def _sparse_split(number: int, protocol: str) -> Split | None:
    if protocol == "sparse-1":
        if number % 10:
            return None
        return Split.VALIDATION if number // 10 % 5 == 4 else Split.TRAINING
    return Split.VALIDATION if validates(number) else Split.TRAINING


def sparse_data(root: Path, protocol: str, mpp: float = MPP) -> TrainingData:
    """Training data of a protocol of ``sparse_windows`` on the grid of ``mpp``; the rest are tiles."""
    training: list[LabelledWindow] = []
    validation: list[LabelledWindow] = []
    tiles: list[_ImageTile] = []
    drawn = sparse_windows(root, protocol)
    for one in drawn:
        if one.split is not None:
            window = _window(one.item, one.box, one.split, mpp)
            (validation if one.split is Split.VALIDATION else training).append(window)
        tiles.append(_ImageTile(one.item, None if one.split is None else one.box, mpp))
    return TrainingData(mpp, len(drawn), training, validation, tiles)


def _region(shape: tuple[int, ...], box: Rectangle) -> NDArray[np.bool_]:
    region = np.zeros(shape, bool)
    region[box.y0 : box.y1, box.x0 : box.x1] = True
    return region


def _on_grid(mask: NDArray[np.bool_], shape: tuple[int, ...]) -> NDArray[np.bool_]:
    """A mask of an image's pixels at the centres of the samples of a grid over the image."""
    y, x = (
        ((np.arange(n) + 0.5) * pixels / n).astype(int) for n, pixels in zip(shape, mask.shape, strict=True)
    )
    return mask[np.ix_(y, x)]


def _window(item: LabelledImage, box: Rectangle, split: Split, mpp: float) -> LabelledWindow:
    truth, grid, step = item.truth(), item.objects(mpp), mpp / MPP
    region = _region(truth.shape, box)
    cut = np.setdiff1d(truth[~region], [0])
    known = _on_grid(region, grid.shape)
    objects = np.where(known, grid, UNKNOWN).astype(np.int32)
    objects[known & np.isin(grid, cut)] = UNKNOWN
    foreground = np.where(known, grid > 0, UNKNOWN).astype(np.int8)
    (rows, columns), margin = grid.shape, round(MARGIN / step)
    y0, y1 = max(0, round(box.y0 / step) - margin), min(rows, round(box.y1 / step) + margin)
    x0, x1 = max(0, round(box.x0 / step) - margin), min(columns, round(box.x1 / step) + margin)
    part = np.s_[y0:y1, x0:x1]
    return LabelledWindow(
        item.normalised(mpp)[part],
        LabelRasters(objects[part], foreground[part], np.zeros(objects[part].shape, bool)),
        Rectangle(x0, y0, x1, y1),
        split,
        item.name,
    )


def development_images(root: Path) -> list[LabelledImage]:
    """The whole train images by which settings are chosen; no protocol of few labels trains on any."""
    return [item for number, item in enumerate(images(root, "train", TRAINED_ON)) if validates(number)]


def test_images(root: Path) -> Iterator[LabelledImage]:
    """The test images of all three data sets."""
    yield from images(root, "test", ["nuinsseg", "tnbc", "dsb2018_purple"])
