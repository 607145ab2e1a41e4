"""A comparison of two detectors, to read: its table, its sentence, its HTML page."""

from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

from lib.evaluation.compare import Comparison, Difference
from lib.evaluation.report.plots import difference_figure
from lib.evaluation.report.style import page
from lib.utils.table import Row

_MOST_CLASSES = 40  # of the plot: those with the largest differences


class Names(NamedTuple):
    """What the two detectors are called."""

    first: str
    second: str


def short_names(first: str, second: str) -> Names:
    """The parts in which two paths differ: ``runs/a/x.json`` and ``runs/b/x.json`` are ``a`` and ``b``."""
    paths = [list(Path(text).parts) for text in (first, second)]
    if paths[0] == paths[1]:
        return Names("first", "second")
    for end in (0, -1):
        while len(paths[0]) > 1 < len(paths[1]) and paths[0][end] == paths[1][end]:
            for path in paths:
                path.pop(end)
    return Names(*(str(Path(*path)) for path in paths))


def comparison_rows(differences: Iterable[Difference], names: Names) -> list[Row]:
    """Header, and one row for each number: both values, their difference with its interval, p-value, verdict."""
    rows: list[Row] = [("", *names, "difference", "95 % interval", "p", "verdict")]
    for entry in differences:
        change = None if entry.change is None else f"{entry.change:+.3f}"
        rows.append((*entry[:3], change, entry.interval, entry.p_value, entry.verdict(*names)))
    return rows


def summary(comparison: Comparison, names: Names) -> str:
    """One sentence on the metric to quote."""
    quoted = comparison.quoted
    if quoted.change is None or quoted.interval is None:
        return f"There is no object to compare {names.first} and {names.second} on."
    interval = f"95 % interval {quoted.interval}, p {quoted.p_value:.3f}"
    if quoted.interval.holds_zero:
        return f"{quoted.name} differs by {quoted.change:+.3f}, which is within noise ({interval})."
    better = names.second if quoted.change > 0 else names.first
    return f"{better} is better: {quoted.name} differs by {quoted.change:+.3f} ({interval})."


def build_comparison(comparison: Comparison, names: Names) -> str:
    """The page as HTML text."""
    classes = [entry for entry in comparison.classes if entry.change is not None]
    classes.sort(key=lambda entry: -abs(entry.change or 0.0))
    difference = f"{names.second} minus {names.first}"
    return page(
        "comparison.html",
        f"{names.second} against {names.first}",
        summary=summary(comparison, names),
        comparison=comparison,
        second=names.second,
        size_figure=difference_figure(comparison.metrics, difference),
        size_rows=comparison_rows(comparison.metrics, names),
        class_figure=difference_figure(classes[:_MOST_CLASSES], difference),
        class_rows=comparison_rows(comparison.classes, names),
    )
