"""Text tables of a result. A dash stands where there is no object."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from lib.evaluation.options import HUGE
from lib.evaluation.protocols import Metric

if TYPE_CHECKING:
    from lib.evaluation.result import Result

Row = Sequence[object]


def align(rows: Sequence[Row]) -> str:
    """Columns of equal width, the first to the left and the others to the right."""
    texts = [[cell_text(cell) for cell in row] for row in rows]
    widths = [max(map(len, column)) for column in zip(*texts, strict=True)]
    return "\n".join(
        "  ".join([row[0].ljust(widths[0]), *map(str.rjust, row[1:], widths[1:])]).rstrip() for row in texts
    )


def cell_text(value: object) -> str:
    """A number with three digits, a dash for None, other things as they are."""
    return "-" if value is None else f"{value:.3f}" if isinstance(value, float) else str(value)


def side_text(bounds: tuple[float, float]) -> str:
    """A range of areas as sides of squares: ``16 to 32``, ``from 96``, ``any``."""
    low, high = (math.sqrt(value) for value in bounds)
    if bounds == (0, HUGE):
        return "any"
    return f"from {low:.3g}" if bounds[1] >= HUGE else f"{low:.3g} to {high:.3g}"


def size_rows(result: Result) -> list[Row]:
    """Header, and one row a range: name, side, objects, AP and AR."""
    columns = _columns(result)
    rows: list[Row] = [("range", "side, px", "objects", *columns)]
    for area, (name, bounds) in enumerate(result.protocol.ranges.items()):
        values = [result.value(metric._replace(area=area)) for metric in columns.values()]
        rows.append((name, side_text(bounds), result.counts[name], *values))
    return rows


def class_rows(result: Result) -> list[Row]:
    """Header, and one row a class: name, objects, AP and AR, the headline's AP by range."""
    columns = _columns(result)
    headline = result.protocol.metrics()[result.protocol.headline]
    for area, name in list(enumerate(result.protocol.ranges))[1:]:
        columns[f"AP_{name}"] = headline._replace(area=area)
    rows: list[Row] = [("class", "objects", *columns)]
    for index, name in enumerate(result.names):
        values = [result.value(metric, index) for metric in columns.values()]
        rows.append((name, int(result.objects[index, 0]), *values))
    return rows


def long_rows(result: Result) -> list[Row]:
    """Header, and one row a class and range, for other programs: bounds in px^2, None where there is no object."""
    columns = _columns(result)
    rows: list[Row] = [("class", "range", "lowest_px2", "highest_px2", "objects", *columns)]
    counts = np.vstack([result.objects.sum(0), result.objects])
    for index, name in enumerate(("(all)", *result.names)):
        for area, (range_name, (low, high)) in enumerate(result.protocol.ranges.items()):
            category = index - 1 if index else None
            values = [result.value(metric._replace(area=area), category) for metric in columns.values()]
            rows.append((name, range_name, low, high, int(counts[index, area]), *values))
    return rows


def limit_line(result: Result) -> str:
    """Recall by the number of detections an image."""
    found = {key: metric for key, metric in result.protocol.metrics().items() if metric.kind == "AR"}
    return ", ".join(
        f"{key} {cell_text(result.value(metric))}" for key, metric in found.items() if metric.area == 0
    )


def _columns(result: Result) -> dict[str, Metric]:
    """Title -> number over the first range and with the most detections: AP, AP50, AP75, AR and the like."""
    last = len(result.protocol.limits) - 1
    metrics = result.protocol.metrics().items()
    return {key.split("_")[0]: metric for key, metric in metrics if metric.area == 0 and metric.limit == last}
