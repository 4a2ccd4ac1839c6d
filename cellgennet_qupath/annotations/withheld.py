"""Labels of one image of which an area is withheld from training, or used for validation instead."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import shapely

from .labels import Split, Supervision
from .outlines import array_of, closed_polygons, inside_and_touching


def withhold(supervision: Supervision, areas: Sequence[shapely.Geometry]) -> Supervision:
    """The labels without what is for training in some areas. Nothing there is trained on, labelled or not.

    A nucleus across the border of an area is known as foreground outside of it, but no longer as an object.
    """
    if not areas:
        return supervision
    inside, touching = inside_and_touching(supervision.nuclei, areas)
    free = supervision.validation | ~touching
    cut = touching & ~inside & ~supervision.validation
    area = shapely.union_all(list(areas))
    left = [shapely.difference(region, area) for region in supervision.regions[Split.TRAINING]]
    return replace(
        supervision,
        regions=supervision.regions | {Split.TRAINING: closed_polygons(left)},
        drawn=supervision.drawn | {Split.VALIDATION: [*supervision.drawn[Split.VALIDATION], *areas]},
        nuclei=supervision.nuclei[free],
        scattered=supervision.scattered[free],
        validation=supervision.validation[free],
        cut=array_of([*supervision.cut, *supervision.nuclei[cut]]),
    )


def hold_out(supervision: Supervision, areas: Sequence[shapely.Geometry]) -> Supervision:
    """The labels with those for training in some areas used for validation instead.

    A nucleus across the border of an area is known as an object to neither.
    """
    rest = withhold(supervision, areas)
    if rest is supervision:
        return supervision
    inside, _ = inside_and_touching(supervision.nuclei, areas)
    moved = inside & ~supervision.validation
    area = shapely.union_all(list(areas))
    known = [*supervision.regions[Split.TRAINING], *supervision.background]
    regions = closed_polygons([shapely.intersection(shape, area) for shape in known])
    return replace(
        rest,
        regions=rest.regions | {Split.VALIDATION: [*rest.regions[Split.VALIDATION], *regions]},
        nuclei=array_of([*rest.nuclei, *supervision.nuclei[moved]]),
        scattered=np.append(rest.scattered, supervision.scattered[moved]),
        validation=np.append(rest.validation, np.ones(moved.sum(), bool)),
    )
