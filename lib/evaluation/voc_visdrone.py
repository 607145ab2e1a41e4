"""The rules of other kits, which the COCO engines do not know: VOC, VisDrone.

Same call and same arrays as the engines, from our own matching.
"""

from __future__ import annotations

import numpy as np

from lib.evaluation.arrays import REGION, DetectionTable, GroundTruth
from lib.evaluation.engines import Curves
from lib.evaluation.matching import Matches, match
from lib.evaluation.protocols import Protocol


def run_kit(ground_truth: GroundTruth, detections: DetectionTable, protocol: Protocol) -> Curves:
    """Curves by the protocol's own matching, limit and integration."""
    matches = match(ground_truth, detections, protocol)
    shape = len(ground_truth.names), len(protocol.ranges), len(protocol.limits)
    num_thresholds, num_levels = len(protocol.iou_thresholds), len(protocol.recall_levels)
    precision = np.full((num_thresholds, num_levels, *shape), -1.0)
    recall, ap = np.full((2, num_thresholds, *shape), -1.0)
    scores = np.full_like(precision, -1.0)
    by_score = np.argsort(-detections.score, kind="stable")
    for area in range(shape[1]):
        true, ignored = _flags(matches, area, num_thresholds)
        counted = ground_truth.category[~matches.object_ignored[:, area]]
        for category, number in zip(*np.unique(counted, return_counts=True), strict=True):
            own = by_score[detections.category[by_score] == category]
            for place, limit in enumerate(protocol.limits):
                rows = own if limit is None else own[matches.rank[own] < limit]
                curve = precision_recall(true[:, rows], ignored[:, rows], number, protocol.recall_levels)
                at = (slice(None), category, area, place)
                precision[:, :, category, area, place], recall[at], ap[at], reached = curve
                scores[:, :, category, area, place] = np.append(detections.score[rows], 0.0)[reached]
    return Curves(precision, recall, scores, ap if protocol.points is None else None)


def _flags(matches: Matches, area: int, num_thresholds: int) -> tuple[np.ndarray, np.ndarray]:
    """(T, D) bool each: true positives, and what counts neither way."""
    pairs = [matches.flags(threshold, area) for threshold in range(num_thresholds)]
    return np.stack([true for true, _ in pairs]), np.stack([ignored for _, ignored in pairs])


def precision_recall(
    true: np.ndarray, ignored: np.ndarray, num_objects: int, levels: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Curves of detections by falling score, for T thresholds.

    Args:
        true: (T, N) bool, true positives.
        ignored: (T, N) bool, what counts neither way.
        num_objects: objects to find, at least 1.
        levels: (R,) recall levels.

    Returns:
        (T, R) precision at the levels, (T,) highest recall, (T,) area under the whole envelope, and (T, R)
        int64, the place at which each level is reached, N where none reaches it.
    """
    hits = np.cumsum(true & ~ignored, axis=1).astype(np.float64)  # (T, N)
    misses = np.cumsum(~true & ~ignored, axis=1).astype(np.float64)
    recall = hits / num_objects
    envelope = hits / (misses + hits + np.spacing(1))  # the reference's guard
    envelope = np.maximum.accumulate(envelope[:, ::-1], axis=1)[:, ::-1]
    reached = np.stack([np.searchsorted(row, levels, side="left") for row in recall])  # (T, R)
    padded = np.pad(envelope, ((0, 0), (0, 1)))
    area = (np.diff(recall, axis=1, prepend=0.0) * envelope).sum(axis=1)
    return np.take_along_axis(padded, reached, axis=1), recall.max(axis=1, initial=0.0), area, reached


def drop_regions(ground_truth: GroundTruth, detections: DetectionTable) -> tuple[GroundTruth, DetectionTable]:
    """Without the ignored regions of no class, and without what lies at least half inside them."""
    is_region = ground_truth.category == REGION
    if not is_region.any():
        return ground_truth, detections
    kept_objects, kept_detections = ~is_region, np.ones(len(detections.image), bool)
    for image in np.unique(ground_truth.image[is_region]):
        regions = ground_truth.xywh[is_region & (ground_truth.image == image)]
        for table, kept in ((ground_truth, kept_objects), (detections, kept_detections)):
            rows = np.flatnonzero(table.image == image)
            areas = table.xywh[rows, 2] * table.xywh[rows, 3]
            kept[rows] &= (covered_area(table.xywh[rows], regions) < 0.5 * areas) | (areas == 0)
    return ground_truth.select(kept_objects), detections.select(kept_detections)


def covered_area(boxes: np.ndarray, regions: np.ndarray) -> np.ndarray:
    """(N,) area of (N, 4) xywh boxes that (R, 4) regions cover; where regions overlap it counts once."""
    low, high = regions[:, :2], regions[:, :2] + regions[:, 2:]
    lengths, inside = [], []
    for axis in range(2):  # the edges of all regions cut the image into a grid of cells
        edges = np.unique(np.concatenate([low[:, axis], high[:, axis]]))
        begin, end = boxes[:, axis, None], boxes[:, axis, None] + boxes[:, axis + 2, None]
        lengths.append(
            np.maximum(np.minimum(end, edges[1:]) - np.maximum(begin, edges[:-1]), 0)
        )  # (N, cells)
        inside.append((low[:, axis, None] <= edges[:-1]) & (edges[1:] <= high[:, axis, None]))  # (R, cells)
    is_covered = np.einsum("rx,ry->xy", *inside) if len(regions) else np.zeros((0, 0), bool)
    return np.einsum("nx,xy,ny->n", lengths[0], is_covered.astype(np.float64), lengths[1])
