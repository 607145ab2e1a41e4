"""Merging by rows of windows: the objects are those of merging all boxes at once."""

import math

import numpy as np
import pytest
import torch

from lib.inference.tile_rows import RowMerger, group_boxes
from lib.inference.tiles import Tiles, WindowDetections, merge, place, tile_windows
from lib.ops.reference import pairwise
from lib.structures import Detections


def rows_of_windows(seed, size, per_window, tiles, classes=2):
    """[(the detections of a row of windows, the upper border of the next row)], boxes of objects and of noise."""
    rng = np.random.default_rng(seed)
    windows = tile_windows(size, tiles.size, tiles.overlap)
    corner = rng.uniform(0, (size[1], size[0]), (40, 2))
    objects = np.hstack([corner, corner + rng.uniform(4, 60, (40, 2))])
    rows, tops = {}, np.unique(windows[:, 1]).tolist()
    for number, window in enumerate(windows):
        side = window[2:] - window[:2]
        noise = rng.uniform(0, side, (per_window, 2))
        noise = np.hstack([noise, noise + rng.uniform(2, 30, (per_window, 2))])
        seen = objects + rng.normal(0, 1, objects.shape) - np.tile(window[:2], 2)
        boxes = np.clip(np.vstack([noise, seen]), 0, np.tile(side, 2))
        boxes = boxes[(boxes[:, 2:] - boxes[:, :2] > 1).all(1)]
        scores = torch.from_numpy(rng.random(len(boxes)).round(2).astype(np.float32))  # some are equal
        labels = torch.from_numpy(rng.integers(1, classes + 1, len(boxes)))
        found = Detections(torch.from_numpy(boxes.astype(np.float32)), scores, labels)
        rows.setdefault(int(window[1]), []).append(place(found, number, window, size))
    together = [WindowDetections(*(torch.cat(values) for values in zip(*rows[top], strict=True))) for top in tops]
    return list(zip(together, [*tops[1:], math.inf], strict=True))


def as_set(detections):
    return sorted(map(tuple, torch.cat([detections.boxes, detections.scores[:, None]], 1).tolist()))


@pytest.mark.parametrize("how", ["nms", "fusion"])
@pytest.mark.parametrize("per_window", [0, 1, 8])
def test_rows_give_the_objects_of_all_boxes_at_once(how, per_window):
    for seed in range(3):
        tiles = Tiles(96, 0.3, how, whole=False)
        rows = rows_of_windows(seed, (700, 400), per_window, tiles)
        merger, settled, held = RowMerger(tiles, 96), [], []
        for row, frontier in rows:
            settled += [merger.add(row, frontier)]
            held.append(len(merger.held.boxes))
        everything = WindowDetections(*(torch.cat(values) for values in zip(*(row for row, _ in rows), strict=True)))
        assert sum(map(as_set, settled), []) != [] and held[-1] == 0
        assert sorted(sum(map(as_set, settled), [])) == as_set(merge(everything, tiles)), seed
        if per_window < 8:
            assert max(held) < len(everything.boxes) / 2  # objects leave as the rows go on


def test_groups_are_those_that_a_slow_search_finds_apart():
    rng = np.random.default_rng(0)
    for count, side in ((0, 10), (1, 10), (60, 300), (300, 2500)):
        corner = rng.uniform(0, side, (count, 2))
        boxes = torch.from_numpy(np.hstack([corner, corner + rng.uniform(2, 50, (count, 2))]).astype(np.float32))
        labels = torch.from_numpy(rng.integers(1, 3, count))
        groups, frames = group_boxes(boxes, labels, 0.5)
        shared = pairwise(boxes[:, None], boxes[None], "ios") > 0.5
        is_apart = groups[:, None] != groups[None]
        assert not (shared & is_apart & (labels[:, None] == labels[None])).any()
        assert (frames[groups][:, :2] <= boxes[:, :2]).all() and (frames[groups][:, 2:] >= boxes[:, 2:]).all()
        assert side < 2500 or len(frames) > count / 2  # those that do not overlap are not joined


def test_a_part_waits_for_the_row_that_shows_the_whole():
    tiles = Tiles(100, whole=False)
    part = place(Detections(torch.tensor([[10.0, 80, 30, 100]]), torch.tensor([0.9]), torch.tensor([1])), 0,
                 np.array([0, 0, 100, 100]), (200, 100))  # fmt: skip
    whole = place(Detections(torch.tensor([[10.0, 5, 30, 45]]), torch.tensor([0.5]), torch.tensor([1])), 1,
                  np.array([0, 75, 100, 175]), (200, 100))  # fmt: skip
    merger = RowMerger(tiles, 100)
    assert len(merger.add(part, 75).boxes) == 0
    assert merger.add(whole, math.inf).boxes.tolist() == [[10, 80, 30, 120]]
