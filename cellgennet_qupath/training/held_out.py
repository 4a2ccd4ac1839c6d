"""What is withheld from training: windows for validation where the project has none."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Protocol

import numpy as np
import shapely

from ..annotations.labels import Split, Supervision
from ..annotations.same_slide import moved
from ..annotations.withheld import hold_out, withhold
from ..core.config import Config
from ..core.progress import Reporter
from ..core.wording import listed
from ..geometry.coordinates import edge_to_full
from ..qupath.project import ImageEntry
from .slide_windows import SlideWindow, TrainingSlide

_MOST_HELD_OUT = 8
"""Windows held out where there is no validation region; they are in memory while thresholds are tuned."""


class _Counted(Protocol):
    @property
    def n_nuclei(self) -> int: ...


def ensure_validation(
    slides: list[TrainingSlide],
    training: list[SlideWindow],
    validation: list[SlideWindow],
    config: Config,
    reporter: Reporter,
) -> tuple[list[TrainingSlide], list[SlideWindow], list[SlideWindow]]:
    """Slides, training and validation windows; without Validation regions some windows are held out.

    What is held out is withheld from training as a Validation region is: windows that were one overlap.
    """
    if any(w.n_nuclei for w in validation):
        return slides, training, validation
    name = config.classes.validation
    held = windows_to_hold_out(training)
    if held:
        divided = _divided(slides, training, held)
        if all(any(w.n_nuclei for w in windows) for windows in divided[1:]):
            reporter.warn(
                f"No region of class {name} with outlined nuclei: {len(held)} of {len(training)} labelled "
                f"windows are held out ({', '.join(sorted({training[i].source for i in held}))})."
            )
            return divided
    reporter.warn(
        f"No region of class {name} with outlined nuclei, and too few others to hold one out: thresholds "
        "are tuned on the training regions, so the scores of this model say little."
    )
    return slides, training, [w for w in training if w.n_nuclei]


def without_validation_of_others(
    labels: Sequence[tuple[ImageEntry, Supervision]],
    alike: Sequence[Sequence[ImageEntry]],
    reporter: Reporter,
) -> list[Supervision]:
    """The labels of images, without what is for validation on another image of the same slide.

    alike : groups of these images that show one slide (see ``same_slides``).
    """
    found = {entry.id: supervision for entry, supervision in labels}
    areas = {name: supervision.drawn[Split.VALIDATION] for name, supervision in found.items()}
    used = {entry.id for entry, s in labels if any(s.drawn.values()) or len(s.nuclei)}
    for group in alike:
        theirs = [_of_others(entry, group, areas) for entry in group]
        names = listed([entry.name for entry in group if entry.id in used])
        several = sum(entry.id in used for entry in group) > 1
        if None in theirs:
            what = "but with other coordinates: nuclei trained on in one may be for validation in another"
        else:
            what = "so what is for validation on one of them is not trained on in the others"
            found |= {
                entry.id: withhold(found[entry.id], there or [])
                for entry, there in zip(group, theirs, strict=True)
            }
        if several:
            reporter.warn(f"{names} show the same slide, {what}.")
    return [found[entry.id] for entry, _ in labels]


def _of_others(
    entry: ImageEntry, group: Sequence[ImageEntry], areas: Mapping[str, Sequence[shapely.Geometry]]
) -> list[shapely.Geometry] | None:
    """Where an image shows areas of the other images of its slide; None where that is not known.

    areas : by the id of the image on which they are.
    """
    found: list[shapely.Geometry] = []
    for other in group:
        if other is not entry and (on_other := areas.get(other.id)):
            there = moved(on_other, other, entry)
            if there is None:
                return None
            found += there
    return found


def windows_to_hold_out(training: Sequence[_Counted]) -> set[int]:
    """The rows of the windows to hold out; none where there are too few.

    Every fifth, from the median number of nuclei upwards: few nuclei make poor thresholds.
    """
    with_nuclei = [i for i, w in enumerate(training) if w.n_nuclei]
    if len(with_nuclei) < 2:
        return set()
    ranked = sorted(with_nuclei, key=lambda i: training[i].n_nuclei)
    chosen = ranked[len(ranked) // 2 :: 5]
    return set(chosen[:: -(-len(chosen) // _MOST_HELD_OUT)])


def _divided(
    slides: list[TrainingSlide], training: list[SlideWindow], held: set[int]
) -> tuple[list[TrainingSlide], list[SlideWindow], list[SlideWindow]]:
    areas: dict[str, list[shapely.Geometry]] = defaultdict(list)
    for i in sorted(held):
        slide, core = training[i].slide, training[i].where.core
        areas[slide.entry.id].append(shapely.box(*edge_to_full(np.array(core), slide.downsample)))
    shared: dict[str, list[ImageEntry]] = defaultdict(list)
    for slide in slides:
        shared[slide.key].append(slide.entry)
    after = {}
    for slide in slides:
        one, labels = slide.entry, slide.supervision
        labels = withhold(labels, _of_others(one, shared[slide.key], areas) or [])
        after[one.id] = replace(slide, supervision=hold_out(labels, areas.get(one.id, [])))
    parts: dict[Split, list[SlideWindow]] = {split: [] for split in Split}
    for i, window in enumerate(training):
        split = Split.VALIDATION if i in held else Split.TRAINING
        parts[split].append(window.with_labels(after[window.slide.entry.id], split))
    return list(after.values()), parts[Split.TRAINING], parts[Split.VALIDATION]
