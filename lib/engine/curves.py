"""The epochs of a run as a table and as curves."""

import csv
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from matplotlib.figure import Figure

Epochs = Sequence[Mapping[str, Any]]


def columns_of(epochs: Epochs) -> list[str]:
    """The name of every value, in order of first appearance."""
    return list(dict.fromkeys(name for epoch in epochs for name in epoch))


def write_results(file: Path, epochs: Epochs) -> None:
    """Writes one row per epoch; a cell is empty where the epoch was not tested or a range has no object."""
    with file.open("w", newline="", encoding="utf-8") as stream:
        writer = csv.DictWriter(stream, columns_of(epochs))
        writer.writeheader()
        writer.writerows(epochs)


def draw_curves(file: Path, epochs: Epochs) -> None:
    """Draws losses, AP by size and learning rate over the epochs, as a PNG."""
    names = columns_of(epochs)
    panels = {
        "loss": [name for name in names if name.startswith("loss_")],
        "AP": [name for name in names if name == "AP" or name.startswith("AP_")],
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
        axes.grid(alpha=0.3)
        if len(lines) > 1:
            axes.legend(fontsize=8)
    figure.savefig(file, dpi=120)
