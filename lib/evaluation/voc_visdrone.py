"""The rules of VOC and VisDrone, which the COCO engines do not know, as one more engine on our own matching."""

from typing import NamedTuple

import numpy as np

from lib.evaluation.arrays import REGION, DetectionTable, GroundTruth
from lib.evaluation.engines import Curves
from lib.evaluation.matching import match
from lib.evaluation.protocols import Protocol


def run_voc_visdrone(ground_truth: GroundTruth, detections: DetectionTable, protocol: Protocol) -> Curves:
    """Curves by the protocol's own matching, limits and integration."""
    matches = match(ground_truth, detections, protocol)
    shape = len(ground_truth.names), len(protocol.ranges), len(protocol.limits)
    num_thresholds, num_levels = len(protocol.iou_thresholds), len(protocol.recall_levels)
    precision = np.full((num_thresholds, num_levels, *shape), -1.0)
    recall, ap = np.full((2, num_thresholds, *shape), -1.0)
    scores = np.full_like(precision, -1.0)
    by_score = np.argsort(-detections.score, kind="stable")
    for area in range(shape[1]):
        true, ignored = matches.flags(area)
        counted = ground_truth.category[~matches.object_ignored[:, area]]
        for category, number in zip(*np.unique(counted, return_counts=True), strict=True):
            of_class = by_score[detections.category[by_score] == category]
            for place, limit in enumerate(protocol.limits):
                rows = of_class if limit is None else of_class[matches.rank[of_class] < limit]
                curve = precision_recall(true[:, rows], ignored[:, rows], number, protocol.recall_levels)
                precision[:, :, category, area, place] = curve.precision
                recall[:, category, area, place], ap[:, category, area, place] = curve.recall, curve.area
                scores[:, :, category, area, place] = np.append(detections.score[rows], 0.0)[curve.reached]
    return Curves(precision, recall, scores, ap if protocol.points is None else None)


class Curve(NamedTuple):
    """Precision over recall, for T thresholds and R recall levels."""

    precision: np.ndarray  # (T, R) float64, at the levels
    recall: np.ndarray  # (T,) float64, the highest
    area: np.ndarray  # (T,) float64, under the whole envelope
    reached: np.ndarray  # (T, R) int64, the detection that reaches each level; N where none does


def precision_recall(true: np.ndarray, ignored: np.ndarray, num_objects: int, levels: np.ndarray) -> Curve:
    """The curve of N detections by falling score, of which some are ``true`` and some ``ignored``, both (T, N) bool.

    There must be at least one object to find. ``levels`` (R,) are the recall levels.
    """
    hits = np.cumsum(true & ~ignored, axis=1).astype(np.float64)  # (T, N)
    misses = np.cumsum(~true & ~ignored, axis=1).astype(np.float64)
    recall = hits / num_objects
    envelope = hits / (misses + hits + np.spacing(1))  # as COCO's own code guards against 0 / 0
    envelope = np.maximum.accumulate(envelope[:, ::-1], axis=1)[:, ::-1]
    reached = np.stack([np.searchsorted(row, levels, side="left") for row in recall])  # (T, R)
    padded = np.pad(envelope, ((0, 0), (0, 1)))
    area = (np.diff(recall, axis=1, prepend=0.0) * envelope).sum(axis=1)
    precision = np.take_along_axis(padded, reached, axis=1)
    return Curve(precision, recall.max(axis=1, initial=0.0), area, reached)


class Tables(NamedTuple):
    """Detections and the ground truth that they are compared with."""

    ground_truth: GroundTruth
    detections: DetectionTable


def drop_regions(ground_truth: GroundTruth, detections: DetectionTable) -> Tables:
    """Both without the ignored regions of no class, and without what lies at least half inside them."""
    is_region = ground_truth.category == REGION
    if not is_region.any():
        return Tables(ground_truth, detections)
    kept_objects, kept_detections = ~is_region, np.ones(len(detections.image), bool)
    for image in np.unique(ground_truth.image[is_region]):
        of_image = slice(*np.searchsorted(ground_truth.image, [image, image + 1]))
        regions = ground_truth.xywh[of_image][is_region[of_image]]
        for table, kept in ((ground_truth, kept_objects), (detections, kept_detections)):
            rows = slice(*np.searchsorted(table.image, [image, image + 1]))
            areas = table.xywh[rows, 2] * table.xywh[rows, 3]
            kept[rows] &= (covered_area(table.xywh[rows], regions) < 0.5 * areas) | (areas == 0)
    return Tables(ground_truth.select(kept_objects), detections.select(kept_detections))


def covered_area(boxes: np.ndarray, regions: np.ndarray) -> np.ndarray:
    """(N,) area of (N, 4) xywh boxes that (R, 4) regions cover; where regions overlap it counts once."""
    low, high = regions[:, :2], regions[:, :2] + regions[:, 2:]
    lengths, inside = [], []
    for axis in range(2):  # the edges of all regions cut the image into a grid of cells
        edges = np.unique(np.concatenate([low[:, axis], high[:, axis]]))
        begin, end = boxes[:, axis, None], boxes[:, axis, None] + boxes[:, axis + 2, None]
        shared = np.minimum(end, edges[1:]) - np.maximum(begin, edges[:-1])  # (N, cells)
        lengths.append(np.maximum(shared, 0))
        inside.append((low[:, axis, None] <= edges[:-1]) & (edges[1:] <= high[:, axis, None]))  # (R, cells)
    is_covered = np.einsum("rx,ry->xy", *inside) if len(regions) else np.zeros((0, 0), bool)
    return np.einsum("nx,xy,ny->n", lengths[0], is_covered.astype(np.float64), lengths[1])
