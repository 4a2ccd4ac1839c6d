"""What is odd about an image's annotations: one sentence for each finding, with the way out."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum

from ..core.progress import Reporter
from ..core.wording import listed
from .classes import CORRECTED, Role


class Kind(StrEnum):
    """What a finding is about."""

    OTHER_PLANE = "other plane"
    NO_AREA = "no area"
    OFF_IMAGE = "off the image"
    CROSSES_IMAGE_BORDER = "crosses the image border"
    NEAR_MISS_CLASS = "near-miss class"
    OTHER_CLASS = "other class"
    HOLDS_REGION = "holds a region"
    HOLDS_NUCLEI = "holds nuclei"
    TOO_LARGE = "too large"
    TOO_SMALL = "too small"
    DRAWN_TWICE = "drawn twice"
    INSIDE_NUCLEUS = "inside a nucleus"
    SPLIT = "split"
    FILLED = "filled"
    OUTSIDE_REGIONS = "outside regions"
    EMPTY_REGION = "empty region"
    VALIDATION_IN_TRAINING = "validation in training"
    SAME_SLIDE = "same slide"
    PASSED_OVER = "passed over"
    OUTLINED_TWICE = "detections with equal outlines"


@dataclass(frozen=True)
class Finding:
    """Something about an image's annotations that the user should know.

    count      : annotations (or nuclei, or regions) concerned.
    path_class : their class, "" for none or several.
    sentence   : one line with the way out, without the image's name.
    """

    kind: Kind
    count: int
    path_class: str
    sentence: str

    def document(self) -> dict[str, object]:
        """The finding as plain data, for JSON."""
        return {
            "kind": self.kind.value,
            "count": self.count,
            "class": self.path_class,
            "sentence": self.sentence,
        }


def report(findings: Iterable[Finding], image: str, reporter: Reporter) -> None:
    """Print an image's findings as warnings, one line each."""
    for finding in findings:
        reporter.warn(f"{image}: {finding.sentence}")


def _number(count: int, one: str, many: str = "") -> str:
    return f"{count:,} {one if count == 1 else many or one + 's'}"


def _some(count: int, what: str, verb: str) -> str:
    """The start of a sentence: "3 outlines repeat", "1 outline repeats"."""
    singular = {"are": "is", "have": "has", "reach": "reaches"}.get(verb, f"{verb}s")
    return f"{_number(count, what)} {singular if count == 1 else verb}"


def _it(count: int, one: str, many: str) -> str:
    return one if count == 1 else many


def _of(path_class: str) -> str:
    """A class in a sentence; quotation marks show spaces at its ends."""
    return f'of class "{path_class}"' if path_class else "without a class"


def other_plane(count: int) -> Finding:
    """Annotations that are not on the first plane."""
    subject = _some(count, "annotation", "are")
    sentence = f"{subject} on another z-slice or time point: only the first is read."
    return Finding(Kind.OTHER_PLANE, count, "", sentence)


def no_area(count: int, path_class: str) -> Finding:
    """Points and lines."""
    subject = f"{count:,} {_it(count, 'point or line', 'points or lines')} {_of(path_class)}"
    effect = _it(count, "has no area, so it is not used", "have no area, so they are not used")
    return Finding(Kind.NO_AREA, count, path_class, f"{subject} {effect}: draw closed outlines.")


def off_image(count: int, path_class: str) -> Finding:
    """Annotations that are wholly off the image."""
    subject = f"{_number(count, 'annotation')} {_of(path_class)} {_it(count, 'is', 'are')} outside the image"
    sentence = f"{subject} and not used: move or delete them, perhaps they belong to another slide."
    return Finding(Kind.OFF_IMAGE, count, path_class, sentence)


def crosses_image_border(count: int) -> Finding:
    """Annotations of which a part is off the image."""
    sentence = (
        f"{_some(count, 'annotation', 'reach')} beyond the border of the image: only the part on the image "
        "is used. Check that the annotations belong to this slide."
    )
    return Finding(Kind.CROSSES_IMAGE_BORDER, count, "", sentence)


