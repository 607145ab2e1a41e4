"""The figures of a study: AP against object size, and against what a detector costs."""

from __future__ import annotations

import itertools
from pathlib import Path

import matplotlib
import numpy as np
from matplotlib.figure import Figure

from lib.evaluation.report.style import STYLE, canvas, scale_sizes
from lib.study.summary import Study, budget_title


@STYLE
def plot_by_size(study: Study, file: Path) -> None:
    """AP against object size, one line for each row, one panel for each budget; a band holds all seeds."""
    figure, panels = canvas(5.4, 4.0, len(study.budgets), columns=2)
    for axes, budget in zip(panels, study.budgets, strict=True):
        for row, color in _colors(study).items():
            if curves := [result["curve"] for result in study.of(row, budget) if result["curve"]]:
                edges, ap = np.maximum(curves[0]["edges"], 0.5), np.array([curve["ap"] for curve in curves])
                middle = np.sqrt(edges[:-1] * edges[1:])
                axes.plot(middle, ap.mean(0), "o-", color=color, label=row, markersize=3.5)
                axes.fill_between(middle, ap.min(0), ap.max(0), color=color, alpha=0.15, linewidth=0)
                scale_sizes(axes, edges[0], edges[-1])
        axes.set_title(budget_title(budget))
    panels[0].set_ylabel("AP (IoU .50 to .95)")
    _save(figure, file)


@STYLE
def plot_cost(study: Study, file: Path) -> None:
    """AP of the smallest objects against cost and time; a dot for each seed, a diamond for their mean."""
    metric = study.keys[min(1, len(study.keys) - 1)]
    figure = Figure((9.8, 3.6 * len(study.budgets)), layout="constrained")
    panels = figure.subplots(len(study.budgets), 2, squeeze=False, sharex="col", sharey=True)
    for line, budget in zip(panels, study.budgets, strict=True):
        for row, color in _colors(study).items():
            if values := study.values(row, budget, metric):
                costs = study.of(row, budget)[0]["gmac"], study.time_ms(row)
                for axes, cost in zip(line, costs, strict=True):
                    axes.plot([cost] * len(values), values, "o", color=color, alpha=0.4, markersize=4)
                    axes.plot(cost, np.mean(values), "D", color=color, label=row)
        for axes, cost in zip(line, ("10^9 multiply-accumulates", "milliseconds per image"), strict=True):
            axes.set(xlabel=cost, ylabel=metric, title=budget_title(budget))
            axes.tick_params(labelbottom=True)
    for axes in panels[0]:
        axes.set_xlim(left=0)
    _save(figure, file)


def _colors(study: Study) -> dict[str, tuple[float, ...]]:
    """Row -> its color, the same in all figures."""
    maps = matplotlib.colormaps["tab10"], matplotlib.colormaps["Dark2"]
    colors = [colors(index) for colors in maps for index in range(colors.N)]
    return dict(zip(study.about["grid"]["rows"], itertools.cycle(colors), strict=False))


def _save(figure: Figure, file: Path) -> None:
    """Adds the legend, starts the shared AP axis at 0, and writes the file."""
    entries = (zip(*reversed(axes.get_legend_handles_labels()), strict=True) for axes in figure.axes)
    legend = dict(itertools.chain.from_iterable(entries))  # label -> line: each row once
    figure.legend(legend.values(), legend.keys(), loc="outside right upper")
    figure.axes[0].set_ylim(bottom=0)
    file.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(file, dpi=110)
