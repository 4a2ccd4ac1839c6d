"""Slides as OME-TIFF pyramids with a pixel size, and their true nuclei as label images."""

from __future__ import annotations

import uuid
from pathlib import Path

import numpy as np
import tifffile
from numpy.typing import NDArray
from skimage.draw import polygon as fill_polygon
from skimage.io import imsave
from tissue import Layout, Recipe

_LEVELS = (2, 4)
_TILE = (256, 256)
_QUALITY = 90


def write_slide(path: Path, image: NDArray[np.uint8], recipe: Recipe) -> None:
    """Write an OME-TIFF of JPEG tiles with levels 1, 2 and 4; the same image gives the same bytes."""
    options = {
        "photometric": "rgb",
        "tile": _TILE,
        "compression": "jpeg",
        "compressionargs": {"level": _QUALITY},
    }
    metadata = {
        "Name": recipe.name,
        "PhysicalSizeX": recipe.mpp,
        "PhysicalSizeXUnit": "µm",
        "PhysicalSizeY": recipe.mpp,
        "PhysicalSizeYUnit": "µm",
        "UUID": str(uuid.uuid5(uuid.NAMESPACE_OID, recipe.name)),
        "Creator": "cellgennet_qupath sample_projects/generate.py",
    }
    with tifffile.TiffWriter(path, ome=True) as tiff:
        tiff.write(image, subifds=len(_LEVELS), metadata=metadata, **options)
        for step in _LEVELS:
            tiff.write(_shrink(image, step), subfiletype=1, **options)


def label_image(layout: Layout) -> NDArray[np.uint16]:
    """Labels of all nuclei, 1..n in the order of the layout, 0 elsewhere; pixels belong by their centre."""
    labels = np.zeros((layout.recipe.rows, layout.recipe.columns), np.uint16)
    for number, outline in enumerate(layout.outlines, start=1):
        labels[fill_polygon(outline[:, 1] - 0.5, outline[:, 0] - 0.5, labels.shape)] = number
    return labels


def write_truth(path: Path, labels: NDArray[np.uint16]) -> None:
    """Write a label image as a 16-bit PNG."""
    imsave(path, labels, check_contrast=False)


def _shrink(image: NDArray[np.uint8], step: int) -> NDArray[np.uint8]:
    rows, columns = image.shape[0] // step, image.shape[1] // step
    blocks = image[: rows * step, : columns * step].reshape(rows, step, columns, step, 3)
    means: NDArray[np.float64] = blocks.mean(axis=(1, 3))
    return np.rint(means).astype(np.uint8)
