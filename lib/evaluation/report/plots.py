"""The figures of reports on detectors and on data sets, as SVG elements."""

from collections.abc import Mapping, Sequence

import matplotlib
import numpy as np
from markupsafe import Markup
from matplotlib.figure import Figure
from matplotlib.ticker import NullFormatter

from lib.evaluation.analysis import Calibration, SizeCurve
from lib.evaluation.compare import Difference
from lib.evaluation.errors import KINDS, Errors
from lib.evaluation.matching import IOU
from lib.evaluation.protocols import Protocol
from lib.evaluation.report.style import BLUE, GRAY, ORANGE, STYLE, canvas, mark_bounds, scale_sizes, to_svg
from lib.evaluation.result import Result

_BINS_PER_OCTAVE = 4
_MOST_BINS = 16
_KIND_COLORS = ("#1b9e77", "#d95f02", "#7570b3", "#e7298a", "#666666", "#a6761d")


@STYLE
def size_figure(curve: SizeCurve, protocol: Protocol) -> Markup:
    """AP and recall against object size; dotted lines are the bounds of the protocol's ranges."""
    figure, (axes,) = canvas(7.2, 3.4)
    middle = np.sqrt(np.maximum(curve.edges[:-1], 0.5) * np.maximum(curve.edges[1:], 0.5))
    for values, label, color in ((curve.ap, "AP", BLUE), (curve.recall, "AR (average recall)", ORANGE)):
        axes.stairs(values, curve.edges, baseline=None, color=color, alpha=0.35)
        axes.plot(middle, values, "o-", color=color, label=label, markersize=4)
    scale_sizes(axes, curve.edges[0], curve.edges[-1])
    top = np.nanmax([curve.ap, curve.recall], initial=0.1)
    axes.set_ylim(0, min(1.25 * top, 1))  # room for the legend
    mark_bounds(axes, protocol)
    axes.legend(loc="upper left")
    return to_svg(figure)


@STYLE
def precision_recall_figure(result: Result) -> Markup:
    """Precision over recall at IoU .5 (or the threshold next to it), the mean of the classes, for every range."""
    figure, (axes,) = canvas(5.2, 3.8)
    thresholds = np.array(result.protocol.iou_thresholds)
    index = int(np.argmin(np.abs(thresholds - IOU)))
    names = list(result.protocol.ranges)
    colors = ["black", *matplotlib.colormaps["viridis"](np.linspace(0, 0.9, max(len(names) - 1, 1)))]
    for area, (name, color) in enumerate(zip(names, colors, strict=False)):
        precision = result.curves.precision[index, :, :, area, -1]  # (R, K)
        precision = precision[:, precision[0] > -1]
        if precision.shape[1]:
            mean = precision.mean(axis=1)
            label = f"{name} ({result.counts[name]})"
            axes.plot(result.protocol.recall_levels, mean, color=color, label=label, linewidth=1.6)
    axes.set(xlabel="recall", ylabel=f"precision at IoU {thresholds[index]:g}", xlim=(0, 1), ylim=(0, 1.02))
    if axes.lines:
        axes.legend(title="range (objects)")
    return to_svg(figure)


@STYLE
def error_figure(errors: Mapping[str, Errors]) -> Markup:
    """What each kind of error costs in AP50, one panel for each range; the ranges must have objects."""
    figure, panels = canvas(2.4, 2.5, max(len(errors), 1))
    for axes, (name, of_range) in zip(panels, errors.items(), strict=False):
        costs = [of_range.cost[kind] for kind in KINDS]
        bars = axes.barh(KINDS, costs, color=_KIND_COLORS)
        axes.bar_label(bars, [f"{cost:.3f}" for cost in costs], padding=2, fontsize=8)
        axes.set(title=f"{name}: AP50 {of_range.ap50:.3f}", xlabel="cost in AP50")
        axes.margins(x=0.25)
        axes.tick_params(labelbottom=True)
        axes.grid(axis="y", visible=False)
    panels[0].invert_yaxis()
    return to_svg(figure)


@STYLE
def confusion_figure(table: np.ndarray, names: Sequence[str]) -> Markup:
    """Confusion matrix: rows are true classes and show shares of the row, cells show counts."""
    size = len(names) + 1
    side = 2.2 + 0.34 * size
    figure, (axes,) = canvas(side + 0.6, side)
    share = table / np.maximum(table.sum(axis=1, keepdims=True), 1)
    share[-1] = 0  # background has no total to be a share of
    axes.imshow(share, cmap="Blues", vmin=0, vmax=1)
    axes.grid(visible=False)
    axes.set_xticks(range(size), [*names, "missed"], rotation=60, ha="right", rotation_mode="anchor")
    axes.set_yticks(range(size), [*names, "background"])
    for (row, column), count in np.ndenumerate(table):
        if count:
            color = "white" if share[row, column] > 0.55 else "black"
            axes.text(column, row, count, ha="center", va="center", color=color, fontsize=7)
    axes.set(xlabel="detected as", ylabel="true class")
    return to_svg(figure)


