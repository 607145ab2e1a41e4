"""The epochs of a run as a table and as curves."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from lib.evaluation.protocols import quoted_keys
from lib.utils.figures import write_figure
from lib.utils.files import write_text
from lib.utils.table import csv_text

Epochs = Sequence[Mapping[str, Any]]


def columns_of(epochs: Epochs) -> list[str]:
    """The name of every value, in order of first appearance."""
    return list(dict.fromkeys(name for epoch in epochs for name in epoch))


def write_results(file: Path, epochs: Epochs) -> None:
    """Writes one row per epoch; a cell is empty where the epoch was not tested or a range has no object."""
    names = columns_of(epochs)
    write_text(file, csv_text([names, *([epoch.get(name) for name in names] for epoch in epochs)]))


def draw_curves(file: Path, epochs: Epochs) -> None:
    """Draws losses, AP by size and learning rate over the epochs, as a PNG."""
    names = columns_of(epochs)
    panels = {
        "loss": [name for name in names if name.startswith("loss_")],
        "AP": quoted_keys(names),
        "learning rate": ["lr"],
    }
    panels = {title: lines for title, lines in panels.items() if lines}
    figure = Figure(figsize=(4.2 * len(panels), 3.2), layout="constrained")
    all_axes = figure.subplots(1, len(panels), squeeze=False)[0]
    for axes, (title, lines) in zip(all_axes, panels.items(), strict=True):
        for name in lines:
            points = [(epoch["epoch"], epoch[name]) for epoch in epochs if epoch.get(name) is not None]
            if points:
                axes.plot(*zip(*points, strict=True), marker="." if len(points) < 30 else None, label=name)
        axes.set(title=title, xlabel="epoch")
        axes.set_ylim(bottom=0)
        axes.set_xlim(*_limits(epochs))  # those of matplotlib are fractions of an epoch where there is only one point
        axes.xaxis.set_major_locator(MaxNLocator(integer=True, min_n_ticks=1))
        axes.grid(alpha=0.3)
        if len(lines) > 1:
            axes.legend(fontsize=8)
    write_figure(file, figure, dpi=120)


def _limits(epochs: Epochs) -> tuple[float, float]:
    """The ends of the axis of epochs: half an epoch beyond the first and the last."""
    numbers = [epoch["epoch"] for epoch in epochs]
    return min(numbers) - 0.5, max(numbers) + 0.5
