"""Image records of one file: what several of them have counts once."""

import itertools
import math
from collections import defaultdict
from collections.abc import Sequence
from typing import Any


def repeats(records: Sequence[Any], files: Sequence[Any], classes: Sequence[Any], boxes: Sequence[Any]) -> list[int]:
    """The rows of boxes that another record of the same file has too: of the same class, and within a pixel.

    Args:
        records, files: the image record of each box, and the record of the same file that is kept; its boxes all stay.
        boxes: [x, y, width, height] in pixels; anything else is no repeat.
    """
    seen: dict[Any, list[tuple[Any, Any]]] = defaultdict(list)  # file, class and pixel of the corner -> record, box
    result = []
    for row in sorted(range(len(records)), key=lambda row: bool(records[row] != files[row])):
        record, box = records[row], boxes[row]
        if not _is_box(box):
            continue
        x, y = math.floor(box[0]), math.floor(box[1])
        cells = itertools.product([files[row]], [classes[row]], (x - 1, x, x + 1), (y - 1, y, y + 1))
        near = itertools.chain.from_iterable(seen.get(cell, ()) for cell in cells)
        if any(record != other and _is_near(box, their) for other, their in near):
            result.append(row)
        else:
            seen[files[row], classes[row], x, y].append((record, box))
    return result


def _is_box(box: Any) -> bool:
    """Whether this is a list of four numbers that can be pixels."""
    is_four = isinstance(box, list) and len(box) == 4
    return is_four and all(isinstance(value, (int, float)) and abs(value) < 1e9 for value in box)


def _is_near(box: list[float], other: list[float]) -> bool:
    return all(abs(a - b) < 1 for a, b in zip(box, other, strict=True))
