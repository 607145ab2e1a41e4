"""The HTML page of a comparison."""

from __future__ import annotations

import html

from lib.evaluation.compare import Comparison, comparison_rows, summary
from lib.evaluation.report.html import page, section, table
from lib.evaluation.report.plots import difference_figure

_MOST_CLASSES = 40  # of the plot: those with the largest differences


def build_comparison(comparison: Comparison, names: tuple[str, str]) -> str:
    """The page as HTML text.

    Args:
        comparison: of two detectors.
        names: of the first and the second.
    """
    text = (
        f"{comparison.num_resamples:,} resamples of {comparison.num_images:,} images, drawn with replacement and the "
        f"same for both detectors. To the right of 0, {html.escape(names[1])} is better. An interval that holds 0 is "
        "within noise. Of twenty differences that are none, one is expected to look like one at 95 %: read the rows "
        "of many classes with that in mind."
    )
    classes = [found for found in comparison.classes if found.change is not None]
    largest = sorted(classes, key=lambda found: -abs(found.change))[:_MOST_CLASSES]
    rows = comparison_rows(comparison, names)
    by_size, by_class = rows[: 1 + len(comparison.metrics)], rows[:1] + rows[1 + len(comparison.metrics) :]
    return page(
        f"{names[1]} against {names[0]}",
        html.escape(summary(comparison, names)),
        [
            section("By size", text, difference_figure(comparison.metrics), table(by_size)),
            section("By class", "", difference_figure(largest), table(by_class)),
        ],
    )
