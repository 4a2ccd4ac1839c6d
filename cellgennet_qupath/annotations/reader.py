"""The one reader of annotations: every command takes their meaning from here.

The documentation defines the meaning of each class ("What annotations mean"). What cannot be what its class
says is set aside and reported, because drawings contain mistakes.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import numpy as np
import shapely
from numpy.typing import NDArray

from ..core.config import ClassNames
from ..geometry.lookup import near_each
from ..geometry.overlap import shared_areas
from ..qupath.project import Annotation, ImageEntry, ObjectCounts, Project
from . import findings as say
from .candidates import select_nuclei
from .classes import CORRECTED, Role, role_of
from .findings import Finding
from .labels import Split, Supervision
from .outlines import Shapes, array_of, closed, closed_polygons, inside_and_touching
from .sorting import SortedAnnotations, sort_annotations

_DECLARED = 0.9
"""Share of a region that Background must cover to declare that the region has no nuclei."""


def read_supervision(
    project: Project,
    entry: ImageEntry,
    classes: ClassNames,
    size: tuple[int, int] | None = None,
    mpp: float | None = None,
) -> Supervision:
    """The labels of a project's entry (see ``interpret``). Raises EntryDataError."""
    annotations = project.annotations(entry)
    detections = ignored = None
    if any(role_of(annotation.path_class, classes) is Role.CORRECTED for annotation in annotations):
        nuclei = project.checked_detections(entry)
        roles = {name: role_of(name, classes) for name in set(nuclei.classes)}
        role = np.array([roles[name] for name in nuclei.classes], dtype=object)
        first = (nuclei.z == 0) & (nuclei.t == 0)
        ignored = nuclei.polygons[first & (role == Role.IGNORE)]
        detections = nuclei.polygons[first & (role != Role.IGNORE) & (role != Role.BACKGROUND)]
    return interpret(
        annotations,
        classes,
        size=size,
        mpp=mpp,
        detections=detections,
        ignored_detections=ignored,
        counts=lambda: project.counts(entry),
    )


def interpret(
    annotations: Sequence[Annotation],
    classes: ClassNames,
    *,
    size: tuple[int, int] | None = None,
    mpp: float | None = None,
    detections: Shapes | None = None,
    ignored_detections: Shapes | None = None,
    counts: Callable[[], ObjectCounts] = ObjectCounts,
) -> Supervision:
    """Sort annotations by meaning and set aside what cannot be what its class says.

    size       : (width, height) of the image in pixels; annotations are cut at its border. None: unknown.
    mpp        : µm per pixel, which decides what has the size of a nucleus. None: the median outline does.
    detections : outlines of detections, which count in regions of class Corrected.
    ignored_detections : those of an ignored class, which are unknown there, as annotations of that class are.
    counts     : the objects of the image, called only if a region has no outlined nucleus.

    The result does not depend on the order of the annotations, and a nucleus is inside a region if less than
    half a square pixel of it is outside.
    """
    found, findings = sort_annotations(annotations, classes, size)
    parts = {role: _parts(found, role) for role in (Role.TRAINING, Role.CORRECTED, Role.VALIDATION)}
    drawn = {
        Split.TRAINING: [*parts[Role.TRAINING], *parts[Role.CORRECTED]],
        Split.VALIDATION: parts[Role.VALIDATION],
    }
    overlapping = _overlapping(drawn)
    if overlapping:
        findings.append(say.validation_in_training(overlapping, classes.validation, classes.training))
    everywhere = [*drawn[Split.TRAINING], *drawn[Split.VALIDATION]]
    detected = _detected(detections, parts[Role.CORRECTED])
    nuclei, more = select_nuclei(
        found.nuclei, found.others, detected, everywhere, found.background, mpp, found.near_misses
    )
    findings += more

    validation = drawn[Split.VALIDATION]
    left = [*_left(drawn[Split.TRAINING], validation), *validation]
    first = len(drawn[Split.TRAINING])
    training = closed_polygons(left[:first])
    trained, touches_training = inside_and_touching(nuclei.shapes, training)
    validated, touches_validation = inside_and_touching(nuclei.shapes, validation)
    inside, touching = trained | validated, touches_training | touches_validation
    scattered = ~touching & nuclei.named
    stray = ~touching & ~nuclei.named
    if stray.any():
        findings.append(say.outside_regions(int(stray.sum()), classes.detection_class))
    outlined = nuclei.shapes[touching]
    known = _known(array_of(left), outlined, found.background)
    findings += _empty_regions(parts, left, known, classes, counts)
    ignored = [*found.ignored, *found.held_out, *_detected(ignored_detections, parts[Role.CORRECTED])]
    _, under_ignored = inside_and_touching(nuclei.shapes, ignored)
    kept = (inside | scattered) & ~under_ignored
    cut = (touching & ~inside) | (under_ignored & (touching | scattered))
    doubtful = array_of([*nuclei.doubtful, *nuclei.shapes[stray]])
    _, doubted = inside_and_touching(doubtful, [*everywhere, *found.background])
    return Supervision(
        regions={
            Split.TRAINING: closed_polygons(array_of(left)[:first][known[:first]]),
            Split.VALIDATION: list(array_of(left)[first:][known[first:]]),
        },
        drawn=drawn,
        nuclei=nuclei.shapes[kept],
        scattered=scattered[kept],
        validation=validated[kept],
        cut=nuclei.shapes[cut],
        unknown=doubtful[doubted],
        background=found.background,
        ignored=ignored,
        findings=tuple(findings),
    )