@STYLE
def calibration_figure(calibration: Calibration) -> Markup:
    """Precision against score, with the number of detections below."""
    figure = Figure((4.6, 4.0), layout="constrained")
    upper, lower = figure.subplots(2, 1, sharex=True, height_ratios=(3, 1))
    upper.plot([0, 1], [0, 1], color=GRAY, linestyle=":", label="perfect")
    filled = calibration.num_detections > 0
    upper.plot(calibration.score[filled], calibration.precision[filled], "o-", color=BLUE, label="detections")
    upper.set(ylabel=f"precision (IoU {IOU:g})", ylim=(0, 1))
    upper.legend(loc="upper left", title=f"expected calibration error {calibration.error:.3f}")
    lower.bar(np.arange(10) / 10 + 0.05, calibration.num_detections, width=0.09, color=GRAY)
    lower.set(xlabel="score", ylabel="detections", xlim=(0, 1))
    if calibration.num_detections.any():
        lower.set(yscale="log", ylim=(0.8, max(12, 1.5 * calibration.num_detections.max())))
        lower.yaxis.set_minor_formatter(NullFormatter())
    return to_svg(figure)


@STYLE
def difference_figure(differences: Sequence[Difference], what: str) -> Markup:
    """Differences with their 95 % intervals, gray where the interval contains 0; ``what`` says of what they are."""
    shown = [(entry.name, entry.change or 0.0, entry.interval) for entry in differences if entry.interval]
    figure, (axes,) = canvas(6.4, 0.9 + 0.27 * len(shown))
    for place, (_, change, interval) in enumerate(shown):
        color = GRAY if interval.holds_zero else BLUE if change > 0 else ORANGE
        axes.plot(interval, [place, place], color=color, linewidth=2)
        axes.plot(change, place, "o", color=color, markersize=5)
    axes.axvline(0, color="black", linewidth=0.8)
    axes.set_yticks(range(len(shown)), [name for name, *_ in shown])
    axes.set(xlabel=f"{what}, with 95 % interval", ylim=(len(shown) - 0.5, -0.5))
    return to_svg(figure)


@STYLE
def histogram_figure(sides: np.ndarray, protocol: Protocol) -> Markup:
    """Number of objects by ``sides`` (G,), square roots of areas in px, at least one; dotted as in ``size_figure``."""
    figure, (axes,) = canvas(7.2, 2.6)
    octaves = np.log2(np.maximum(sides, 0.5)) * _BINS_PER_OCTAVE
    edges = 2 ** (np.arange(np.floor(octaves.min()), np.floor(octaves.max()) + 2) / _BINS_PER_OCTAVE)
    axes.hist(np.maximum(sides, 0.5), edges.tolist(), color=BLUE)
    scale_sizes(axes, edges[0], edges[-1])
    mark_bounds(axes, protocol)
    axes.set_ylabel("objects")
    return to_svg(figure)


@STYLE
def coverage_figure(sides: np.ndarray, best: Mapping[str, np.ndarray], threshold: float) -> Markup:
    """Share of objects that some prior matches against object size, in bins of equal count.

    Args:
        sides: as for ``histogram_figure``.
        best: label -> (G,) best IoU of each object with a prior; one matches from ``threshold`` on.
    """
    figure, (axes,) = canvas(7.2, 3.0)
    order = np.argsort(sides, kind="stable")
    bins = np.array_split(order, max(1, min(_MOST_BINS, len(order) // 10)))
    middle = [np.median(sides[rows]) for rows in bins]
    for (label, values), color in zip(best.items(), (ORANGE, BLUE), strict=False):
        shares = [(values[rows] >= threshold).mean() for rows in bins]
        axes.plot(middle, shares, "o-", color=color, markersize=4, label=label)
    axes.axhline(1, color=GRAY, linewidth=0.8)
    scale_sizes(axes, max(sides.min(), 0.5), max(sides.max(), 1))
    axes.set(ylabel=f"share with a prior of IoU {threshold:g}", ylim=(0, 1.04))
    axes.legend(loc="lower right")
    return to_svg(figure)
