"""Figures of matplotlib as files."""

from pathlib import Path

from matplotlib.figure import Figure
from matplotlib.text import Text
from matplotlib.ticker import LogFormatter

from lib.utils.files import replacing


def take_literally_(figure: Figure) -> None:
    """Has a figure show its texts as they are: names with two ``$`` would be read as a formula, and often fail.

    The powers of ten at a logarithmic axis stay formulas.
    """
    axes_of = (axis for axes in figure.axes for axis in (axes.xaxis, axes.yaxis))
    formulas = {
        id(text)
        for axis in axes_of
        if any(isinstance(f, LogFormatter) for f in (axis.get_major_formatter(), axis.get_minor_formatter()))
        for text in axis.findobj(Text)
        if text is not axis.label
    }
    for text in figure.findobj(Text):
        if id(text) not in formulas:
            text.set_parse_math(False)


def write_figure(file: Path, figure: Figure, dpi: int) -> None:
    """Writes a figure, whole, in the format that the suffix of the file says."""
    take_literally_(figure)
    with replacing(file) as new:
        figure.savefig(new, dpi=dpi)
