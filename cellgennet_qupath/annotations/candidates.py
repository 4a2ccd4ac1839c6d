"""Which outlines are nuclei: single parts, each nucleus once, without what cannot be a nucleus."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import shapely
from numpy.typing import NDArray

from ..geometry.lookup import near_each
from ..geometry.overlap import shared_areas
from . import findings as say
from . import outlines
from .findings import Finding
from .outlines import Mask, Overlaps, Shapes, Size, array_of

_COVERS = 0.9
"""Share of a region inside an outline from which the outline holds the region."""
_REPLACED = 0.5
"""Share of a detection, or of an outline of another class, inside a nucleus from which the nucleus counts."""

_OURS, _OTHER, _DETECTION = 0, 1, 2


@dataclass(frozen=True)
class Nuclei:
    """The outlines that count as nuclei.

    shapes   : (n,) Polygons or MultiPolygons without holes, in full-resolution pixels.
    named    : (n,) those with a class; the others are nuclei in regions only.
    doubtful : outlines that may be nuclei but are not known as such: their area is unknown.
    """

    shapes: Shapes
    named: Mask
    doubtful: Shapes


@dataclass(frozen=True)
class _Pieces:
    """Outlines of one part each, with their classes and the rows of the annotations that contain them.

    crumbs : parts too small to be a nucleus.
    """

    shapes: list[shapely.Geometry]
    classes: list[str]
    rows: list[int]
    crumbs: list[shapely.Geometry]


def select_nuclei(
    ours: Sequence[tuple[shapely.Geometry, str]],
    others: Sequence[tuple[shapely.Geometry, str]],
    detections: Shapes,
    regions: Sequence[shapely.Geometry],
    background: Sequence[shapely.Geometry],
    mpp: float | None,
    near_misses: frozenset[str] = frozenset(),
) -> tuple[Nuclei, list[Finding]]:
    """The nuclei among outlines, whatever the order of these.

    ours        : outlines that mean a nucleus, with their classes ("" for none).
    others      : outlines of other classes; those of a nucleus's size in regions or on known background are
                  doubtful.
    detections  : outlines that count where no annotation is.
    regions     : all regions, as drawn.
    near_misses : classes of ``others`` that are reported elsewhere.
    """
    whole = array_of([shape for shape, _ in ours])
    solid = outlines.filled(whole)
    size = outlines.nucleus_size(solid, mpp)
    pieces = _pieces(solid, [name for _, name in ours], size)
    foreign = _pieces(
        outlines.filled(array_of([shape for shape, _ in others])), [name for _, name in others], size
    )
    shapes = array_of([*pieces.shapes, *foreign.shapes, *detections])
    classes = np.array([*pieces.classes, *foreign.classes, *[""] * len(detections)], dtype=object)
    kind = np.repeat([_OURS, _OTHER, _DETECTION], [len(pieces.shapes), len(foreign.shapes), len(detections)])
    areas = shapely.area(shapes)
    large = areas > size.high
    pairs = outlines.overlaps(shapes, large)
    _, near = outlines.inside_and_touching(shapes, regions)
    _, on_background = outlines.inside_and_touching(shapes, background)

    holds_region = _hold_a_region(shapes, areas, regions)
    holds_nuclei = _hold_nuclei(areas, pairs, (areas >= size.low) & ~large, kind) & ~holds_region
    held = holds_region | holds_nuclei
    too_large = large & ~held
    speck = (areas < outlines.SPECK * size.low) & size.absolute & ~held
    candidate = (kind != _OTHER) & ~held & ~too_large & ~speck
    stays = _joined(shapes, areas, pairs, candidate, kind)
    repeats = stays != np.arange(len(shapes))
    kept = candidate & ~repeats
    named = np.zeros(len(shapes), bool)
    np.logical_or.at(named, stays[candidate], classes[candidate] != "")

    other = (kind == _OTHER) & ~held & ~too_large & (near | on_background)
    other &= ~_mostly_inside(areas, pairs, kept)
    ours_here = (kind == _OURS) & (near | (classes != ""))
    doubtful = other | (ours_here & (too_large | speck))
    inner = repeats & (areas < outlines.NUCLEOLUS * areas[stays])
    nuclei = np.flatnonzero(ours_here & (kept | repeats))
    holes = shapely.area(solid) - shapely.area(whole) >= 0.5
    findings = [
        *_divided(np.array(pieces.rows, np.intp)[nuclei], holes),
        *_each(say.holds_region, (ours_here & holds_region).sum()),
        *_each(say.holds_nuclei, (ours_here & holds_nuclei).sum()),
        *_each(say.too_large, (ours_here & too_large).sum()),
        *_each(say.too_small, (ours_here & speck).sum()),
        *_each(say.drawn_twice, (ours_here & repeats & ~inner).sum()),
        *_each(say.inside_nucleus, (ours_here & inner).sum()),
    ]
    counts = Counter(name for name in classes[other] if name not in near_misses)
    findings += [say.other_class(n, name) for name, n in sorted(counts.items())]
    return Nuclei(shapes[kept], named[kept], array_of([*shapes[doubtful], *pieces.crumbs])), findings


def _each(sentence: Callable[[int], Finding], count: int | np.integer) -> list[Finding]:
    return [sentence(int(count))] if count else []


def _pieces(shapes: Shapes, classes: Sequence[str], size: Size) -> _Pieces:
    """Outlines divided into the nuclei that they consist of."""
    out = _Pieces([], [], [], [])
    counts = shapely.get_num_geometries(shapes)
    for row, (shape, name, count) in enumerate(zip(shapes, classes, counts, strict=True)):
        nuclei, crumbs = outlines.split(shape, size) if count > 1 else ([shape], [])
        out.shapes.extend(nuclei)
        out.classes.extend([name] * len(nuclei))
        out.rows.extend([row] * len(nuclei))
        out.crumbs.extend(crumbs)
    return out


def _divided(rows: NDArray[np.intp], holes: Mask) -> list[Finding]:
    """Findings about annotations of several nuclei, and of nuclei with holes.

    rows  : (k,) for each nucleus the row of its annotation.
    holes : for each annotation, whether it has holes.
    """
    row, nuclei = np.unique(rows, return_counts=True)
    several = nuclei > 1
    return [
        *([say.split(int(several.sum()), int(nuclei[several].sum()))] if several.any() else []),
        *_each(say.filled, holes[row].sum()),
    ]


def _hold_a_region(shapes: Shapes, areas: NDArray[np.float64], regions: Sequence[shapely.Geometry]) -> Mask:
    """(n,) which outlines contain a region, or nearly all of it."""
    out = np.zeros(len(shapes), bool)
    if not len(regions) or not len(shapes):
        return out
    drawn = array_of(list(regions))
    least = shapely.area(drawn)
    large = np.flatnonzero(areas >= _COVERS * least.min())
    for row, near in near_each(shapes[large], drawn):
        shared = shared_areas(drawn[near], shapes[large[row]])
        out[large[row]] = (shared >= _COVERS * least[near]).any()
    return out


def _hold_nuclei(areas: NDArray[np.float64], pairs: Overlaps, nuclear: Mask, kind: NDArray[np.intp]) -> Mask:
    """(n,) which outlines hold several nuclei; detections inside an annotation do not count.

    A user joins two detections by drawing one nucleus over both, so they are no reason to doubt it.
    """
    annotated = kind != _DETECTION
    a, b = annotated[pairs.first], annotated[pairs.second]
    return outlines.holders(areas, pairs, nuclear, np.stack([~a | b, ~b | a], axis=1))


def _joined(
    shapes: Shapes, areas: NDArray[np.float64], pairs: Overlaps, candidate: Mask, kind: NDArray[np.intp]
) -> NDArray[np.intp]:
    """(n,) for each outline the row of the outline that stays for it; annotations come before detections."""
    alike = outlines.same(areas, pairs)
    for one, two in ((pairs.first, pairs.second), (pairs.second, pairs.first)):
        replaced = (kind[one] == _DETECTION) & (kind[two] == _OURS)
        alike |= replaced & (pairs.shared >= _REPLACED * areas[one])
    alike &= candidate[pairs.first] & candidate[pairs.second]
    return outlines.join(shapes, areas, kind == _OURS, pairs.first[alike], pairs.second[alike])


def _mostly_inside(areas: NDArray[np.float64], pairs: Overlaps, nuclei: Mask) -> Mask:
    """(n,) which outlines have half of their area or more inside one of the ``nuclei``."""
    out = np.zeros(len(areas), bool)
    for one, two in ((pairs.first, pairs.second), (pairs.second, pairs.first)):
        out[one[nuclei[two] & (pairs.shared >= _REPLACED * areas[one])]] = True
    return out
