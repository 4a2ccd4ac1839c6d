"""Everything that can stop an evaluation or spoil its numbers, looked at before any network runs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from ..bundle import Bundle
from ..core.errors import SupervisionError
from ..core.progress import SILENT, Reporter
from ..core.wording import listed
from ..metrics.matching import hide_unknown, objects
from .label_images import parts_of_one_object, used_twice
from .precomputed import PrecomputedPredictor
from .predictors import downsample_of
from .regions import EvaluationRegion

_SEVERAL = 3
"""So many regions with at most one object each look like binary masks."""


def check_inputs(
    subject: object,
    regions: Sequence[EvaluationRegion],
    predictions: Mapping[str, Path],
    bundles: Sequence[Bundle] = (),
    reporter: Reporter = SILENT,
) -> None:
    """Read the ground truth of all regions and the results of other tools once, and warn of what is odd.

    subject     : the evaluated project or folder, for messages.
    predictions : results of other tools, name -> folder.
    bundles     : their resolution must be known to fit every region.

    Raises SupervisionError where there is no nucleus to compare with, or a file is missing, of the wrong size
    or not a label image; EntryDataError for damaged GeoJSON; CalibrationError for a region without a pixel
    size.
    """
    for bundle in bundles:
        for region in regions:
            downsample_of(region, bundle.card.mpp)
    _warn_of_seen_nuclei(regions, bundles, reporter)
    for name, folder in predictions.items():
        for sentence in PrecomputedPredictor(name, folder).check(regions):
            reporter.warn(sentence)
    counts = []
    with reporter.track("checking", len(regions), "regions") as task:
        for region in regions:
            counts.append(_count(region, reporter))
            task.advance()
    if not sum(counts):
        what = "image" if len(regions) == 1 else "images or regions"
        raise SupervisionError(
            subject,
            f"has no outlined nucleus in its {len(regions)} {what}, so there is nothing to compare with",
            "Outline every nucleus in the Validation regions, or number the nuclei in the label images",
        )
    if len(counts) >= _SEVERAL and max(counts) <= 1:
        reporter.warn(
            f"{subject}: no label image holds more than one object. If they are binary masks, give every "
            "nucleus a number of its own, for instance with skimage.measure.label(mask)."
        )


def _warn_of_seen_nuclei(
    regions: Sequence[EvaluationRegion], bundles: Sequence[Bundle], reporter: Reporter
) -> None:
    """Version 0.1, whose cards have no checksum of their own, also trained on regions for validation."""
    overlapping = [region.name for region in regions if region.overlaps_training]
    earlier = [bundle.card.name for bundle in bundles if bundle.card.card_checksum is None]
    if not overlapping or not earlier:
        return
    reporter.warn(
        f"{', '.join(earlier)}: made by version 0.1, which also trained on regions for validation that "
        f"overlap regions for training ({listed(overlapping)}). If it was trained on this "
        "project, its scores are too optimistic: train again."
    )


def _count(region: EvaluationRegion, reporter: Reporter) -> int:
    """The true nuclei of a region that count."""
    true, unknown = region.truth()
    known = true if unknown is None else hide_unknown(true, unknown)
    parts = parts_of_one_object(known)
    if parts > 1:
        reporter.warn(f"{region.name}: its ground truth holds one object in {parts} parts (a binary mask?).")
    twice = used_twice(known)
    if twice:
        reporter.warn(f"{region.name}: in its ground truth {twice}")
    return len(objects(known)[0])
