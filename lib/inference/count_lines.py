"""Lines across a video, and the objects that cross them."""

from collections import Counter
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

# From its nearer side to the farther one, as one sees it who looks from the line's first point to its second
TO_RIGHT, TO_LEFT = "to_right", "to_left"
SURE = (
    0.2  # share of a box's shorter side, at least 1 pixel, by which a center must be off a line to be on a side of it
)


class CountLine(NamedTuple):
    """A line from its first point to its second, in pixels; or in shares of width and height, if none is above 1."""

    x1: float
    y1: float
    x2: float
    y2: float

    def in_pixels(self, size: tuple[int, int]) -> "CountLine":
        """The line on a frame of (height, width)."""
        height, width = size if max(self) <= 1 else (1, 1)
        return CountLine(self.x1 * width, self.y1 * height, self.x2 * width, self.y2 * height)


def parse_line(text: str) -> CountLine:
    """``0,240,640,240``, or ``0,.5,1,.5`` in shares of the frame."""
    try:
        line = CountLine(*map(float, text.split(",")))
        is_line = bool(np.isfinite(line).all()) and min(line) >= 0 and line[:2] != line[2:]
    except (TypeError, ValueError):
        is_line = False
    if not is_line:
        raise ValueError(
            "--count-line must be x1,y1,x2,y2: two different points in pixels of the frame, or in shares of its width "
            f"and height, such as 0,.5,1,.5; got {text!r}"
        )
    return line


class Crossing(NamedTuple):
    """That an object has crossed a line."""

    frame: int
    number: int  # of its track
    label: int
    direction: str  # TO_RIGHT or TO_LEFT


class LineCounter:
    """Counts the tracks whose centers cross a line, each time they do.

    A center that is nearly on the line is on neither side, so that an object that trembles there is counted once. What
    was hidden while it crossed is counted when it is seen again.

    Args:
        line: in pixels.
    """

    def __init__(self, line: CountLine):
        self.line = line
        self.crossings: list[Crossing] = []
        self._start, end = np.array(line[:2]), np.array(line[2:])
        self._length = float(np.linalg.norm(end - self._start))
        self._along = (end - self._start) / self._length
        self._seen: dict[int, tuple[float, float]] = {}  # of a track: where it was when it was last on a side

    def update(self, frame: int, boxes: np.ndarray, numbers: Sequence[int], labels: Sequence[int]) -> None:
        """The tracks of a frame: boxes (D, 4) xyxy, numbers and labels (D,)."""
        offsets = (boxes[:, :2] + boxes[:, 2:]) / 2 - self._start  # (D, 2)
        places = offsets @ self._along  # (D,) along the line
        sides = offsets[:, 1] * self._along[0] - offsets[:, 0] * self._along[1]  # (D,) pixels to the right of the line
        margins = np.maximum(SURE * (boxes[:, 2:] - boxes[:, :2]).min(axis=1, initial=np.inf), 1)
        for number, label, place, side, margin in zip(numbers, labels, places, sides, margins, strict=True):
            if abs(side) < margin:
                continue
            old_place, old_side = self._seen.get(number, (place, side))
            if (side > 0) != (old_side > 0):
                cut = old_place + (place - old_place) * old_side / (old_side - side)
                if 0 <= cut <= self._length:
                    self.crossings.append(Crossing(frame, number, label, TO_RIGHT if side > 0 else TO_LEFT))
            self._seen[number] = place, side

    def counts(self) -> Counter[tuple[int, str]]:
        """(label, direction) -> crossings."""
        return Counter((crossing.label, crossing.direction) for crossing in self.crossings)

    def text(self) -> str:
        """The crossings of all classes, to be drawn beside the line."""
        total = Counter(crossing.direction for crossing in self.crossings)
        return f"{total[TO_RIGHT]} to right, {total[TO_LEFT]} to left"
