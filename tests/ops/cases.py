"""Hard inputs for the box operators, made from a seed: what the fuzz run and the property tests feed on."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import torch

from lib.ops.reference import pairwise

THRESHOLDS = (0.0, 0.1, 0.2, 0.25, 0.3, 0.45, 0.5, 0.6, 0.7, 0.9, 0.99, 0.9999, 0.9999999, 1.0)
TYPES = (np.float32, np.float32, np.float64, np.float16)


class Case(NamedTuple):
    """boxes (N, 4), scores (N,), labels (N,), a threshold, and the kind of boxes for the message of a
    failure."""

    boxes: np.ndarray
    scores: np.ndarray
    labels: np.ndarray
    threshold: float
    kind: str


def _uniform(rng, count, threshold):
    corner = rng.uniform(0, 100, (count, 2))
    return np.hstack([corner, corner + rng.uniform(0, 40, (count, 2))])


def _whole_pixels(rng, count, threshold):
    """IoUs that equal a threshold are frequent among these."""
    corner = rng.integers(0, 6, (count, 2))
    return np.hstack([corner, corner + rng.integers(0, 8, (count, 2))]).astype(float)


def _duplicates(rng, count, threshold):
    few = _uniform(rng, max(1, count // 4), threshold)
    return few[rng.integers(0, len(few), count)]


def _nested(rng, count, threshold):
    shrink = np.sort(rng.uniform(0, 50, count))[:, None]
    return np.hstack([shrink, shrink, 100 - shrink, 100 - shrink])


def _no_area(rng, count, threshold):
    return rng.normal(0, 20, (count, 4))  # three of four have a side that is not positive


def _long(rng, count, threshold):
    boxes = _uniform(rng, count, threshold)
    axis = rng.integers(0, 2)
    boxes[:, axis + 2] = boxes[:, axis] + 10.0 ** rng.uniform(0, 7, count)
    return boxes


def _many_scales(rng, count, threshold):
    return _uniform(rng, count, threshold) * 10.0 ** rng.integers(-20, 20, (count, 1))


def _near_copies(rng, count, threshold):
    return _duplicates(rng, count, threshold) + rng.normal(0, 1, (count, 4)) * 10.0 ** rng.integers(-7, 1)


def _far_away(rng, count, threshold):
    return _uniform(rng, count, threshold) + rng.choice([-1, 1]) * 10.0 ** rng.uniform(2, 9)


def _at_the_threshold(rng, count, threshold):
    """Pairs of IoU just above or below it: a box at one end of a longer one, as far off its center as can be."""
    boxes = _uniform(rng, count, threshold)
    inner, outer = boxes[: count // 2], boxes[count - count // 2 :]
    outer[:] = inner
    axis = rng.integers(0, 2)
    length = (inner[:, axis + 2] - inner[:, axis]) / max(threshold, 0.01)
    outer[:, axis + 2] = outer[:, axis] + length * (1 + rng.normal(0, 1, len(length)) * 10.0 ** rng.integers(-7, -1))
    return boxes * rng.uniform(0.1, 10)


KINDS = {
    function.__name__.strip("_"): function
    for function in (
        *(_uniform, _whole_pixels, _duplicates, _nested, _no_area, _long, _many_scales, _near_copies),
        *(_far_away, _at_the_threshold),
    )
}


def make_case(seed: int) -> Case:
    """The case of a seed."""
    rng = np.random.default_rng(seed)
    kind = rng.choice(list(KINDS))
    count = int(rng.choice([0, 1, 2, 3, 8, 20, 45]))
    threshold = float(rng.choice(THRESHOLDS)) if rng.random() < 0.8 else float(rng.random())
    boxes, scores = KINDS[kind](rng, count, threshold), rng.uniform(0, 1, count)
    if rng.random() < 0.5:
        scores = np.round(scores * 4) / 4 - 0.5  # many ties, and both zeros
        scores[scores == 0] *= rng.choice([-1, 1], (scores == 0).sum())
    if rng.random() < 0.3:
        for values in (boxes, scores):
            values[rng.random(values.shape) < 0.05] = rng.choice([np.nan, np.inf, -np.inf])
    with np.errstate(over="ignore"):  # of float16: a coordinate that overflows is infinite
        boxes, scores = boxes.astype(rng.choice(TYPES)), scores.astype(rng.choice(TYPES))
    return Case(boxes, scores, rng.integers(0, 3, count), threshold, str(kind))


def slow_weighted_box_fusion(
    boxes: torch.Tensor, scores: torch.Tensor, labels: torch.Tensor | None, iou_threshold: float, num_sources: int
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """``lib.ops.weighted_box_fusion`` of float32 boxes and scores, each cluster as a list of its members."""
    labels = torch.zeros(len(boxes), dtype=torch.int64) if labels is None else labels
    finite = boxes.isfinite().all(-1) & scores.isfinite() & (scores > 0)
    order = scores.argsort(descending=True, stable=True)
    clusters: list[list[int]] = []  # of indices
    fused = boxes.new_zeros(len(boxes), 4)  # the mean box of each cluster
    for i in order[finite[order]].tolist():
        iou = pairwise(fused[: len(clusters)], boxes[i])
        same = [bool(labels[members[0]] == labels[i]) for members in clusters]
        iou = torch.where(torch.tensor(same, dtype=torch.bool), iou, 0)
        nearest = int(iou.argmax()) if clusters and iou.max() > iou_threshold else len(clusters)
        clusters[nearest:] = clusters[nearest:] or [[]]
        clusters[nearest].append(i)
        weights = scores[clusters[nearest]].double()
        sums = (weights[:, None] * boxes[clusters[nearest]].double()).cumsum(0)[-1]  # one after another
        fused[nearest] = (sums / weights.cumsum(0)[-1]).float()
    new_scores = torch.zeros(len(clusters))
    for i, members in enumerate(clusters):
        mean = scores[members].double().cumsum(0)[-1] / len(members)
        new_scores[i] = float(mean * (min(len(members), num_sources) / num_sources))
    new_labels = labels[[members[0] for members in clusters]]
    rank = new_scores.argsort(descending=True, stable=True)
    return fused[: len(clusters)][rank], new_scores[rank], new_labels[rank]
