"""The rules of VOC and VisDrone, which the COCO engines do not know, as one more engine on our own matching."""

import numpy as np

from lib.evaluation.arrays import DetectionTable, GroundTruth
from lib.evaluation.engines import Curves
from lib.evaluation.matching import match
from lib.evaluation.precision import precision_recall
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
