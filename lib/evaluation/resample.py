"""The bootstrap over images: AP of many resamples at once, from one matching, and intervals of differences.

A resample gives each image a weight, the number of times it was drawn. Precision need only be known where a true
positive lies, so the detections between two of them enter as one sum.
"""

from typing import NamedTuple

import numpy as np
import torch
from torch.nn.functional import embedding_bag

from lib.evaluation.arrays import DetectionTable, GroundTruth
from lib.evaluation.matching import match
from lib.evaluation.protocols import Metric, Protocol
from lib.evaluation.regions import drop_regions

_BLOCK = 256  # resamples at a time: their weights of a few thousand images stay in the cache


class Interval(NamedTuple):
    """The middle 95 % of a difference over the resamples."""

    low: float
    high: float

    def __str__(self) -> str:
        return f"{self.low:+.3f} to {self.high:+.3f}"

    @property
    def holds_zero(self) -> bool:
        """Whether the difference may be due to the choice of images."""
        return self.low <= 0 <= self.high


def interval_of(change: np.ndarray) -> Interval | None:
    """The interval of (B,) differences; None where none of them is a number."""
    change = change[np.isfinite(change)]
    return Interval(*np.quantile(change, [0.025, 0.975]).tolist()) if len(change) else None


def draw_images(num_images: int, num_resamples: int, seed: int = 0) -> np.ndarray:
    """(I, B) float32, how often each resample holds each image; each draws I images with replacement."""
    rng = np.random.default_rng(seed)
    drawn = (rng.integers(0, num_images, num_images) for _ in range(num_resamples))
    return np.stack([np.bincount(rows, minlength=num_images) for rows in drawn], axis=1).astype(np.float32)


def metric_of(ap: np.ndarray, metric: Metric, category: int | None = None) -> np.ndarray:
    """(B,) float64, one metric of kind AP of every resample; NaN where it has no object.

    ``ap`` is (T, K, A, B) of ``resample_ap``. Without a category it is the mean over the classes that have objects.
    """
    thresholds = slice(None) if metric.threshold is None else [metric.threshold]
    classes = slice(None) if category is None else [category]
    values = ap[thresholds][:, classes, metric.area]  # (T, K, B)
    has_object = np.isfinite(values)
    count = has_object.sum(axis=(0, 1))
    total = np.where(has_object, values, 0).sum(axis=(0, 1), dtype=np.float64)
    return np.divide(total, count, out=np.full(len(count), np.nan), where=count > 0)


def resample_ap(
    ground_truth: GroundTruth, detections: DetectionTable, protocol: Protocol, weights: np.ndarray
) -> np.ndarray:
    """(T, K, A, B) float32, AP of every resample at the protocol's highest limit; NaN without an object.

    ``weights`` (I, B) are whole numbers, how often each resample holds each image.
    """
    ground_truth, detections = drop_regions(ground_truth, detections)
    matches = match(ground_truth, detections, protocol)
    num_classes = len(ground_truth.names)
    shape = len(protocol.iou_thresholds), num_classes, len(protocol.ranges), weights.shape[1]
    ap = np.full(shape, np.nan, np.float32)
    blocks = [block.contiguous() for block in torch.from_numpy(weights.astype(np.float32)).split(_BLOCK, dim=1)]
    levels = None if protocol.points is None else torch.from_numpy(protocol.recall_levels)
    order = np.lexsort((-detections.score, detections.category))
    edges = np.searchsorted(detections.category[order], np.arange(num_classes + 1))
    for area in range(len(protocol.ranges)):
        true, ignored = matches.flags(area)
        counting = ~matches.object_ignored[:, area]
        for category in range(num_classes):
            rows = order[edges[category] : edges[category + 1]]
            objects = torch.from_numpy(ground_truth.image[counting & (ground_truth.category == category)])
            ranking = detections.image[rows], true[:, rows], ~ignored[:, rows]
            values = [_average_precision(*ranking, block, block[objects].sum(0), levels) for block in blocks]
            ap[:, category, area] = torch.cat(values, dim=1).numpy()
    return ap


def _average_precision(
    image: np.ndarray,
    true: np.ndarray,
    counted: np.ndarray,
    weights: torch.Tensor,
    positives: torch.Tensor,
    levels: torch.Tensor | None,
) -> torch.Tensor:
    """(T, B) float32, AP of one class in one range, from detections by falling score.

    Args:
        image: (N,) int64.
        true: (T, N) bool, true positives by threshold.
        counted: (T, N) bool, detections that are right or wrong.
        weights: (I, B) float32. positives: (B,) float32, objects to find.
        levels: (R,) float64 recall levels at which precision is averaged; None for the whole area.
    """
    hits = np.flatnonzero(true.any(0))  # a true positive at some threshold
    is_always = counted.all(0)
    always = _sums_up_to(hits, np.flatnonzero(is_always), image, weights)  # (H, B)
    values = []
    for is_hit, is_sometimes in zip(true[:, hits], counted & ~is_always, strict=True):
        rows = hits[is_hit]
        true_positives = weights[torch.from_numpy(image[rows])].cumsum(0)  # (h, B)
        sometimes = _sums_up_to(rows, np.flatnonzero(is_sometimes), image, weights)
        precision = true_positives / (always[torch.from_numpy(is_hit)] + sometimes).clamp(min=1)
        envelope = precision.flip(0).cummax(0).values.flip(0) if len(rows) else precision
        recall = true_positives.double() / positives.clamp(min=1)
        share = recall if levels is None else _levels_reached(recall, levels)
        step = share.diff(dim=0, prepend=torch.zeros_like(share[:1]))
        values.append((step * envelope).sum(0))
    return torch.where(positives > 0, torch.stack(values), torch.nan).float()


def _levels_reached(recall: torch.Tensor, levels: torch.Tensor) -> torch.Tensor:
    """Share of the recall levels that are at or below each recall; as steps are equal, no search is needed."""
    nearest = (recall * (len(levels) - 1)).round()
    below = nearest + (levels[nearest.long()] <= recall)
    return below / len(levels)


def _sums_up_to(hits: np.ndarray, rows: np.ndarray, image: np.ndarray, weights: torch.Tensor) -> torch.Tensor:
    """(h, B) float32, sums of weights (I, B) over the detections at ``rows``, from the first to each of the ``hits``.

    Both are ascending places in ``image`` (N,). The sums are exact, because they are whole numbers.
    """
    ends = np.searchsorted(rows, hits, side="right")
    if not ends.any():
        return torch.zeros(len(hits), weights.shape[1])
    starts, images = torch.from_numpy(np.concatenate([[0], ends[:-1]])), torch.from_numpy(image[rows[: ends[-1]]])
    return embedding_bag(images, weights, starts, mode="sum").cumsum(0)
