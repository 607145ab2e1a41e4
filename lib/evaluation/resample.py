"""AP of many resamples of the images at once, from one matching.

A resample gives each image a weight, the number of times it was drawn. Precision need only be known where a true
positive lies, so the detections between two of them enter as one sum.
"""

from __future__ import annotations

import numpy as np
import torch
from torch.nn.functional import embedding_bag

from lib.evaluation.arrays import DetectionTable, GroundTruth
from lib.evaluation.matching import match
from lib.evaluation.protocols import Protocol

_BLOCK = 256  # resamples at a time: their weights of a few thousand images stay in the cache


def resample_ap(
    ground_truth: GroundTruth, detections: DetectionTable, protocol: Protocol, weights: np.ndarray
) -> np.ndarray:
    """AP of every resample at the protocol's highest limit.

    Args:
        ground_truth, detections: without regions of no class.
        protocol: as for ``evaluate``.
        weights: (I, B) whole numbers, how often each resample holds each image.

    Returns:
        (T, K, A, B) float32; NaN where a resample has no object of the class in the range.
    """
    matches = match(ground_truth, detections, protocol)
    num_thresholds, num_classes = len(protocol.iou_thresholds), len(ground_truth.names)
    shape = num_thresholds, num_classes, len(protocol.ranges), weights.shape[1]
    found = np.full(shape, np.nan, np.float32)
    blocks = torch.from_numpy(weights.astype(np.float32)).split(_BLOCK, dim=1)
    blocks = [block.contiguous() for block in blocks]
    levels = None if protocol.points is None else torch.from_numpy(protocol.recall_levels)
    order = np.lexsort((-detections.score, detections.category))
    if protocol.limits[-1] is not None:
        order = order[matches.rank[order] < protocol.limits[-1]]
    edges = np.searchsorted(detections.category[order], np.arange(num_classes + 1))
    for area in range(len(protocol.ranges)):
        flags = [matches.flags(threshold, area) for threshold in range(num_thresholds)]
        true = np.stack([true for true, _ in flags])  # (T, D)
        counted = ~np.stack([ignored for _, ignored in flags])
        counting = ~matches.object_ignored[:, area]
        for category in range(num_classes):
            rows = order[edges[category] : edges[category + 1]]
            objects = torch.from_numpy(ground_truth.image[counting & (ground_truth.category == category)])
            ranking = _Ranking(detections.image[rows], true[:, rows], counted[:, rows])
            parts = [ranking.average_precision(block, block[objects].sum(0), levels) for block in blocks]
            found[:, category, area] = torch.cat(parts, dim=1).numpy()
    return found


class _Ranking:
    """Detections of one class in one range by falling score, cut into the stretches between true positives.

    Args:
        image: (N,) int64.
        true: (T, N) bool, true positives by threshold.
        counted: (T, N) bool, what counts at all.
    """

    def __init__(self, image: np.ndarray, true: np.ndarray, counted: np.ndarray) -> None:
        hits = np.flatnonzero(true.any(0))  # a true positive at some threshold
        self.always = _Stretches(np.flatnonzero(counted.all(0)), hits, image)
        sometimes = counted & ~counted.all(0)
        self.at = []
        for threshold in range(len(true)):
            rows = np.flatnonzero(true[threshold, hits])
            some = _Stretches(np.flatnonzero(sometimes[threshold]), hits[rows], image)
            self.at.append((torch.from_numpy(rows), torch.from_numpy(image[hits[rows]]), some))

    def average_precision(
        self, weights: torch.Tensor, positives: torch.Tensor, levels: torch.Tensor | None
    ) -> torch.Tensor:
        """(T, B) float32.

        Args:
            weights: (I, B) float32. positives: (B,) float32, objects to find.
            levels: (R,) float64 recall levels at which precision is averaged; None for the whole area.
        """
        always = self.always.sums(weights)  # (H, B)
        found = []
        for rows, images, some in self.at:
            hits = weights[images].cumsum(0)  # (h, B)
            total = always[rows] + some.sums(weights)
            precision = hits / total.clamp(min=1)
            envelope = precision.flip(0).cummax(0).values.flip(0) if len(rows) else precision
            recall = hits.double() / positives.clamp(min=1)
            share = recall if levels is None else _levels_reached(recall, levels)
            step = share.diff(dim=0, prepend=torch.zeros_like(share[:1]))
            found.append((step * envelope).sum(0))
        return torch.where(positives > 0, torch.stack(found), torch.nan).float()


def _levels_reached(recall: torch.Tensor, levels: torch.Tensor) -> torch.Tensor:
    """Share of the recall levels that are at or below each recall; equal steps make a search needless."""
    nearest = (recall * (len(levels) - 1)).round()
    below = nearest + (levels[nearest.long()] <= recall)
    return below / len(levels)


class _Stretches:
    """Sums of weights over some detections, from the first to each true positive.

    Args:
        rows: (n,) ascending places of the detections to sum.
        hits: (h,) ascending places of the true positives.
        image: (N,) image of every place.
    """

    def __init__(self, rows: np.ndarray, hits: np.ndarray, image: np.ndarray) -> None:
        ends = np.searchsorted(rows, hits, side="right")
        self.images = torch.from_numpy(image[rows[: ends[-1]]] if len(ends) else image[:0])
        self.starts = torch.from_numpy(np.concatenate([[0], ends[:-1]])[: len(ends)].astype(np.int64))

    def sums(self, weights: torch.Tensor) -> torch.Tensor:
        """(h, B) float32, exact: the sums are whole numbers."""
        if not len(self.starts) or not len(self.images):
            return weights.new_zeros(len(self.starts), weights.shape[1])
        return embedding_bag(self.images, weights, self.starts, mode="sum").cumsum(0)
