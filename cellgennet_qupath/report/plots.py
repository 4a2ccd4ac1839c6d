"""The figures of the report, each as the text of an SVG file; pyplot and its global state are not used."""

from __future__ import annotations

import io
import textwrap
import warnings
from collections.abc import Mapping, Sequence
from typing import Any

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_svg import FigureCanvasSVG
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from ..evaluation.run import DISTANCES, Evaluation
from ..metrics.scores import THRESHOLDS
from ..metrics.statistics import Comparison
from ..tables.cells import writable
from .words import LOSSES

# Distinguishable with any type of colour vision (Okabe and Ito 2008).
COLOURS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#7f7f7f")
BOXES = ("dice", "pq", "f1@0.5", "hd95")
FEWEST_FOR_BOX = 5
"""A box of fewer points suggests quartiles that nobody knows."""
TITLES = {
    "dice": "Dice",
    "iou": "IoU",
    "pq": "Panoptic quality",
    "f1@0.5": "F1 of nuclei (IoU 0.5)",
    "hd95": "HD95",
    "aji": "AJI",
}
_STYLE: Any = {
    "font.family": "DejaVu Sans",
    "font.size": 9.5,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.edgecolor": "#5b6470",
    "axes.labelcolor": "#1d2530",
    "axes.titlesize": 10.5,
    "axes.titleweight": "bold",
    "axes.titlelocation": "left",
    "xtick.color": "#1d2530",
    "ytick.color": "#1d2530",
    "grid.color": "#e3e6ea",
    "svg.hashsalt": "cellgennet",
    "svg.fonttype": "path",
    # A dollar sign in a name does not start a formula.
    "text.parse_math": False,
}


def colour(number: int) -> str:
    """The colour of a method by its number, the same in all figures."""
    return COLOURS[number % len(COLOURS)]


def box_plots(evaluation: Evaluation) -> dict[str, str]:
    """Scores of all images by method, one figure per metric of ``BOXES``.

    Boxes and the significance stars of the Mann-Whitney test are drawn from ``FEWEST_FOR_BOX`` images on; of
    fewer, the figure shows the points and their median.
    """
    figures = {}
    for metric in BOXES:
        with mpl.rc_context(_STYLE):
            figure = Figure((max(4.4, 0.95 * len(evaluation.methods) + 0.9), 3.4), layout="constrained")
            pairs = [c for c in evaluation.comparisons if c.metric == metric and c.images >= FEWEST_FOR_BOX]
            _boxes(figure.subplots(), evaluation, metric, pairs)
            figures[metric] = _svg(figure)
    return figures


def _boxes(axes: Axes, evaluation: Evaluation, metric: str, pairs: Sequence[Comparison]) -> None:
    columns = [evaluation.counted_of(m)[metric].dropna().to_numpy() for m in evaluation.methods]
    rng = np.random.default_rng(0)
    axes.grid(axis="y")
    axes.set_axisbelow(True)
    filled = [i for i, column in enumerate(columns) if len(column) >= FEWEST_FOR_BOX]
    if filled:
        drawn = axes.boxplot(
            [columns[i] for i in filled],
            positions=filled,
            widths=0.55,
            patch_artist=True,
            showfliers=False,
            medianprops={"color": "#1d2530", "linewidth": 1.6},
        )
        for number, patch in zip(filled, drawn["boxes"], strict=True):
            patch.set(facecolor=colour(number), alpha=0.35, edgecolor=colour(number))
    for number, column in enumerate(columns):
        few = 0 < len(column) < FEWEST_FOR_BOX
        jittered = number + rng.uniform(-0.16, 0.16, len(column))
        axes.scatter(
            jittered, column, s=30 if few else 9, color=colour(number), alpha=0.75, linewidths=0, zorder=3
        )
        if few:
            middle = float(np.median(column))
            axes.plot([number - 0.25, number + 0.25], [middle] * 2, color="#1d2530", linewidth=1.6)
    top = max((float(column.max()) for column in columns if len(column)), default=1.0)
    step = 0.085 * (top or 1.0)
    height = top + 0.6 * step
    for pair in sorted(pairs, key=lambda p: _bracket_width(evaluation, p)):
        if pair.stars:
            left, right = evaluation.methods.index(pair.first), evaluation.methods.index(pair.second)
            ends = [height, height + 0.3 * step, height + 0.3 * step, height]
            axes.plot([left, left, right, right], ends, color="#1d2530", linewidth=0.9)
            axes.annotate(
                pair.stars, ((left + right) / 2, height + 0.32 * step), ha="center", va="bottom", fontsize=8.5
            )
            height += 1.25 * step
    axes.set(ylim=(0, height + 0.6 * step), xlim=(-0.6, len(columns) - 0.4))
    if metric not in DISTANCES:
        axes.set_yticks(np.arange(0, 1.01, 0.2))
    axes.set_xticks(range(len(columns)), [_in_two_lines(m) for m in evaluation.methods])
    title = TITLES[metric]
    axes.set_title(f"{title} ({evaluation.unit}, lower is better)" if metric in DISTANCES else title)


def _bracket_width(evaluation: Evaluation, pair: Comparison) -> int:
    return abs(evaluation.methods.index(pair.second) - evaluation.methods.index(pair.first))


def training_curves(history: Sequence[Mapping[str, float]]) -> str:
    """The terms of a training loss by epoch."""
    # Terms on unlabelled tissue may start in a later epoch.
    terms = dict.fromkeys(term for line in history for term in line)
    curves = {LOSSES.get(term, term): [line.get(term, np.nan) for line in history] for term in terms}
    epochs = range(1, len(history) + 1)
    return _curves(
        epochs,
        curves,
        "-" if len(history) > 1 else "o",
        ylim=(0, None),
        xlabel="epoch",
        ylabel="loss, mean over the epoch",
    )