def ignored_area(annotations: Sequence[Annotation], classes: ClassNames) -> shapely.Geometry | None:
    """The union of an image's ``Ignore*`` areas, in full-resolution pixels; None without any."""
    found, _ = sort_annotations(annotations, classes, None)
    return shapely.union_all(found.ignored) if found.ignored else None


def _parts(found: SortedAnnotations, *roles: Role) -> list[shapely.Geometry]:
    """The regions of some roles, one polygon for each part: parts far apart are regions of their own."""
    return list(shapely.get_parts([shape for role in roles for shape in found.regions[role]]))


def _overlapping(drawn: dict[Split, list[shapely.Geometry]]) -> int:
    """How many validation regions overlap a training region."""
    _, touching = inside_and_touching(array_of(drawn[Split.VALIDATION]), drawn[Split.TRAINING])
    return int(touching.sum())


def _left(regions: list[shapely.Geometry], others: list[shapely.Geometry]) -> list[shapely.Geometry]:
    """For each region the part of it that is outside the others, which may be empty."""
    if not regions or not others:
        return regions
    left, taken = array_of(regions), array_of(others)
    for row, near in near_each(left, taken):
        left[row] = shapely.difference(left[row], shapely.union_all(taken[near]))
    return list(left)


def _detected(detections: Shapes | None, corrected: list[shapely.Geometry]) -> Shapes:
    """The detections that overlap a Corrected region."""
    if detections is None or not len(detections) or not corrected:
        return array_of([])
    shapes = closed(detections)
    shapes = shapes[np.array([shape is not None for shape in shapes])]
    _, touching = inside_and_touching(shapes, corrected)
    touched: Shapes = shapes[touching]
    return touched


def _known(regions: Shapes, nuclei: Shapes, background: list[shapely.Geometry]) -> NDArray[np.bool_]:
    """(n,) which regions have an outlined nucleus of their own, or are declared to have none.

    A nucleus across the border of two regions is outlined for the one that holds more of it: a rectangle
    that nobody has annotated yet is not known because nuclei of the rectangle beside it reach into it.
    """
    known = np.zeros(len(regions), bool)
    if not len(regions):
        return known
    if len(nuclei):
        shares = [
            (row, near, shared_areas(nuclei[near], regions[row])) for row, near in near_each(regions, nuclei)
        ]
        most = np.full(len(nuclei), 1.0)
        for _, near, shared in shares:
            most[near] = np.maximum(most[near], shared)
        for row, near, shared in shares:
            known[row] = bool((shared >= most[near] - 0.5).any())
    if background:
        covered = shared_areas(regions, shapely.union_all(background))
        known |= covered >= _DECLARED * shapely.area(regions)
    return known


def _empty_regions(
    parts: Mapping[Role, Sequence[shapely.Geometry]],
    left: Sequence[shapely.Geometry],
    known: NDArray[np.bool_],
    classes: ClassNames,
    counts: Callable[[], ObjectCounts],
) -> list[Finding]:
    """Findings about regions without an outlined nucleus.

    left, known : for the regions of all ``parts``, what is left of each, and whether it is known.
    """
    names = {
        Role.TRAINING: classes.training,
        Role.CORRECTED: CORRECTED,
        Role.VALIDATION: classes.validation,
    }
    role = np.repeat(np.arange(len(parts)), [len(regions) for regions in parts.values()])
    missing = ~known & (shapely.area(array_of(left)) >= 0.5)
    empty = {names[one]: int(missing[role == number].sum()) for number, one in enumerate(parts)}
    empty = {name: n for name, n in empty.items() if n}
    if not empty:
        return []
    objects = counts()
    return [
        say.empty_region(n, name, classes.background, objects.detections, objects.cells)
        for name, n in empty.items()
    ]
