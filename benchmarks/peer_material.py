"""The labels that ``train_peers.py`` gives to each tool, as folders of TIFF files."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import tifffile
from datasets import TRAINED_ON, LabelledImage, held_out, images, sparse_windows, test_images
from numpy.typing import NDArray

from cellgennet_qupath.annotations.labels import Split
from cellgennet_qupath.geometry.rectangle import Rectangle

SPARSE_10, ALL_LABELS = "sparse-10", "all-labels"
PROTOCOLS = (SPARSE_10, ALL_LABELS)
FOLDERS = {Split.TRAINING: "train", Split.VALIDATION: "validation"}


def file_name(item: LabelledImage) -> str:
    """The file of an image in the material and among the labels that a tool writes."""
    return f"{item.dataset}__{item.name}.tif"


def labelled_parts(root: Path, protocol: str) -> Iterator[tuple[LabelledImage, Rectangle | None, str]]:
    """What a protocol labels: image, window (None for the whole) and the split's folder."""
    if protocol == ALL_LABELS:
        kept = held_out(root, TRAINED_ON)
        for item in images(root, "train", TRAINED_ON):
            yield item, None, FOLDERS[Split.VALIDATION if item in kept else Split.TRAINING]
        return
    for one in sparse_windows(root, protocol):
        if one.split is not None:
            yield one.item, one.box, FOLDERS[one.split]


def cut(array: NDArray[np.generic], box: Rectangle | None) -> NDArray[np.generic]:
    """The part of an image or of labels; a nucleus at its edge is cut like one at the edge of an image."""
    return array if box is None else array[box.y0 : box.y1, box.x0 : box.x1]


def numbered(labels: NDArray[np.generic]) -> NDArray[np.uint16]:
    """Labels from 1 on without gaps."""
    _, numbers = np.unique(np.append(labels.ravel(), 0), return_inverse=True)
    return numbers[:-1].reshape(labels.shape).astype(np.uint16)


def write_material(root: Path, protocol: str, folder: Path) -> None:
    """``train``, ``validation`` and ``test``, with ``images`` and, but for the test, ``labels``."""
    for item, box, split in labelled_parts(root, protocol):
        _write(folder / split / "images" / file_name(item), cut(item.pixels(), box))
        _write(folder / split / "labels" / file_name(item), numbered(cut(item.truth(), box)))
    for item in test_images(root):
        _write(folder / "test" / "images" / file_name(item), item.pixels())


def _write(file: Path, pixels: NDArray[np.generic]) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    tifffile.imwrite(file, pixels, photometric="rgb" if pixels.ndim == 3 else "minisblack")