def threshold_curve(evaluation: Evaluation) -> str:
    """F1 of nuclei by IoU threshold."""
    curves = {
        _short(method, 30): [float(evaluation.counted_of(method)[f"f1@{t:g}"].mean()) for t in THRESHOLDS]
        for method in evaluation.methods
    }
    axes = {"xlabel": "IoU threshold of a detection", "ylabel": "F1, mean over images"}
    return _curves(THRESHOLDS, curves, "o-", ylim=(0, 1), **axes)


def _curves(
    x: Sequence[float], curves: Mapping[str, Sequence[float]], line: str, **axes_settings: Any
) -> str:
    """One curve for each name over the same ``x``."""
    with mpl.rc_context(_STYLE):
        figure = Figure((4.7, 3.3), layout="constrained")
        axes = figure.subplots()
        for number, (name, values) in enumerate(curves.items()):
            axes.plot(x, values, line, color=colour(number), label=name)
        axes.set(**axes_settings)
        if all(isinstance(value, int) for value in x):
            axes.xaxis.set_major_locator(MaxNLocator("auto", integer=True))
        axes.grid(axis="y")
        # Above the axes, where no curve runs.
        figure.legend(frameon=False, ncols=2, loc="outside upper left")
        return _svg(figure)


def counts(evaluation: Evaluation) -> str:
    """Number of predicted against true nuclei, one point per image."""
    with mpl.rc_context(_STYLE):
        figure = Figure((4.7, 3.3), layout="constrained")
        axes = figure.subplots()
        largest = 1.0
        for number, method in enumerate(evaluation.methods):
            rows = evaluation.counted_of(method)
            largest = max(largest, rows["true_objects"].max(), rows["predicted_objects"].max())
            axes.scatter(
                rows["true_objects"],
                rows["predicted_objects"],
                s=20,
                color=colour(number),
                alpha=0.7,
                linewidths=0,
                label=_short(method, 30),
            )
        axes.plot([0, largest], [0, largest], color="#5b6470", linewidth=1, linestyle="--", zorder=0)
        axes.set(xlabel="nuclei outlined by the expert", ylabel="nuclei predicted")
        axes.set(xlim=(0, largest * 1.04), ylim=(0, largest * 1.04))
        for axis in (axes.xaxis, axes.yaxis):
            axis.set_major_locator(MaxNLocator("auto", integer=True))
        axes.grid()
        axes.set_axisbelow(True)
        axes.legend(frameon=False)
        return _svg(figure)


def calibration(evaluation: Evaluation) -> str:
    """Share of correct nuclei by predicted probability."""
    with mpl.rc_context(_STYLE):
        figure = Figure((4.7, 3.3), layout="constrained")
        axes = figure.subplots()
        axes.plot([0, 1], [0, 1], color="#5b6470", linewidth=1, linestyle="--", label="perfect")
        for number, method in enumerate(evaluation.methods):
            if method in evaluation.calibration:
                one = evaluation.calibration[method]
                size = 8 + 90 * one.count / max(1, one.count.max())
                axes.plot(one.probability, one.correct, color=colour(number), linewidth=1)
                axes.scatter(
                    one.probability, one.correct, s=size, color=colour(number), label=_short(method, 30)
                )
        axes.set(
            xlim=(0, 1.02),
            ylim=(-0.02, 1.04),
            xlabel="predicted probability",
            ylabel="share of correct nuclei",
        )
        axes.grid()
        axes.set_axisbelow(True)
        axes.legend(frameon=False)
        return _svg(figure)


def strata(evaluation: Evaluation) -> str:
    """Share of nuclei detected, by size, crowding and shape."""
    table = evaluation.strata
    names = list(dict.fromkeys(table["kind"]))
    methods = len(evaluation.methods)
    with mpl.rc_context(_STYLE):
        figure = Figure((4.7, 1.1 + 0.14 * max(1, len(names)) * (methods + 1.6)), layout="constrained")
        axes = figure.subplots()
        height = 0.8 / max(1, methods)
        for number, method in enumerate(evaluation.methods):
            rows = table[table["method"] == method].set_index("kind")
            at = [names.index(stratum) + (number - (methods - 1) / 2) * height for stratum in rows.index]
            axes.barh(at, rows["found"], height * 0.92, color=colour(number), label=_short(method, 30))
        size = table.drop_duplicates("kind").set_index("kind")["nuclei"]
        axes.set_yticks(range(len(names)), [f"{name} (n = {size[name]:,})" for name in names])
        axes.set(xlim=(0, 1), ylim=(len(names) - 0.45, -0.55), xlabel="share detected (IoU 0.5)")
        axes.grid(axis="x")
        axes.set_axisbelow(True)
        axes.legend(frameon=False, ncols=2, loc="lower left", bbox_to_anchor=(-0.3, 1))
        return _svg(figure)


def _in_two_lines(name: str) -> str:
    return "\n".join(textwrap.wrap(_short(name, 60), 15, max_lines=2, placeholder=" …"))


def _short(name: str, longest: int = 20) -> str:
    # The text also becomes a comment of the SVG, in which XML allows no control characters.
    name = " ".join(writable(name).split())
    return name if len(name) <= longest else name[: longest - 1] + "…"


def _svg(figure: Figure) -> str:
    file = io.StringIO()
    canvas: Any = FigureCanvasSVG(figure)
    with warnings.catch_warnings():
        # The font has no Chinese, for instance: such letters are drawn as boxes, which is no news to a user.
        warnings.filterwarnings("ignore", "Glyph .* missing from")
        canvas.print_svg(file, metadata={"Date": None, "Creator": None})
    return file.getvalue()
