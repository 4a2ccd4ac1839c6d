"""Which model a training recommends: its result, or the start that it was to improve."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Literal

from ..annotations.windows import Window
from .comparison import PairedComparison
from .stain_check import doubt

Keep = Literal["recommended", "trained"]


@dataclass(frozen=True)
class Recommendation:
    """The model to use and why.

    use     : "start" or "trained".
    reasons : sentences for people, the comparison with the start first.
    """

    use: Literal["start", "trained"]
    reasons: list[str] = field(default_factory=list)


def recommend(
    start: str,
    comparison: PairedComparison | None,
    training: Sequence[Window],
    validation: Sequence[Window],
) -> Recommendation:
    """Recommend the start where the result is worse on validation, or where outlines cannot be right.

    start      : the start's name.
    comparison : of both on ``validation``; None where nothing is held out.

    Outlines that do not lie on stained nuclei make the comparison worthless if they are for validation; those
    to train on only if the comparison does not show that the result is better all the same.
    """
    doubts = [doubt(training, "Training"), doubt(validation, "Validation") if comparison else ""]
    if comparison is None:
        reasons = [f"Nothing is held out, so it is unknown whether the new model is better than {start}."]
        worse, proven = False, False
    else:
        reasons = [comparison.sentence(start)]
        worse, proven = comparison.prefers_start, comparison.outcome == "better"
    reasons += [sentence for sentence in doubts if sentence]
    if worse or doubts[1] or (doubts[0] and not proven):
        return Recommendation("start", [*reasons, f"Recommended: {start}, as it was before the training."])
    slides = {window.place.slide for window in training}
    shared = sorted({window.source for window in validation if window.place.slide in slides})
    if shared and comparison is not None:
        reasons.append(
            f"Training and Validation share {len(shared)} slide{'' if len(shared) == 1 else 's'} "
            f"({', '.join(shared[:3])}{' ...' if len(shared) > 3 else ''}): other slides may gain less."
        )
    return Recommendation("trained", [*reasons, "Recommended: the new model."])