def near_miss_class(count: int, path_class: str, role: Role, meant: str) -> Finding:
    """Annotations whose class is almost one of ours."""
    effect = {
        Role.NUCLEUS: "Outlines of a nucleus's size in regions count as unknown, others are not used",
        Role.IGNORE: "Their areas count as unknown",
        Role.VALIDATION: "Their areas are neither trained nor evaluated on",
    }.get(role, "They are not used")
    setting = "" if role is Role.CORRECTED else f", or set `classes.{role.value}` in a file for -c"
    sentence = (
        f'{_some(count, "annotation", "have")} the class "{path_class}": did you mean "{meant}"? '
        f"{effect}. Change the class in QuPath{setting}."
    )
    return Finding(Kind.NEAR_MISS_CLASS, count, path_class, sentence)


def other_class(count: int, path_class: str) -> Finding:
    """Outlines in regions or on known background that could be nuclei but have a class of their own."""
    its, they = _it(count, "its", "their"), _it(count, "it is a nucleus", "they are nuclei")
    sentence = (
        f'{_number(count, "outline")} of another class ("{path_class}") in annotated areas '
        f"{_it(count, 'has', 'have')} the size of a nucleus, so {its} area counts as unknown: "
        f"if {they}, add the class to `classes.nucleus` in a file for -c."
    )
    return Finding(Kind.OTHER_CLASS, count, path_class, sentence)


def holds_region(count: int) -> Finding:
    """Outlines around regions."""
    sentence = (
        f"{_some(count, 'outline', 'enclose')} a whole region and {_it(count, 'is', 'are')} left out, as no "
        "nucleus can do that: give such outlines a class of their own, for example Tissue."
    )
    return Finding(Kind.HOLDS_REGION, count, "", sentence)


def holds_nuclei(count: int) -> Finding:
    """Outlines around nuclei."""
    sentence = (
        f"{_some(count, 'outline', 'enclose')} several outlined nuclei and {_it(count, 'is', 'are')} left "
        "out: give such outlines a class of their own, for example Gland."
    )
    return Finding(Kind.HOLDS_NUCLEI, count, "", sentence)


def too_large(count: int) -> Finding:
    """Outlines larger than any nucleus."""
    sentence = (
        f"{_some(count, 'outline', 'are')} too large for a nucleus, so {_it(count, 'its', 'their')} area "
        "counts as unknown: give such outlines a class of their own, and check the pixel size."
    )
    return Finding(Kind.TOO_LARGE, count, "", sentence)


def too_small(count: int) -> Finding:
    """Outlines that are slips of the hand."""
    sentence = (
        f"{_some(count, 'outline', 'are')} too small for a nucleus (below 1 µm²), so "
        f"{_it(count, 'its', 'their')} area counts as unknown: delete such outlines, and check the pixel "
        "size."
    )
    return Finding(Kind.TOO_SMALL, count, "", sentence)


def drawn_twice(count: int) -> Finding:
    """Outlines of nuclei that have another outline."""
    sentence = (
        f"{_some(count, 'outline', 'repeat')} a nucleus that is outlined already: each nucleus counts "
        "once, with its largest outline. Delete the duplicates in QuPath."
    )
    return Finding(Kind.DRAWN_TWICE, count, "", sentence)


def inside_nucleus(count: int) -> Finding:
    """Small outlines inside nuclei."""
    sentence = (
        f"{_some(count, 'outline', 'are')} inside a nucleus and less than a quarter of its size (nucleoli?): "
        "only the nucleus counts. Give the inner outlines a class of their own."
    )
    return Finding(Kind.INSIDE_NUCLEUS, count, "", sentence)


