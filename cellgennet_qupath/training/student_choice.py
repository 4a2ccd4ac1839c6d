"""What is chosen on validation when the student is trained: how far it moves from its start, and its rule.

All windows choose what is kept. Scores and comparison are cross-fitted (``tune``): no nucleus is scored with
what it has chosen.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from ..annotations.windows import Window
from ..segmentation.decode import NOMINAL_MPP, DecodingConfig, decode
from .adaptation import Start
from .comparison import PairedComparison, compare_paired
from .interpolation import SHARES, STANDARD, write_interpolated
from .record import Sample, shown
from .run_folder import TrainingRun
from .scale import tally_at
from .soft_maps import Predict, window_predict
from .tune import Mask, WindowScore, best_of, cross_fitted, folds_of, means, score_window

Maps = NDArray[np.float32]


@dataclass(frozen=True)
class FinishedStudent:
    """What the stage ends with; the weights are in the run's folder.

    decoding   : the rule, in µm at the training's resolution.
    scores     : means over the validation windows, each scored with what others choose (``cross_fitted``).
    samples    : those of them that a page shows, with the nuclei of the student that is kept.
    share      : how far the weights moved from the start to the end of the training; 1 without a start.
    comparison : with the start, on the same nuclei; None without a start, or where nothing is held out.
    of_standard: whether scores are of the standard choice although another is kept, as there is one region.
    """

    decoding: DecodingConfig
    scores: dict[str, float]
    samples: list[Sample]
    share: float = 1.0
    comparison: PairedComparison | None = None
    of_standard: bool = False


def choose_rule(run: TrainingRun, predict: Predict) -> FinishedStudent:
    """The decoding rule of a student that has no start."""
    chosen = _chosen(run, [1.0], lambda _: predict, DecodingConfig())
    return FinishedStudent(
        chosen.rule, means(chosen.held_out), chosen.samples, of_standard=chosen.of_standard
    )


def choose_between(run: TrainingRun, start: Start) -> FinishedStudent:
    """The student between start and trained weights, its rule, and its comparison with the start."""
    windows, config = run.data.validation, run.config
    factor = run.data.enlargement(start.mpp)

    def predict_at(share: float) -> Predict:
        write_interpolated(start.student, run.moved, share, run.student)
        return window_predict(run.student, config.student, config.threads)

    shares = [STANDARD] if config.adaptation.share == "auto" else [config.adaptation.share]
    if config.adaptation.share == "auto" and not run.data.validates_on_training:
        shares += SHARES
    chosen = _chosen(run, shares, predict_at, start.decoding.scaled(1 / factor))
    write_interpolated(start.student, run.moved, chosen.share, run.student)  # other shares were tried there
    comparison = None
    if not run.data.validates_on_training:
        original = window_predict(start.student, config.student, config.threads)
        stride = config.student.stride
        own = start.decoding.at(stride * (start.mpp or NOMINAL_MPP))
        before = [tally_at(original, own, w.image, w.labels.objects, 1 / factor, stride) for w in windows]
        after = [one.tally for one in chosen.held_out]
        comparison = compare_paired(before, after, [window.place for window in windows], config.seed)
        comparison = replace(comparison, of_standard=chosen.of_standard)
    return FinishedStudent(
        chosen.rule,
        means(chosen.held_out),
        chosen.samples,
        chosen.share,
        comparison,
        chosen.of_standard,
    )


@dataclass(frozen=True)
class _Chosen:
    """What all windows choose, and how good such a choice is.

    held_out    : each window's score with what the windows of other folds choose.
    of_standard : whether ``held_out`` is of the standard choice and this is another, as there is one fold.
    """

    share: float
    rule: DecodingConfig
    samples: list[Sample]
    held_out: list[WindowScore]
    of_standard: bool


def _chosen(
    run: TrainingRun,
    shares: Sequence[float],
    predict_at: Callable[[float], Predict],
    standard: DecodingConfig,
) -> _Chosen:
    """Choose a share by the standard rule, and with it a rule from a small grid around the standard one.

    shares : the standard one first. Each is predicted once for all windows, and the one that is kept again;
             so are others that a fold chooses. Only scores are kept of them: the maps of all windows are as
             large as the annotated area.
    """
    windows = run.data.validation
    rules = [standard, *_grid(standard)]
    folds = folds_of(windows)

    def predicted(share: float) -> Iterable[Maps]:
        predict = predict_at(share)
        return (predict(window.image) for window in windows)

    by_share = [_scored(run, predicted(share), rules[:1])[0] for share in shares] if len(shares) > 1 else []
    tables: dict[int, list[list[WindowScore]]] = {}

    def share_of(among: Mask) -> int:
        return best_of(by_share, among) if by_share else 0

    def choose(among: Mask) -> tuple[int, int]:
        share = share_of(among)
        if share not in tables:
            tables[share] = _scored(run, predicted(shares[share]), rules)
        return share, best_of(tables[share], among)

    everyone = np.ones(len(windows), bool)
    kept, rule = choose(everyone)
    predict = predict_at(shares[kept])
    samples = [_sample(run, windows[row], predict, rules[rule]) for row in shown(len(windows))]
    held_out = cross_fitted(folds, choose, lambda choice: tables[choice[0]][choice[1]])
    of_standard = not folds.any() and (kept, rule) != (0, 0)
    return _Chosen(shares[kept], rules[rule], samples, held_out, of_standard)


def _grid(standard: DecodingConfig) -> list[DecodingConfig]:
    return [
        standard.model_copy(update={"foreground": f, "valley": v, "mean_foreground": m})
        for f in (0.4, 0.45, 0.5)
        for v in (0.87, 0.91, 0.95)
        for m in (0.6, 0.7)
    ]


def _scored(
    run: TrainingRun, maps: Iterable[Maps], rules: Sequence[DecodingConfig]
) -> list[list[WindowScore]]:
    """The score of each rule in each window, from the windows' maps, of which one is needed at a time."""
    stride = run.config.student.stride
    table: list[list[WindowScore]] = [[] for _ in rules]
    for window, both in zip(run.data.validation, maps, strict=True):
        objects = window.labels.objects
        for row, rule in zip(table, rules, strict=True):
            row.append(score_window(_decoded(run, both, rule), objects, stride))
    return table


def _sample(run: TrainingRun, window: Window, predict: Predict, rule: DecodingConfig) -> Sample:
    image = window.image
    pixels = np.rint(np.clip(image, 0, 1) * 255).astype(np.uint8)
    return Sample(window.source, pixels, window.labels.objects, _decoded(run, predict(image), rule))


def _decoded(run: TrainingRun, maps: Maps, rule: DecodingConfig) -> NDArray[np.int32]:
    """The nuclei of maps at the training's resolution, as labels."""
    decoding = rule.at(run.config.student.stride * (run.data.mpp or NOMINAL_MPP))
    return decode(maps[..., 0], maps[..., 1], decoding)[0]
