"""The result in words, for someone who looks at slides and not at metrics.

The limits between good, fair and poor are this tool's own rules of thumb; docs/evaluation.md lists them.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum

import numpy as np
import pandas as pd

from ..metrics.statistics import Comparison
from .run import Evaluation

FEW_NUCLEI = 200
FEW_IMAGES = 5
SIGNIFICANT = 0.05


class Grade(StrEnum):
    """How far to go with something."""

    GOOD = "good"
    FAIR = "with care"
    POOR = "not yet"


@dataclass(frozen=True)
class Use:
    """A use of the nuclei, how far to trust them for it, and the sentence that says why."""

    what: str
    grade: Grade
    why: str


@dataclass(frozen=True)
class Verdict:
    """The headline, what it rests on, how it stands against the others, the uses, and what should make the
    reader careful."""

    grade: Grade
    headline: str
    sentences: list[str]
    compared: list[str]
    uses: list[Use]
    warnings: list[str]


def judge(evaluation: Evaluation, comparisons: Sequence[Comparison]) -> Verdict:
    """Judge the first method of an evaluation."""
    method = evaluation.methods[0]
    rows = evaluation.of(method)
    found, true, predicted = pooled(rows)
    uses = _uses(evaluation, rows, true, predicted)
    grade = uses[1].grade
    headline = {
        Grade.GOOD: f"{method} finds nuclei reliably on these images.",
        Grade.FAIR: f"{method} finds most nuclei on these images; look at the pictures first.",
        Grade.POOR: f"{method} is not good enough on these images yet.",
    }[grade]
    if len(rows) < FEW_IMAGES or true < FEW_NUCLEI:
        headline = f"{headline[:-1]}; but they are few."
    if not true:
        headline = f"There is no outlined nucleus to judge {method} by."
    sentences = [
        f"It was checked on {_number(len(rows), _noun(evaluation))} with "
        f"{_number(true, 'nucleus', 'nuclei')} that someone outlined by hand."
    ]
    if true and predicted:
        sentences.append(
            f"Of 100 outlined nuclei it finds {_hundredths(found / true)}; of 100 nuclei that it draws, "
            f"{_hundredths(found / predicted)} are nuclei of the expert."
        )
    sentences += _weakest(evaluation, method)
    compared = [
        _against(c, method) for c in comparisons if c.metric == "pq" and method in (c.first, c.second)
    ]
    return Verdict(grade, headline, sentences, compared, uses, _warnings(evaluation, rows, true))


def pooled(rows: pd.DataFrame) -> tuple[int, int, int]:
    """Nuclei found at IoU 0.5, true and predicted nuclei of all fields of one method together."""
    true, predicted = int(rows["true_objects"].sum()), int(rows["predicted_objects"].sum())
    return round(float((rows["recall@0.5"] * rows["true_objects"]).sum())), true, predicted


def _uses(evaluation: Evaluation, rows: pd.DataFrame, true: int, predicted: int) -> list[Use]:
    deviation = (predicted - true) / true if true else math.nan
    off = float(rows["count_off"].dropna().median())
    f1, dice = _mean(rows, "f1@0.5"), _mean(rows, "dice")
    own = evaluation.nuclei[evaluation.nuclei["method"] == evaluation.methods[0]]
    overlap = float(own.loc[own["iou"] > 0, "iou"].mean())
    direction = "too many" if deviation > 0 else "too few"
    return [
        _use(
            "Counting, density",
            -max(abs(deviation), off / 2),
            (-0.1, -0.25),
            f"{abs(deviation):.0%} {direction} in all; a typical image is off by {off:.0%}.",
        ),
        _use(
            "Finding each nucleus",
            f1,
            (0.8, 0.65),
            f"F1 {f1:.2f}: nuclei found and nuclei invented, in one number from 0 to 1.",
        ),
        _use(
            "Size and shape",
            overlap,
            (0.8, 0.7),
            f"The outlines of the nuclei that it finds overlap the expert's by {overlap:.0%} on average.",
        ),
        _use(
            "Nuclear area",
            dice,
            (0.85, 0.75),
            f"Dice {dice:.2f}: how far both agree on which pixels are nucleus.",
        ),
    ]


def _use(what: str, value: float, limits: tuple[float, float], why: str) -> Use:
    if math.isnan(value):
        return Use(what, Grade.POOR, "There is no nucleus to judge it by.")
    good, fair = limits
    return Use(what, Grade.GOOD if value >= good else Grade.FAIR if value >= fair else Grade.POOR, why)


def _weakest(evaluation: Evaluation, method: str) -> list[str]:
    kinds = evaluation.kinds()
    kinds = kinds[(kinds["method"] == method) & (kinds["nuclei"] >= 10)]
    if kinds.empty:
        return []
    overall = float((evaluation.nuclei.loc[evaluation.nuclei["method"] == method, "iou"] > 0).mean())
    worst = kinds.sort_values("found").iloc[0]
    if overall - float(worst["found"]) < 0.05:
        return ["It finds nuclei of every size, crowded or apart, about equally well."]
    names = {"crowded": "touching each other", "apart": "lying apart"}
    return [
        f"Its weak side are nuclei that are {names.get(str(worst['kind']), worst['kind'])}: of 100 of "
        f"those it finds {_hundredths(float(worst['found']))}."
    ]


def _against(one: Comparison, method: str) -> str:
    other = one.second if one.first == method else one.first
    if one.images < FEW_IMAGES:
        return f"There is too little to tell {method} and {other} apart."
    difference = one.difference if one.first == method else -one.difference
    low, high = (one.low, one.high) if one.first == method else (-one.high, -one.low)
    if math.isnan(one.holm) or one.holm > SIGNIFICANT:
        return f"Between {method} and {other} there is no clear difference."
    better = "better" if difference > 0 else "worse"
    return (
        f"It is {better} than {other} (panoptic quality {difference:+.2f}, 95 % interval {low:+.2f} to "
        f"{high:+.2f}, {p_value(one.holm)})."
    )


def _warnings(evaluation: Evaluation, rows: pd.DataFrame, true: int) -> list[str]:
    warnings = []
    noun = _noun(evaluation)
    trained = [field.name for field in evaluation.fields if field.trained]
    if trained:
        warnings.append(
            f"{_number(len(trained), 'validation region')} overlap{'s' if len(trained) == 1 else ''} a "
            f"Training region ({_listed(trained)}). A model trained on it has seen the answers there, and "
            "the scores are too good."
        )
    if len(rows) < FEW_IMAGES or true < FEW_NUCLEI:
        warnings.append(
            f"{_number(len(rows), noun)} with {_number(true, 'nucleus', 'nuclei')} are few: another "
            f"choice could give other numbers. Aim at {FEW_IMAGES} {noun}s and {FEW_NUCLEI} nuclei "
            "or more, from different slides."
        )
    images = rows["image"].nunique()
    if len(rows) >= FEW_IMAGES and images <= 2:
        warnings.append(
            f"All regions lie on {_number(images, 'slide')}: the scores say little about other slides."
        )
    spread = rows.groupby("group", sort=False)["f1@0.5"].mean().dropna()
    if len(spread) > 1 and spread.max() - spread.min() > 0.25:
        warnings.append(
            f"It depends on the tissue: F1 is {spread.max():.2f} on {spread.idxmax() or 'the rest'} but "
            f"{spread.min():.2f} on {spread.idxmin() or 'the rest'}."
        )
    stated = evaluation.reliability.get(evaluation.methods[0])
    if stated is not None and stated.error > 0.15:
        warnings.append(
            f"Its probabilities are not to be taken at their word: they are too "
            f"{'high' if stated.bias > 0 else 'low'}, and off by {stated.error:.2f} on average. Use them to "
            "rank nuclei, not as chances."
        )
    return warnings


def p_value(p: float) -> str:
    """A p value as papers print it."""
    if math.isnan(p):
        return "p undefined"
    return "p < 0.001" if p < 0.001 else f"p = {p:.3f}"


def _noun(evaluation: Evaluation) -> str:
    """What a field is to the reader."""
    whole = all((field.box.columns, field.box.rows) == field.whole for field in evaluation.fields)
    return "image" if whole else "region"


def _mean(rows: pd.DataFrame, name: str) -> float:
    values = rows[name].to_numpy(np.float64)
    return float(np.nanmean(values)) if (~np.isnan(values)).any() else math.nan


def _hundredths(share: float) -> str:
    return str(round(100 * share))


def _number(count: int, one: str, many: str = "") -> str:
    return f"{count:,} {one if count == 1 else many or one + 's'}"


def _listed(names: Sequence[str]) -> str:
    shown = ", ".join(names[:3])
    return shown if len(names) <= 3 else f"{shown} and {len(names) - 3} more"
