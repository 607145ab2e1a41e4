"""The figures of reports on detectors, as SVG text."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import matplotlib
import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import NullFormatter

from lib.evaluation.analysis import IOU, Calibration, SizeCurve
from lib.evaluation.compare import Difference
from lib.evaluation.errors import KINDS, Errors
from lib.evaluation.protocols import Protocol
from lib.evaluation.report.style import BLUE, GREY, ORANGE, STYLE, canvas, mark_bounds, scale_sizes, to_svg
from lib.evaluation.result import Result

_KIND_COLOURS = ("#1b9e77", "#d95f02", "#7570b3", "#e7298a", "#666666", "#a6761d")


@STYLE
def size_figure(curve: SizeCurve, protocol: Protocol) -> str:
    """AP and recall along object size; dotted lines are the bounds of the protocol's ranges."""
    figure, (axes,) = canvas(7.2, 3.4)
    middle = np.sqrt(np.maximum(curve.edges[:-1], 0.5) * np.maximum(curve.edges[1:], 0.5))
    for values, label, colour in ((curve.ap, "AP", BLUE), (curve.recall, "recall (AR)", ORANGE)):
        axes.stairs(values, curve.edges, baseline=None, color=colour, alpha=0.35)
        axes.plot(middle, values, "o-", color=colour, label=label, markersize=4)
    scale_sizes(axes, curve.edges[0], curve.edges[-1])
    top = np.nanmax([curve.ap, curve.recall], initial=0.1)
    axes.set_ylim(0, min(1.25 * top, 1))  # room for the legend
    mark_bounds(axes, protocol)
    axes.legend(loc="upper left")
    return to_svg(figure)


@STYLE
def precision_recall_figure(result: Result) -> str:
    """Precision over recall at IoU .5 (or the lowest threshold), the mean of the classes, for every range."""
    figure, (axes,) = canvas(5.2, 3.8)
    thresholds = np.array(result.protocol.iou_thresholds)
    index = int(np.argmin(np.abs(thresholds - IOU)))
    names = list(result.protocol.ranges)
    colours = ["black", *matplotlib.colormaps["viridis"](np.linspace(0, 0.9, max(len(names) - 1, 1)))]
    for area, (name, colour) in enumerate(zip(names, colours, strict=False)):
        precision = result.curves.precision[index, :, :, area, -1]  # (R, K)
        precision = precision[:, precision[0] > -1]
        if precision.shape[1]:
            mean = precision.mean(axis=1)
            label = f"{name} ({result.counts[name]})"
            axes.plot(result.protocol.recall_levels, mean, color=colour, label=label, linewidth=1.6)
    axes.set(xlabel="recall", ylabel=f"precision at IoU {thresholds[index]:g}", xlim=(0, 1), ylim=(0, 1.02))
    if axes.lines:
        axes.legend(title="range (objects)")
    return to_svg(figure)


@STYLE
def error_figure(errors: Mapping[str, Errors]) -> str:
    """What each kind of error costs in AP50, one panel a range that has objects."""
    shown = {name: found for name, found in errors.items() if found.ap50 is not None}
    figure, panels = canvas(2.4, 2.5, max(len(shown), 1))
    for axes, (name, found) in zip(panels, shown.items(), strict=False):
        costs = [found.cost[kind] for kind in KINDS]
        bars = axes.barh(KINDS, costs, color=_KIND_COLOURS)
        axes.bar_label(bars, [f"{cost:.3f}" for cost in costs], padding=2, fontsize=8)
        axes.set(title=f"{name}: AP50 {found.ap50:.3f}", xlabel="cost in AP50")
        axes.margins(x=0.25)
        axes.tick_params(labelbottom=True)
        axes.grid(axis="y", visible=False)
    panels[0].invert_yaxis()
    return to_svg(figure)


@STYLE
def confusion_figure(table: np.ndarray, names: Sequence[str]) -> str:
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
            colour = "white" if share[row, column] > 0.55 else "black"
            axes.text(column, row, count, ha="center", va="center", color=colour, fontsize=7)
    axes.set(xlabel="detected as", ylabel="true class")
    return to_svg(figure)


@STYLE
def calibration_figure(calibration: Calibration) -> str:
    """Share of hits over score, with the number of detections below."""
    figure = Figure((4.6, 4.0), layout="constrained")
    upper, lower = figure.subplots(2, 1, sharex=True, height_ratios=(3, 1))
    upper.plot([0, 1], [0, 1], color=GREY, linestyle=":", label="perfect")
    filled = calibration.count > 0
    upper.plot(calibration.score[filled], calibration.precision[filled], "o-", color=BLUE, label="detections")
    upper.set(ylabel=f"share of hits (IoU {IOU:g})", ylim=(0, 1))
    upper.legend(loc="upper left", title=f"mean error {calibration.error:.3f}")
    lower.bar(np.arange(10) / 10 + 0.05, calibration.count, width=0.09, color=GREY)
    lower.set(xlabel="score", ylabel="count", xlim=(0, 1))
    if calibration.count.any():
        lower.set(yscale="log", ylim=(0.8, max(12, 1.5 * calibration.count.max())))
        lower.yaxis.set_minor_formatter(NullFormatter())
    return to_svg(figure)


@STYLE
def difference_figure(differences: Sequence[Difference]) -> str:
    """Differences with their 95 % intervals; grey where the interval holds 0."""
    shown = [found for found in differences if found.low is not None]
    figure, (axes,) = canvas(6.4, 0.9 + 0.27 * len(shown))
    for place, found in enumerate(shown):
        colour = GREY if found.verdict == "within noise" else BLUE if found.change > 0 else ORANGE
        axes.plot([found.low, found.high], [place, place], color=colour, linewidth=2)
        axes.plot(found.change, place, "o", color=colour, markersize=5)
    axes.axvline(0, color="black", linewidth=0.8)
    axes.set_yticks(range(len(shown)), [found.name for found in shown])
    axes.set(xlabel="second minus first, with 95 % interval", ylim=(len(shown) - 0.5, -0.5))
    return to_svg(figure)
