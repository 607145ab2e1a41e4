"""Merging row by row of windows: what no later window can change leaves memory."""

import math

import numpy as np
import torch

from lib.inference.tiles import Tiles, WindowDetections, joined, merge
from lib.ops.fusion import fuse_boxes
from lib.structures import Detections

# Groups of boxes whose frame is at most so much larger than their least box are kept apart where their frames share
# up to a fourth of the threshold: then no box of one, nor a mean, shares more than the threshold with one of the other.
COMPACT, SHARE = 3.9, 4
GROWTH = 1.5  # of what is held, before it is looked at again


class RowMerger:
    """Merges the detections of rows of windows, from the top to the bottom of an image.

    Boxes that overlap directly or through others are a group, and groups are merged as ``merge`` does: together they
    give what it gives for all boxes at once. A group is settled when it ends above all later windows. With ``fusion``
    it must also be out of the reach of the groups that do not: one window's width beside them, as the mean of a box
    and of a later one may lie there. (Chains of means that lead farther than that are not foreseen.)

    Args:
        tiles: how boxes are merged.
        width: of a window, in pixels.

    Attributes:
        held: the boxes that are not settled.
    """

    def __init__(self, tiles: Tiles, width: int, held: WindowDetections | None = None):
        self._tiles, self._width = tiles, width
        self.held = held or nothing()
        self._enough = 0.0  # boxes from which it pays to look for settled ones

    def add(self, row: WindowDetections, frontier: float) -> Detections:
        """The objects that are settled now, of all boxes of a row of windows and of those held.

        ``frontier`` is the y of the upper border of the next row; infinity after the last one.
        """
        is_finite = row.boxes.isfinite().all(1)
        held = joined([self.held, WindowDetections(*(value[is_finite] for value in row))])
        if len(held.boxes) < self._enough and frontier < math.inf:
            self.held = held
            return merge(nothing(), self._tiles)
        is_open = self._is_open(held, frontier)
        self.held = WindowDetections(*(value[is_open] for value in held))
        self._enough = GROWTH * len(self.held.boxes)
        return merge(WindowDetections(*(value[~is_open] for value in held)), self._tiles)

    def _is_open(self, held: WindowDetections, frontier: float) -> torch.Tensor:
        """(D,) whether a later box may change what becomes of each."""
        groups, frames = group_boxes(held.boxes, held.labels, self._tiles.threshold)
        is_open = frames[:, 3] > frontier
        if self._tiles.merge == "fusion" and is_open.any():
            is_open |= self._is_in_reach(frames, is_open)
        return is_open[groups]

    def _is_in_reach(self, frames: torch.Tensor, is_open: torch.Tensor) -> torch.Tensor:
        """(M,) whether a frame lies at the height of an open one, within about a window's width of it."""
        columns = (frames[:, ::2] / self._width).floor().long().numpy()
        columns -= columns.min()
        tops = np.full(columns.max() + 3, np.inf)  # the upper border of what is open, in each column of that width
        for (first, last), top in zip(columns[is_open.numpy()], frames[is_open, 1].tolist(), strict=True):
            reach = slice(max(first - 1, 0), last + 2)
            tops[reach] = np.minimum(tops[reach], top)
        nearest = [tops[first : last + 1].min() for first, last in columns]
        return frames[:, 3] > torch.tensor(nearest)


def nothing() -> WindowDetections:
    """Detections of no windows."""
    empty = torch.zeros(0, dtype=torch.int64)
    return WindowDetections(torch.zeros(0, 4), torch.zeros(0), empty, empty, torch.zeros(0, dtype=torch.bool))


def group_boxes(boxes: torch.Tensor, labels: torch.Tensor, threshold: float) -> tuple[torch.Tensor, torch.Tensor]:
    """(D,) the group of each box, and (M, 4) the frames around the groups.

    Neither a box of one group nor any weighted mean of its boxes covers more than ``threshold`` of the smaller of the
    two together with one of another group, if they have one label.
    """
    groups, frames, labels = torch.arange(len(boxes)), boxes, labels
    least = boxes[:, 2:] - boxes[:, :2]  # width and height, of the boxes of each group
    while True:
        count = len(frames)
        for is_strict in (False, True):
            joins = _joins(frames, least, labels, threshold, is_strict)
            founders = joins.unique()
            number = torch.searchsorted(founders, joins)
            groups, labels = number[groups], labels[founders]
            frames, least = _joined(frames, least, number, len(founders))
        if len(frames) == count:
            return groups, frames


def _joins(
    frames: torch.Tensor, least: torch.Tensor, labels: torch.Tensor, threshold: float, is_strict: bool
) -> torch.Tensor:
    """(M,) the frame that each joins, which may be itself: where they share enough of the smaller one. ``is_strict``:
    where they share anything, and one of them is much larger than its least box.
    """
    is_compact = (frames[:, 2:] - frames[:, :2]).prod(1) <= COMPACT * least.prod(1)
    sources = torch.arange(len(frames)) + 1
    order, share = torch.arange(len(frames)), threshold / SHARE
    if is_strict:
        order, share = is_compact.long().argsort(stable=True), 0.0  # those that are not compact found first
        sources = torch.where(is_compact, 0, sources)  # compact ones never join each other
    weights = torch.zeros(len(frames))
    clusters = fuse_boxes(frames[order], weights, labels[order], sources[order], share, "ios")
    joins = torch.empty(len(frames), dtype=torch.int64)
    joins[order] = order[clusters.founders][clusters.members]
    return joins


def _joined(
    frames: torch.Tensor, least: torch.Tensor, number: torch.Tensor, count: int
) -> tuple[torch.Tensor, torch.Tensor]:
    """The frames around those of each number, and the least width and height."""
    places = number[:, None].expand(-1, 2)
    low, high, small = (frames.new_full((count, 2), value) for value in (math.inf, -math.inf, math.inf))
    low = low.scatter_reduce(0, places, frames[:, :2], "amin")
    high = high.scatter_reduce(0, places, frames[:, 2:], "amax")
    return torch.cat([low, high], 1), small.scatter_reduce(0, places, least, "amin")
