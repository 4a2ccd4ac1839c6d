"""Annotations sorted by the role of their class; what has no area or is off the image is left out."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import shapely
from numpy.typing import NDArray

from ..core.config import ClassNames
from ..qupath.project import Annotation
from . import findings as say
from .classes import Role, near_miss, role_of
from .findings import Finding
from .outlines import Shapes, array_of, closed, separate

_OFF = 0.01
"""Share of an annotation beyond the image from which it is reported; rounding makes less."""


@dataclass
class SortedAnnotations:
    """Closed annotations of an image by role, as valid Polygons and MultiPolygons.

    nuclei, others : shapes with their classes; ``others`` have classes that are not ours, or nearly ours.
    held_out       : areas of classes that are nearly those of ignored areas or of validation regions.
    near_misses    : the classes that are nearly ours.
    """

    regions: dict[Role, list[shapely.Geometry]] = field(
        default_factory=lambda: {Role.TRAINING: [], Role.VALIDATION: [], Role.CORRECTED: []}
    )
    background: list[shapely.Geometry] = field(default_factory=list)
    ignored: list[shapely.Geometry] = field(default_factory=list)
    held_out: list[shapely.Geometry] = field(default_factory=list)
    nuclei: list[tuple[shapely.Geometry, str]] = field(default_factory=list)
    others: list[tuple[shapely.Geometry, str]] = field(default_factory=list)
    near_misses: frozenset[str] = frozenset()


def sort_annotations(
    annotations: Sequence[Annotation],
    classes: ClassNames,
    size: tuple[int, int] | None,
) -> tuple[SortedAnnotations, list[Finding]]:
    """The annotations of the first plane by role, cut at the image's border (``size``: width, height)."""
    names = {annotation.path_class for annotation in annotations}
    roles = {name: role_of(name, classes) for name in names}
    misses = {
        name: miss
        for name in names
        if roles[name] is Role.OTHER and (miss := near_miss(name, classes)) is not None
    }
    ours = {name for name in names if roles[name] not in (Role.OTHER, Role.SUGGESTED)}
    first = [
        a for a in annotations if not (a.plane.z or a.plane.t) and roles[a.path_class] is not Role.SUGGESTED
    ]
    findings = []
    elsewhere = sum(1 for a in annotations if (a.plane.z or a.plane.t) and a.path_class in ours)
    if elsewhere:
        findings.append(say.other_plane(elsewhere))
    counts = Counter(a.path_class for a in annotations if a.path_class in misses)
    findings += [say.near_miss_class(n, name, *misses[name]) for name, n in sorted(counts.items())]
    shapes, written, more = _separated(first, roles)
    findings += more
    shapes = closed(shapes)
    flat = np.array([shape is None for shape in shapes], bool)
    findings += [say.no_area(n, name) for name, n in _counted(written[flat], ours)]
    shapes, written = shapes[~flat], written[~flat]
    if size is not None:
        shapes, written, more = _on_image(shapes, written, size, ours | set(misses))
        findings += more
    return _by_role(shapes, written, roles, {name: role for name, (role, _) in misses.items()}), findings


def _separated(
    annotations: Sequence[Annotation], roles: dict[str, Role]
) -> tuple[Shapes, NDArray[np.object_], list[Finding]]:
    """Shapes with their classes; nuclei that other tools merged into one outline are separated."""
    shapes: list[shapely.Geometry] = []
    names: list[str] = []
    merged = nuclei = 0
    for annotation in annotations:
        role = roles[annotation.path_class]
        single = role in (Role.NUCLEUS, Role.OTHER)
        parts = list(separate(annotation.geometry)) if single else [annotation.geometry]
        shapes += parts
        names += [annotation.path_class] * len(parts)
        if role is Role.NUCLEUS and len(parts) > 1:
            merged, nuclei = merged + 1, nuclei + len(parts)
    findings = [say.split(merged, nuclei)] if merged else []
    return array_of(shapes), np.array(names, dtype=object), findings


def _by_role(
    shapes: Shapes, names: NDArray[np.object_], roles: dict[str, Role], misses: dict[str, Role]
) -> SortedAnnotations:
    out = SortedAnnotations(near_misses=frozenset(misses))
    for shape, name in zip(shapes, names, strict=True):
        role = roles[name]
        if role in out.regions:
            out.regions[role].append(shape)
        elif role is Role.BACKGROUND:
            out.background.append(shape)
        elif role is Role.IGNORE:
            out.ignored.append(shape)
        elif misses.get(name) in (Role.IGNORE, Role.VALIDATION):
            # What was probably meant to be ignored or held out is not to be learnt from.
            out.held_out.append(shape)
        else:
            (out.nuclei if role is Role.NUCLEUS else out.others).append((shape, name))
    return out


def _on_image(
    shapes: Shapes, names: NDArray[np.object_], size: tuple[int, int], ours: set[str]
) -> tuple[Shapes, NDArray[np.object_], list[Finding]]:
    """Shapes cut at the image's border, without those that are wholly off the image."""
    bounds = shapely.bounds(shapes).reshape(-1, 4)
    beyond = (bounds[:, :2] < 0).any(axis=1) | (bounds[:, 2:] > size).any(axis=1)
    cut = shapes.copy()
    cut[beyond] = closed(shapely.intersection(shapes[beyond], shapely.box(0, 0, *size)))
    before, after = shapely.area(shapes), np.nan_to_num(shapely.area(cut))
    off = after == 0
    findings = [say.off_image(n, name) for name, n in _counted(names[off], ours)]
    partly = names[~off & (before - after > _OFF * before)]
    reaching = sum(n for _, n in _counted(partly, ours))
    if reaching:
        findings.append(say.crosses_image_border(reaching))
    return cut[~off], names[~off], findings


def _counted(names: NDArray[np.object_], ours: set[str]) -> list[tuple[str, int]]:
    return sorted(Counter(name for name in names if name in ours).items())
