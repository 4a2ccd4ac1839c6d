"""The one reader of annotations: every command takes their meaning from here.

The documentation defines the meaning of each class ("What annotations mean"). What cannot be what its class
says is set aside and reported, because drawings contain mistakes.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import shapely

from ..core.config import ClassNames
from ..geometry.lookup import near_each
from ..geometry.overlap import shared_areas
from ..qupath.project import Annotation, ImageEntry, ObjectCounts, Project
from . import findings as say
from .candidates import select_nuclei
from .classes import CORRECTED, Role, role_of
from .findings import Finding
from .labels import Split, Supervision
from .outlines import Shapes, array_of, closed, inside_and_touching
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
    detections = None
    if any(role_of(annotation.path_class, classes) is Role.CORRECTED for annotation in annotations):
        nuclei = project.checked_detections(entry)
        detections = nuclei.polygons[(nuclei.z == 0) & (nuclei.t == 0)]
    return interpret(
        annotations, classes, size=size, mpp=mpp, detections=detections, counts=lambda: project.counts(entry)
    )


def interpret(
    annotations: Sequence[Annotation],
    classes: ClassNames,
    *,
    size: tuple[int, int] | None = None,
    mpp: float | None = None,
    detections: Shapes | None = None,
    counts: Callable[[], ObjectCounts] = ObjectCounts,
) -> Supervision:
    """Sort annotations by meaning and set aside what cannot be what its class says.

    size       : (width, height) of the image in pixels; annotations are cut at its border. None: unknown.
    mpp        : µm per pixel, which decides what has the size of a nucleus. None: the median outline does.
    detections : outlines of detections, which count in regions of class Corrected.
    counts     : the objects of the image, called only if a region has no outlined nucleus.

    The result does not depend on the order of the annotations, and a nucleus is inside a region if less than
    half a square pixel of it is outside.
    """
    found, findings = sort_annotations(annotations, classes, size)
    drawn = {
        Split.TRAINING: _parts(found, Role.TRAINING, Role.CORRECTED),
        Split.VALIDATION: _parts(found, Role.VALIDATION),
    }
    overlapping = _overlapping(drawn)
    if overlapping:
        findings.append(say.validation_in_training(overlapping, classes.validation, classes.training))
    everywhere = [*drawn[Split.TRAINING], *drawn[Split.VALIDATION]]
    detected = _detected(detections, _parts(found, Role.CORRECTED))
    nuclei, more = select_nuclei(
        found.nuclei, found.others, detected, everywhere, found.background, mpp, found.near_misses
    )
    findings += more

    validation = drawn[Split.VALIDATION]
    training = _without(drawn[Split.TRAINING], validation)
    trained, touches_training = inside_and_touching(nuclei.shapes, training)
    validated, touches_validation = inside_and_touching(nuclei.shapes, validation)
    inside, touching = trained | validated, touches_training | touches_validation
    scattered = ~touching & nuclei.named
    stray = ~touching & ~nuclei.named
    if stray.any():
        findings.append(say.outside_regions(int(stray.sum()), classes.detection_class))
    outlined = nuclei.shapes[touching]
    findings += _empty_regions(found, outlined, classes, counts)
    ignored = [*found.ignored, *found.held_out]
    _, under_ignored = inside_and_touching(nuclei.shapes, ignored)
    kept = (inside | scattered) & ~under_ignored
    cut = (touching & ~inside) | (under_ignored & (touching | scattered))
    doubtful = array_of([*nuclei.doubtful, *nuclei.shapes[stray]])
    _, doubted = inside_and_touching(doubtful, [*everywhere, *found.background])
    return Supervision(
        regions={
            Split.TRAINING: _without(_known(drawn[Split.TRAINING], outlined, found.background), validation),
            Split.VALIDATION: _known(validation, outlined, found.background),
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


def _without(regions: list[shapely.Geometry], others: list[shapely.Geometry]) -> list[shapely.Geometry]:
    """The parts of regions that are outside the others."""
    if not regions or not others:
        return regions
    left, taken = array_of(regions), array_of(others)
    for row, near in near_each(left, taken):
        left[row] = shapely.difference(left[row], shapely.union_all(taken[near]))
    return list(shapely.get_parts([shape for shape in closed(left) if shape is not None]))


def _detected(detections: Shapes | None, corrected: list[shapely.Geometry]) -> Shapes:
    """The detections that overlap a Corrected region."""
    if detections is None or not len(detections) or not corrected:
        return array_of([])
    shapes = closed(detections)
    shapes = shapes[np.array([shape is not None for shape in shapes])]
    _, touching = inside_and_touching(shapes, corrected)
    touched: Shapes = shapes[touching]
    return touched


def _known(
    regions: list[shapely.Geometry], nuclei: Shapes, background: list[shapely.Geometry]
) -> list[shapely.Geometry]:
    """The regions with an outlined nucleus, and those that are declared to have none."""
    if not regions:
        return []
    shapes = array_of(regions)
    known = np.zeros(len(shapes), bool)
    if len(nuclei):
        for row, near in near_each(shapes, nuclei):
            known[row] = bool((shared_areas(nuclei[near], shapes[row]) >= 0.5).any())
    if background:
        covered = shared_areas(shapes, shapely.union_all(background))
        known |= covered >= _DECLARED * shapely.area(shapes)
    return list(shapes[known])


def _empty_regions(
    found: SortedAnnotations, nuclei: Shapes, classes: ClassNames, counts: Callable[[], ObjectCounts]
) -> list[Finding]:
    names = {
        Role.TRAINING: classes.training,
        Role.CORRECTED: CORRECTED,
        Role.VALIDATION: classes.validation,
    }
    empty = {}
    for role, name in names.items():
        regions = _parts(found, role)
        missing = len(regions) - len(_known(regions, nuclei, found.background))
        if missing:
            empty[name] = missing
    if not empty:
        return []
    objects = counts()
    return [
        say.empty_region(n, name, classes.background, objects.detections, objects.cells)
        for name, n in empty.items()
    ]
