"""Which regions show the same tissue: one that is annotated in several images of a slide counts once."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass, replace

import shapely

from ..annotations.same_slide import moved, same_slides
from ..geometry.rectangle import Rectangle
from ..qupath.project import ImageEntry

_SAME = 0.5
"""Two regions are the same tissue if they share this part of the smaller one."""


@dataclass(frozen=True)
class SharedPlace:
    """Where a region is on a slide that several images of a project show.

    slide : the same for all regions of these images.
    area  : the region on the first of them; None where they count coordinates in different ways.
    """

    slide: str
    area: shapely.Geometry | None


def shared_places(
    entries: Sequence[ImageEntry],
    sizes: Mapping[str, tuple[int, int]],
    boxes: Mapping[str, Sequence[Rectangle]],
) -> dict[str, list[SharedPlace]]:
    """The places of the boxes of each image that shows the slide of another one, by the image's id.

    sizes, boxes : of the images, by id; images without are left out.
    """
    known = [replace(entry, size=sizes[entry.id]) for entry in entries if entry.id in boxes]
    places = {}
    for group in same_slides(known):
        for entry in group:
            own = boxes[entry.id]
            there = moved([shapely.box(*box) for box in own], entry, group[0])
            areas = [None] * len(own) if there is None else there
            places[entry.id] = [SharedPlace(group[0].id, area) for area in areas]
    return places


def tissues(
    slides: Sequence[Hashable], images: Sequence[str], areas: Sequence[shapely.Geometry | None]
) -> list[int]:
    """The number of the tissue that each region shows, from 0: the same for one region in several images.

    slides, images, areas : (n,) of the regions; an area is on the slide, None where it is not known.
    """
    numbers: list[int] = []
    on_slide: dict[Hashable, list[int]] = defaultdict(list)
    for row, (slide, image, area) in enumerate(zip(slides, images, areas, strict=True)):
        others = on_slide[slide]
        same = (k for k in others if images[k] != image and _overlap(areas[k], area))
        first = next(same, None)
        numbers.append(max(numbers, default=-1) + 1 if first is None else numbers[first])
        others.append(row)
    return numbers


def _overlap(one: shapely.Geometry | None, other: shapely.Geometry | None) -> bool:
    if one is None or other is None:
        return False
    shared = shapely.area(shapely.intersection(one, other))
    return bool(shared >= _SAME * min(shapely.area(one), shapely.area(other)))
