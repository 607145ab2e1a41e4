"""The figures of reports on data sets, as SVG text."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from lib.evaluation.protocols import Protocol
from lib.evaluation.report.style import BLUE, GREY, ORANGE, STYLE, canvas, mark_bounds, scale_sizes, to_svg

_BINS_AN_OCTAVE = 4
_MOST_BINS = 16


@STYLE
def histogram_figure(sides: np.ndarray, protocol: Protocol) -> str:
    """How many objects there are of each size; dotted lines are the bounds of the protocol's ranges.

    Args:
        sides: (G,) square roots of areas, px, at least one. protocol: of the ranges.
    """
    figure, (axes,) = canvas(7.2, 2.6)
    octaves = np.log2(np.maximum(sides, 0.5)) * _BINS_AN_OCTAVE
    edges = 2 ** (np.arange(np.floor(octaves.min()), np.floor(octaves.max()) + 2) / _BINS_AN_OCTAVE)
    axes.hist(np.maximum(sides, 0.5), edges, color=BLUE)
    scale_sizes(axes, edges[0], edges[-1])
    mark_bounds(axes, protocol)
    axes.set_ylabel("objects")
    return to_svg(figure)


@STYLE
def coverage_figure(sides: np.ndarray, best: Mapping[str, np.ndarray], threshold: float) -> str:
    """Share of objects that some prior matches along object size, in bins of equal count.

    Args:
        sides: (G,) square roots of areas, px, at least one.
        best: label -> (G,) best IoU of each object with a prior.
        threshold: IoU from which a prior matches.
    """
    figure, (axes,) = canvas(7.2, 3.0)
    order = np.argsort(sides, kind="stable")
    bins = np.array_split(order, max(1, min(_MOST_BINS, len(order) // 10)))
    middle = [np.median(sides[rows]) for rows in bins]
    for (label, values), colour in zip(best.items(), (ORANGE, BLUE), strict=False):
        shares = [(values[rows] >= threshold).mean() for rows in bins]
        axes.plot(middle, shares, "o-", color=colour, markersize=4, label=label)
    axes.axhline(1, color=GREY, linewidth=0.8)
    scale_sizes(axes, max(sides.min(), 0.5), max(sides.max(), 1))
    axes.set(ylabel=f"share with a prior of IoU {threshold:g}", ylim=(0, 1.04))
    axes.legend(loc="lower right")
    return to_svg(figure)
