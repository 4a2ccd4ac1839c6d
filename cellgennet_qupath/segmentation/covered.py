"""In which part of an image nuclei were looked for: what its number of nuclei and its density are about."""

from __future__ import annotations

from collections.abc import Iterable

import shapely

from ..qupath.project import Annotation, Core, Within
from .plan import union_of
from .record import Record


def covered_text(area: shapely.Geometry, size: tuple[int, int], restricted: bool) -> str:
    """An area of an image as a record keeps it: well-known text, "" for the whole image.

    restricted : the run looked inside some objects only. The text is then never empty, because early records
                 of such runs, which did not keep the area, have an empty one.
    """
    whole = shapely.box(0, 0, *size)
    if shapely.covers(area, whole):
        return shapely.to_wkt(whole) if restricted else ""
    text: str = shapely.to_wkt(area, rounding_precision=2)
    return text


def covered_area(
    record: Record | None, size: tuple[int, int], objects: Iterable[Annotation]
) -> shapely.Geometry | None:
    """The part of an image in which the nuclei that it has were looked for, in full-resolution pixels.

    It is that of the time of the segmentation, whatever happened to annotations since.

    objects : the image's annotations and cores, for records of versions that did not keep the area.

    None if it is not known.
    """
    whole = shapely.box(0, 0, *size)
    if record is None:
        return whole
    if record.covered:
        try:
            kept = shapely.make_valid(shapely.from_wkt(record.covered))
        except shapely.errors.GEOSException:
            return None
        return shapely.intersection(whole, kept)
    if record.within is None and not record.inside:
        return whole
    wanted = Within(record.within)
    inside = union_of(
        one
        for one in objects
        if one.id in record.inside or (wanted.is_of_class(one.path_class) and not isinstance(one, Core))
    )
    return None if inside is None else shapely.intersection(whole, inside)