def split(annotations: int, nuclei: int) -> Finding:
    """Annotations of many parts."""
    sentence = (
        f"{_some(annotations, 'annotation', 'consist')} of separate parts, which count as "
        f"{_number(nuclei, 'nucleus', 'nuclei')}. To separate them in QuPath, choose Objects > Annotations > "
        "Split annotations."
    )
    return Finding(Kind.SPLIT, nuclei, "", sentence)


def filled(count: int) -> Finding:
    """Nuclei with holes."""
    sentence = (
        f"{_some(count, 'nucleus outline', 'have')} holes, which count as part of the nucleus. To fill "
        "them in QuPath, choose Objects > Annotations > Fill holes."
    )
    return Finding(Kind.FILLED, count, "", sentence)


def outside_regions(count: int, nucleus: str) -> Finding:
    """Unclassified outlines outside all regions."""
    sentence = (
        f"{_some(count, 'outline', 'have')} no class and {_it(count, 'is', 'are')} outside every region, so "
        f'{_it(count, "it is", "they are")} not used: give nuclei the class "{nucleus}".'
    )
    return Finding(Kind.OUTSIDE_REGIONS, count, "", sentence)


def empty_region(count: int, path_class: str, background: str, detections: int, cells: int) -> Finding:
    """Regions in which no nucleus is outlined; the image has detections, some of which are cells."""
    kinds = [_number(n, what) for n, what in ((detections - cells, "detection"), (cells, "cell")) if n]
    remedy = f'outline every nucleus, or draw "{background}" over the region if it has none'
    if kinds:
        remedy = (
            f"the image has {' and '.join(kinds)}, but only annotations count. Make annotations of "
            f'them (docs/tutorial.md#nuclei-that-are-detections), or use the class "{CORRECTED}" for regions '
            "in which you have checked every nucleus that cellgennet detected"
        )
    sentence = (
        f'{_number(count, "region")} of class "{path_class}" {_it(count, "has", "have")} no outlined '
        f"nucleus, so {_it(count, 'it counts', 'they count')} as unknown: {remedy}."
    )
    return Finding(Kind.EMPTY_REGION, count, path_class, sentence)


def validation_in_training(count: int, validation: str, training: str) -> Finding:
    """Validation regions that overlap training regions."""
    sentence = (
        f'{_number(count, "region")} of class "{validation}" {_it(count, "overlaps", "overlap")} a region of '
        f'class "{training}": the common area is used for validation only and not trained on.'
    )
    return Finding(Kind.VALIDATION_IN_TRAINING, count, validation, sentence)


def same_slide(others: Sequence[str]) -> Finding:
    """Annotations on several images that show one slide."""
    sentence = (
        f"it shows the same slide as {listed(others)}, so what is for validation on one of them is not "
        "trained on in the others. Outline nuclei on one of these images only."
    )
    return Finding(Kind.SAME_SLIDE, len(others), "", sentence)


def passed_over(kinds: Mapping[str, int], file: str) -> Finding:
    """Objects in an image's own file of annotations that are not annotations."""
    names = {"tmaCore": "TMA core", "root": "root object"}
    parts = [_number(count, names.get(kind, kind)) for kind, count in sorted(kinds.items())]
    listed = " and ".join([", ".join(parts[:-1]), *parts[-1:]] if len(parts) > 1 else parts)
    verb = _it(sum(kinds.values()), "is", "are")
    sentence = (
        f"{listed} in {file} {verb} passed over: "
        'only annotations are read from this file (`"objectType": "annotation"`).'
    )
    return Finding(Kind.PASSED_OVER, sum(kinds.values()), "", sentence)


def outlined_twice(count: int) -> Finding:
    """Detections that have exactly the outline of another one."""
    sentence = (
        f"{_some(count, 'detection', 'have')} exactly the outline of another one, as if a file had been "
        "imported twice, so nuclei are counted twice: segment with --existing replace-all, or delete them in "
        "QuPath and import once."
    )
    return Finding(Kind.OUTLINED_TWICE, count, "", sentence)
