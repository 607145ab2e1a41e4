"""What all pages and figures share. No figure needs a display or changes global state."""

import io
import warnings
from pathlib import Path
from typing import Any

import matplotlib
import numpy as np
from markupsafe import Markup
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from lib.evaluation.protocols import Protocol
from lib.utils.figures import take_literally_
from lib.utils.template import render

BLUE, ORANGE, GRAY = "#2166ac", "#d95f02", "#888888"
STYLE = matplotlib.rc_context(  # a decorator of every function that draws
    {
        "font.size": 9,
        "axes.spines.top": False,
        "axes.spines.right": False,
        "axes.grid": True,
        "grid.color": "#e4e4e4",
        "axes.axisbelow": True,
        "legend.frameon": False,
        "svg.hashsalt": "report",  # the same figure gives the same bytes
        "svg.fonttype": "none",  # the browser has the letters of all languages, matplotlib's font has not
    }
)


def page(template: str, title: str, **values: Any) -> str:
    """A document from a file in ``templates``: one file that loads nothing from elsewhere."""
    return render(Path(__file__).parent / "templates" / template, title=title, **values)


def canvas(width: float, height: float, panels: int = 1, columns: int = 4) -> tuple[Figure, list[Axes]]:
    """A figure of panels that share their axes, at most ``columns`` in a row; a panel's size is in inches."""
    columns = min(columns, panels)
    rows = -(-panels // columns)
    figure = Figure((width * columns, height * rows), layout="constrained")
    grid = figure.subplots(rows, columns, sharex=True, sharey=True, squeeze=False).flatten()
    for axes in grid[panels:]:
        axes.remove()
    return figure, list(grid[:panels])


def to_svg(figure: Figure) -> Markup:
    """The figure as an SVG element, which templates do not escape."""
    text = io.StringIO()
    take_literally_(figure)
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Glyph .* missing from font")  # only the browser's fonts count
        figure.savefig(text, format="svg", metadata={"Date": None})
    return Markup(text.getvalue()[text.getvalue().index("<svg") :])


def scale_sizes(axes: Axes, smallest: float, largest: float) -> None:
    """Makes x a logarithmic axis of object sizes with ticks at powers of two."""
    axes.set_xscale("log", base=2)
    ticks = [2**power for power in range(14) if smallest <= 2**power <= largest]
    axes.set_xticks(ticks, ticks)
    axes.set_xlim(0.9 * smallest, 1.1 * largest)
    axes.set_xlabel("object size: square root of area, px of the original image")


def mark_bounds(axes: Axes, protocol: Protocol) -> None:
    """Dotted lines at the bounds of the protocol's ranges, where they are in view."""
    left, right = axes.get_xlim()
    for bound in {np.sqrt(low) for low, _ in protocol.ranges.values()}:
        if left < bound < right:
            axes.axvline(bound, color=GRAY, linestyle=":", linewidth=1)
