"""The result in plain words, for readers who know slides better than metrics.

The limits between good, fair and poor are rules of thumb of this project; docs/evaluation.md lists them.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from enum import StrEnum

import numpy as np
import pandas as pd

from ..core.wording import listed
from ..metrics.statistics import Comparison, difference_interval
from .run import Evaluation

DETECTION = 0.8, 0.65
"""F1 of nuclei (IoU 0.5) from which detecting each nucleus is good, and possible with care."""
FEW_NUCLEI = 200
FEW_IMAGES = 5
SIGNIFICANT = 0.05
HUNDREDTHS = 50
"""From so many nuclei on a share is given as "of 100", below as the numbers themselves."""
NOTABLE = 0.05
"""A kind of nuclei is named as the weakest from this difference to all nuclei on."""
MANY = 10
"""If so many nuclei are outlined and so many predicted and none of them fits, they are probably misplaced."""
MARGIN = 0.1
"""Kinds of nuclei count as detected equally well if the difference is shown to be within this share."""

SEEN_IN_TRAINING = (
    "If the model was trained on this project, its thresholds were chosen on these Validation regions: "
    "expect slightly lower scores, and smaller leads over other methods, on other slides."
)


class Grade(StrEnum):
    """How suitable the nuclei are for a use."""

    GOOD = "good"
    FAIR = "with care"
    POOR = "not yet"


@dataclass(frozen=True)
class Use:
    """A use of the nuclei, how suitable they are for it, and the reason in one sentence."""

    what: str
    grade: Grade
    why: str


@dataclass(frozen=True)
class Verdict:
    """The first method of an evaluation, judged in words.

    grade     : the grade of detecting single nuclei.
    headline  : one sentence; ``sentences`` give the evidence.
    compared  : one sentence for each other method.
    uses      : a grade for each use of the nuclei.
    warnings  : reasons for caution.
    """

    grade: Grade
    headline: str
    sentences: list[str]
    compared: list[str]
    uses: list[Use]
    warnings: list[str]


def judge(evaluation: Evaluation) -> Verdict:
    """Judge the first method of an evaluation."""
    method = evaluation.methods[0]
    rows = evaluation.counted_of(method)
    detected, true, predicted = pooled(rows)
    uses = _uses(evaluation, rows, true, predicted)
    grade = uses[1].grade
    headline = {
        Grade.GOOD: f"{method} detects nuclei reliably on these images.",
        Grade.FAIR: f"{method} detects most nuclei on these images; look at the pictures before using it.",
        Grade.POOR: f"{method} is not good enough on these images yet.",
    }[grade]
    if len(rows) < FEW_IMAGES or true < FEW_NUCLEI:
        headline = f"{headline[:-1]}, but the sample is small."
    if not true:
        headline = f"There are no outlined nuclei to compare {method} with."
    elif not predicted:
        headline = f"{method} is not good enough on these images yet: it predicted no nucleus."
    sentences = [
        f"It was compared with {_number(true, 'nucleus', 'nuclei')} outlined by hand in "
        f"{_number(len(rows), noun(evaluation))}."
    ]
    if true and predicted:
        (whole, hits), (guessed, right) = _of(detected, true), _of(detected, predicted)
        sentences.append(
            f"Of {whole} outlined nuclei it detects {hits}; of {guessed} nuclei it predicts, {right} "
            f"{'is' if right == 1 else 'are'} correct."
        )
        sentences += _kinds(evaluation, method)
    compared = [
        _compared(c, method)
        for c in evaluation.comparisons
        if c.metric == "pq" and method in (c.first, c.second)
    ]
    return Verdict(grade, headline, sentences, compared, uses, _warnings(evaluation, rows, true))


def pooled(rows: pd.DataFrame) -> tuple[int, int, int]:
    """Detected (IoU 0.5), true and predicted nuclei, summed over the regions of one method."""
    true, predicted = (round(float(rows[f"{which}_objects"].sum())) for which in ("true", "predicted"))
    return round(float((rows["recall@0.5"] * rows["true_objects"]).sum())), true, predicted


def _uses(evaluation: Evaluation, rows: pd.DataFrame, true: int, predicted: int) -> list[Use]:
    deviation = (predicted - true) / true if true else math.nan
    off = float(rows["count_off"].dropna().median())
    f1, dice = _mean(rows, "f1@0.5"), _mean(rows, "dice")
    nuclei = evaluation.counted_nuclei
    own = nuclei[nuclei["method"] == evaluation.methods[0]]
    overlap = float(own.loc[own["iou"] > 0, "iou"].mean())
    direction = "too many" if deviation > 0 else "too few"
    total = f"{abs(deviation):.0%} {direction}" if deviation else "The right number"
    return [
        _use(
            "Counting and density",
            -max(abs(deviation), off / 2),
            (-0.1, -0.25),
            f"{total} in total; a typical image is off by {off:.0%}.",
        ),
        _use(
            "Detecting each nucleus",
            f1,
            DETECTION,
            f"F1 {f1:.2f}: missed nuclei and false positives combined, from 0 to 1 (perfect).",
        ),
        _use(
            "Size and shape",
            overlap,
            (0.8, 0.7),
            f"The outlines of detected nuclei overlap the expert's by {overlap:.0%} on average (IoU).",
        ),
        _use(
            "Nuclear area",
            dice,
            (0.85, 0.75),
            f"Dice {dice:.2f}: agreement with the expert on which pixels are nucleus, from 0 to 1.",
        ),
    ]


def _use(what: str, value: float, limits: tuple[float, float], why: str) -> Use:
    if math.isnan(value):
        return Use(what, Grade.POOR, "There are no nuclei to compare.")
    good, fair = limits
    return Use(what, Grade.GOOD if value >= good else Grade.FAIR if value >= fair else Grade.POOR, why)


def _kinds(evaluation: Evaluation, method: str) -> list[str]:
    """What may be said about kinds of nuclei: the weakest one, or which are detected equally well.

    Both need evidence: an interval for the difference to the other nuclei, simultaneous for all kinds, that
    excludes 0 (and a difference of at least ``NOTABLE``), or that is within ``MARGIN``.
    """
    strata = evaluation.strata
    strata = strata[strata["method"] == method]
    nuclei = evaluation.counted_nuclei
    own = nuclei[nuclei["method"] == method]
    total, detected = len(own), int((own["iou"] > 0).sum())
    intervals: dict[str, tuple[float, float]] = {}
    found: dict[str, tuple[int, int]] = {}
    for kind, count, share in zip(strata["kind"], strata["nuclei"], strata["found"], strict=True):
        inside = round(float(share) * int(count))
        found[kind] = inside, int(count)
        intervals[kind] = difference_interval(
            found[kind], (detected - inside, total - int(count)), kinds=len(strata)
        )
    weak = [
        kind
        for kind, (_, high) in intervals.items()
        if high < 0 and found[kind][0] / found[kind][1] <= detected / total - NOTABLE
    ]
    if weak:
        worst = min(weak, key=lambda kind: found[kind][0] / found[kind][1])
        name = "isolated" if worst == "apart" else worst
        whole, hits = _of(*found[worst])
        return [f"It is weakest on {name} nuclei: of {whole} it detects {hits}."]
    nothing = (-1.0, 1.0)
    equal = [
        words
        for words, kinds in _EQUAL.items()
        if max(abs(limit) for kind in kinds for limit in intervals.get(kind, nothing)) <= MARGIN
    ]
    if equal:
        return [
            f"It detects {' and '.join(equal)} about equally well (the differences are within "
            f"{100 * MARGIN:.0f} percentage points, with 95 % confidence)."
        ]
    return ["These nuclei do not show whether size, crowding or shape matters."]


_EQUAL = {
    "small, medium and large nuclei": ("small", "medium", "large"),
    "crowded and isolated nuclei": ("crowded", "apart"),
    "regular and irregular nuclei": ("regular", "irregular"),
}


def _compared(one: Comparison, method: str) -> str:
    other = one.second if one.first == method else one.first
    if one.images < FEW_IMAGES:
        return f"There are too few images to compare {method} with {other}."
    difference = one.difference if one.first == method else -one.difference
    low, high = (one.low, one.high) if one.first == method else (-one.high, -one.low)
    if math.isnan(one.holm) or one.holm > SIGNIFICANT:
        return f"There is no clear difference between {method} and {other}."
    better = "better" if difference > 0 else "worse"
    return (
        f"It is {better} than {other} (panoptic quality {difference:+.2f}, 95 % interval {low:+.2f} to "
        f"{high:+.2f}, {p_value(one.holm)})."
    )


def _warnings(evaluation: Evaluation, rows: pd.DataFrame, true: int) -> list[str]:
    warnings = [
        f"{method} predicted no nucleus in any {noun(evaluation)}. Check its input, files and threshold."
        for method in evaluation.methods
        if true and not evaluation.of(method)["predicted_objects"].sum()
    ]
    warnings += [line for method in evaluation.methods if (line := _misplaced(evaluation, method))]
    again = [region.name for region in evaluation.regions if region.name not in evaluation.once]
    if again:
        warnings.append(
            f"The tissue of {listed(again)} is annotated in another image of the same slide, too: it counts "
            "once, with the mean of its scores."
        )
    word = noun(evaluation)
    if len(rows) < FEW_IMAGES or true < FEW_NUCLEI:
        warnings.append(
            f"The sample is small ({_number(len(rows), word)}, {_number(true, 'nucleus', 'nuclei')}), and "
            f"another one could give different scores. Aim for at least {FEW_IMAGES} {word}s and "
            f"{FEW_NUCLEI} nuclei from different slides."
        )
    images = rows["slide"].nunique()
    if len(rows) >= FEW_IMAGES and images <= 2:
        warnings.append(
            f"All regions are on {_number(images, 'slide')}: the scores say little about other slides."
        )
    f1 = rows.groupby("group", sort=False)["f1@0.5"].mean().dropna()
    if len(f1) > 1 and f1.max() - f1.min() > 0.25:
        warnings.append(
            f"Quality depends on the tissue: F1 is {f1.max():.2f} on {f1.idxmax() or 'other tissue'} but "
            f"{f1.min():.2f} on {f1.idxmin() or 'other tissue'}."
        )
    calibration = evaluation.calibration.get(evaluation.methods[0])
    if calibration is not None and calibration.error > 0.15:
        warnings.append(
            f"Its probabilities are poorly calibrated: too {'high' if calibration.bias > 0 else 'low'}, with "
            f"a mean error of {calibration.error:.2f}. Use them to rank nuclei, not as probabilities."
        )
    return warnings


def _misplaced(evaluation: Evaluation, method: str) -> str:
    """A warning of regions with many nuclei on both sides of which none fits; "" where there are none."""
    rows = evaluation.of(method)
    many = (rows["true_objects"] >= MANY) & (rows["predicted_objects"] >= MANY)
    names = rows.loc[many & (rows["recall@0.5"] == 0), "field"].tolist()
    if not names:
        return ""
    where = listed(names)
    return (
        f"Not one nucleus of {method} fits an outlined one in {where}, though both have {MANY} or more. Are "
        "they those of another image, or scaled, shifted or mirrored?"
    )


def p_value(p: float) -> str:
    """A p value as it is printed in papers."""
    if math.isnan(p):
        return "p undefined"
    return "p < 0.001" if p < 0.001 else f"p = {p:.3f}"


def noun(evaluation: Evaluation) -> str:
    """The word for a region in sentences: "image" if all regions are whole images."""
    whole_images = all((r.box.columns, r.box.rows) == r.image_size for r in evaluation.regions)
    return "image" if whole_images else "region"


def _mean(rows: pd.DataFrame, name: str) -> float:
    values = rows[name].to_numpy(np.float64)
    return float(np.nanmean(values)) if (~np.isnan(values)).any() else math.nan


def _of(part: int, whole: int) -> tuple[int, int]:
    """A share as (all, part): of 100 where there are enough nuclei for that, else the numbers themselves."""
    return (100, round(100 * part / whole)) if whole >= HUNDREDTHS else (whole, part)


def _number(count: int, one: str, many: str = "") -> str:
    return f"{count:,} {one if count == 1 else many or one + 's'}"
