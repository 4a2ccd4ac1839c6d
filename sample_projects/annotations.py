"""The annotations a pathologist would draw: a few regions with every nucleus outlined, and little else."""

from __future__ import annotations

import uuid
from dataclasses import dataclass
from typing import Literal

import numpy as np
import shapely
from numpy.typing import NDArray
from tissue import Layout

CLASSES = {
    "Training": (255, 200, 0),
    "Validation": (0, 160, 255),
    "Nucleus": (60, 160, 60),
    "Background": (120, 120, 120),
    "Ignore*": (180, 180, 180),
}
"""The project's classes and their colours."""


@dataclass(frozen=True)
class Drawn:
    """One annotation in full-resolution pixels.

    shape  : rectangles and ellipses are given by their bounds, polygons by their outline.
    locked : True for regions, so that nobody moves them by accident.
    """

    shape: Literal["rectangle", "ellipse", "polygon"]
    points: NDArray[np.float64]
    path_class: str = ""
    locked: bool = False

    @property
    def id(self) -> str:
        """An object id that depends only on the annotation itself."""
        key = f"{self.shape} {self.path_class} {np.round(self.points, 2).tolist()}"
        return str(uuid.uuid5(uuid.NAMESPACE_OID, key))


@dataclass(frozen=True)
class Plan:
    """The annotations of a slide; rectangles and ellipses as (x, y, width, height) in pixels.

    scattered : number of outlined nuclei of class Nucleus, far from all regions.
    """

    training: tuple[tuple[int, int, int, int], ...] = ()
    validation: tuple[tuple[int, int, int, int], ...] = ()
    ignore: tuple[tuple[int, int, int, int], ...] = ()
    background: tuple[tuple[tuple[int, int], ...], ...] = ()
    scattered: int = 0


PLANS = {
    "slide1_glands": Plan(
        training=((410, 540, 240, 240), (180, 60, 224, 200)),
        background=(((880, 455), (925, 462), (918, 500), (895, 508), (886, 490)),),
    ),
    "slide2_inflamed": Plan(training=((130, 60, 220, 220),), validation=((270, 610, 256, 240),), scattered=7),
    "slide3_nests": Plan(training=((980, 340, 400, 384),), ignore=((1000, 310, 110, 150),)),
    "slide4_mixed": Plan(),
}


def draw(layout: Layout) -> list[Drawn]:
    """The annotations of a slide, regions first."""
    plan = PLANS[layout.recipe.name]
    drawn = [Drawn("rectangle", _corners(r), "Training", locked=True) for r in plan.training]
    drawn += [Drawn("rectangle", _corners(r), "Validation", locked=True) for r in plan.validation]
    regions = shapely.union_all([shapely.box(*d.points.ravel()) for d in drawn])

    outlines = [np.round(outline, 2) for outline in layout.outlines]
    polygons = shapely.polygons([np.vstack([o, o[:1]]) for o in outlines])
    inside = np.flatnonzero(shapely.area(shapely.intersection(polygons, regions)) > 1)
    drawn += [Drawn("polygon", outlines[i]) for i in inside]

    drawn += [Drawn("ellipse", _corners(e), "Ignore*") for e in plan.ignore]
    for points in plan.background:
        empty = shapely.Polygon(points)
        if shapely.intersects(polygons, empty).any():
            raise ValueError(f"{layout.recipe.name}: the background contains a nucleus")
        drawn.append(Drawn("polygon", np.array(points, float), "Background"))

    if plan.scattered:
        rng = np.random.default_rng([layout.recipe.seed, 4])
        far = np.flatnonzero(shapely.distance(polygons, regions) > 40)
        chosen = rng.choice(far, plan.scattered, replace=False)
        drawn += [Drawn("polygon", outlines[i], "Nucleus") for i in sorted(chosen)]
    return drawn


def _corners(bounds: tuple[int, int, int, int]) -> NDArray[np.float64]:
    x, y, width, height = bounds
    return np.array([[x, y], [x + width, y + height]], float)
