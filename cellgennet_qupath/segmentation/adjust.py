"""What a user changes of a model for one run: scale, splitting of touching nuclei, limits, averaged views."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any, Literal

from ..core.errors import UsageError
from ..networks.views import VIEWS, AveragedViews
from .decode import DecodingConfig
from .model import Limits, Model
from .options import SegmentOptions

Split = Literal["more", "less"]

_VALLEY = {"more": 0.4, "less": 2.0}
_BLUR = {"more": 0.7, "less": 1.5}
_DISTANCE = {"more": 0.75, "less": 1.5}
_WIDEST = 4.0
"""A scale may differ from the model's by this factor; beyond it no nucleus looks like those that it knows."""


def adjusted(model: Model, options: SegmentOptions) -> Model:
    """A model as a run uses it. Raises UsageError for a value that means nothing.

    scale     : µm per pixel at which the network sees the slides. The rule's sizes follow, as it is meant for
                nuclei larger or smaller than the model's by this factor.
    split     : "more" keeps two peaks with a shallower valley between them apart, "less" joins more.
    min_area  : least area in µm²; threshold: least detection probability. Both apply to finished nuclei,
                so that a higher value only takes nuclei away.
    views     : 4 averages the network's maps over mirrored views; 1 is the network alone.
    """
    threshold, area = options.threshold, options.min_area
    if threshold is not None and not 0 <= threshold <= 1:
        raise UsageError(f"threshold {threshold:g}", "is not a probability", "Give a number from 0 to 1")
    if area is not None and not (math.isfinite(area) and area >= 0):
        raise UsageError(f"min_area {area:g}", "is not an area", "Give a number of µm², 0 or more")
    decoding, mpp = model.decoding, model.mpp
    if options.scale is not None:
        decoding, mpp = _at_scale(model, options.scale)
    if options.split is not None:
        decoding = _split(decoding, options.split)
    if area is not None and area < decoding.min_area_um2:
        decoding = decoding.model_copy(update={"min_area_um2": area})
    if options.views not in (1, len(VIEWS)):
        raise UsageError(f"views {options.views}", "is not a number of views", f"Give 1 or {len(VIEWS)}")
    predictor = model.predictor if options.views == 1 else AveragedViews(model.predictor)
    limits = Limits(threshold or 0.0, area or 0.0)
    return replace(model, predictor=predictor, decoding=decoding, mpp=mpp, limits=limits)


def choices(options: SegmentOptions) -> dict[str, str]:
    """What was chosen, for a history and for people; empty where nothing was."""
    chosen: dict[str, str] = {}
    if options.threshold is not None:
        chosen["threshold"] = f"{options.threshold:g}"
    if options.min_area is not None:
        chosen["least area"] = f"{options.min_area:g} µm²"
    if options.split is not None:
        chosen["split"] = options.split
    if options.scale is not None:
        chosen["scale chosen"] = f"{options.scale:g} µm per pixel"
    if options.views > 1:
        chosen["views"] = str(options.views)
    return chosen


def rule_of(model: Model) -> dict[str, Any]:
    """The decoding rule with the limits and views of a run, as plain data."""
    rule: dict[str, Any] = model.decoding.model_dump(mode="json")
    if model.limits.probability:
        rule["least_probability"] = model.limits.probability
    if model.limits.area_um2:
        rule["least_area_um2"] = model.limits.area_um2
    if isinstance(model.predictor, AveragedViews):
        rule["views"] = len(VIEWS)
    return rule


def _at_scale(model: Model, scale: float) -> tuple[DecodingConfig, float]:
    if model.mpp is None:
        raise UsageError(
            f"scale {scale:g}",
            "cannot be chosen: the model was trained on images without a pixel size",
            "Leave it out",
        )
    factor = scale / model.mpp
    if not 1 / _WIDEST <= factor <= _WIDEST:
        low, high = model.mpp / _WIDEST, model.mpp * _WIDEST
        raise UsageError(
            f"scale {scale:g}",
            f"is too far from the model's {model.mpp:g} µm per pixel",
            f"Give a number from {low:.3g} to {high:.3g}: larger than {model.mpp:g} for larger nuclei",
        )
    return model.decoding.scaled(factor), scale


def _split(decoding: DecodingConfig, split: Split) -> DecodingConfig:
    return decoding.model_copy(
        update={
            "valley": max(0.3, round(1 - (1 - decoding.valley) * _VALLEY[split], 6)),
            "blur_um": round(decoding.blur_um * _BLUR[split], 6),
            "peak_distance_um": round(decoding.peak_distance_um * _DISTANCE[split], 6),
        }
    )
