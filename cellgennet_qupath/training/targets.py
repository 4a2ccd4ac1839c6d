"""What the networks are to predict, made from label rasters."""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from ..annotations.labels import UNKNOWN
from ..networks.stardist_process import StarDistBatch
from .patches import INNER, Patch


def objectness(objects: NDArray[np.int32]) -> NDArray[np.float32]:
    """Object probability of StarDist: distance to the nucleus' border over the largest in that nucleus.

    objects : (rows, columns) labels, -1 unknown. Returns float32, 0 on background and -1 where unknown.
    Schmidt et al., "Cell Detection with Star-convex Polygons", MICCAI 2018.
    """
    out = np.where(objects == UNKNOWN, -1.0, 0.0).astype(np.float32)
    for label, bounds in enumerate(ndimage.find_objects(np.maximum(objects, 0)), start=1):
        if bounds is None:
            continue
        around = tuple(slice(max(0, s.start - 1), s.stop + 1) for s in bounds)
        inside = objects[around] == label
        # Not OpenCV's transform: on several threads its last digit changes from run to run.
        distance = ndimage.distance_transform_edt(np.pad(inside, 1))[1:-1, 1:-1]
        out[around][inside] = (distance / distance.max())[inside]
    return out


SOFT_SHARE = 0.5
"""The weight of a model's soft labels where a patch has them beside its labels."""


def student_targets(patch: Patch) -> NDArray[np.float32]:
    """Foreground and object probability for the student, float32 (rows, columns, 2), -1 where unknown.

    y = (1 - a) h + a q where a patch has soft labels q beside its labels h, a = ``SOFT_SHARE``; else h. What
    is unknown stays unknown. Hinton et al., "Distilling the knowledge in a neural network", 2015.
    """
    hard = np.stack([patch.foreground.astype(np.float32), objectness(patch.objects)], axis=-1)
    if patch.soft is None:
        return hard
    mixed = (1 - SOFT_SHARE) * hard + SOFT_SHARE * patch.soft
    return np.where(hard == UNKNOWN, hard, mixed).astype(np.float32)


TOUCHING = {1: 2, 2: 3}
"""Samples between nuclei that nearly touch, by the student's stride: about 1.5 of its maps."""


def touching(objects: NDArray[np.int32], reach: int) -> NDArray[np.bool_]:
    """Where two nuclei touch or nearly touch: samples with two nuclei within ``reach``, in a square around.

    objects : (rows, columns) labels, -1 unknown. Returns bool (rows, columns).
    """
    known = np.maximum(objects, 0).astype(np.float32)
    square = np.ones((2 * reach + 1, 2 * reach + 1), np.uint8)
    above = known.max() + 1
    highest = cv2.dilate(known, square)
    lowest = above - cv2.dilate(np.where(known > 0, above - known, np.float32(0)), square)
    return np.asarray((highest > 0) & (lowest < highest), np.bool_)


RAYS = 16
"""Directions in which the auxiliary task measures a nucleus."""
UNIT = 8
"""Samples that are 1 in the auxiliary task's distances: about a nucleus' radius."""
GEOMETRY = 2 + RAYS
GEOMETRY_STRIDE = 2
"""Samples of the image per sample of the auxiliary task: the stride of the network's last features."""


def geometry(objects: NDArray[np.int32]) -> NDArray[np.float32]:
    """The nucleus around each sample: the vector to its centre, and the distances to its border.

    objects : (rows, columns) labels, -1 unknown; even sizes.
    Returns float32 (rows / 2, columns / 2, ``GEOMETRY``) in units of ``UNIT`` samples, for the upper left one
    of each 2 x 2 samples: rows and columns to the centroid, then StarDist's distances along ``RAYS`` rays; 0
    outside nuclei. Schmidt et al., "Cell Detection with Star-convex Polygons", MICCAI 2018; vectors after
    Neven et al., "Instance segmentation by jointly optimizing spatial embeddings", CVPR 2019.
    """
    # Neither this import nor what it pulls in is TensorFlow.
    from stardist.geometry import star_dist

    nuclei = np.maximum(objects, 0)
    count = int(nuclei.max()) + 1
    size = np.maximum(np.bincount(nuclei.ravel(), minlength=count), 1)
    places = np.indices(nuclei.shape)
    centres = [np.bincount(nuclei.ravel(), places[axis].ravel(), count) / size for axis in (0, 1)]
    step = slice(None, None, GEOMETRY_STRIDE)
    at = nuclei[step, step]
    vector = [centres[axis][at] - places[axis, step, step] for axis in (0, 1)]
    rays = star_dist(nuclei, RAYS, grid=(GEOMETRY_STRIDE,) * 2, mode="cpp")
    out = np.dstack([*vector, rays]) / UNIT
    out[at == 0] = 0
    return np.asarray(out, np.float32)


def stardist_batch(patches: Sequence[Patch], rays: int, grid: int) -> StarDistBatch:
    """The inner part of patches with StarDist's targets; the ``CONTEXT`` around shows where outlines end."""
    # Neither this import nor what it pulls in is TensorFlow.
    from stardist.geometry import star_dist

    prob, dist = [], []
    for patch in patches:
        nuclei = np.maximum(patch.objects, 0)
        prob.append(objectness(patch.objects)[INNER, INNER][::grid, ::grid])
        dist.append(np.asarray(star_dist(nuclei, rays, mode="cpp")[INNER, INNER][::grid, ::grid], np.float32))
    probability = np.stack(prob)[..., None]
    weight = np.maximum(probability, 0)
    image = np.stack([patch.image[INNER, INNER] for patch in patches])
    return StarDistBatch(image, probability, np.concatenate([np.stack(dist), weight], axis=-1))


def mean_radius(batch: StarDistBatch) -> float | None:
    """The mean distance to the border over all rays and nuclei, in pixels; None without any nucleus."""
    inside = batch.prob[..., 0] > 0
    return float(batch.dist[..., :-1][inside].mean()) if inside.any() else None
