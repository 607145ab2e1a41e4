"""Which detection finds which object, by the rules of COCO and of VOC, for all images, thresholds and sizes.

The engines compute tables. Everything else (the rules of VOC and VisDrone, errors by kind, comparisons) starts
here. Only pairs of a detection and an object that overlap enough are looked at, which are few.
"""

from typing import NamedTuple

import numpy as np

from lib.evaluation.arrays import DetectionTable, GroundTruth
from lib.evaluation.protocols import Protocol

IOU = 0.5  # from which on reports take a detection for correct
NONE = -1  # no object
_BLOCK = 1 << 20  # pairs whose overlap is computed at once


class Pairs(NamedTuple):
    """Overlapping pairs of one image, by detection and then by object."""

    detection: np.ndarray  # (P,) int64, ascending
    object: np.ndarray  # (P,) int64
    iou: np.ndarray  # (P,) float64; over the detection's own area where the object is a region to ignore


class Flags(NamedTuple):
    """Which detections are right, for T IoU thresholds; those that are neither true nor ignored are wrong."""

    true: np.ndarray  # (T, D) bool, true positives
    ignored: np.ndarray  # (T, D) bool, detections that are neither right nor wrong


class Matches(NamedTuple):
    """What the detections find, for T IoU thresholds and A area ranges.

    Only the C detections that overlap some object enough are listed; the others find nothing.
    """

    detection: np.ndarray  # (C,) int64, ascending
    object: np.ndarray  # (C, T, A) int32, the object that is found, or NONE
    rank: np.ndarray  # (D,) int64, place by falling score among what the limit counts together, from 0
    object_ignored: np.ndarray  # (G, A) bool, see ``not_counting``
    # (D, A) bool, ignored unless they find an object: those beyond the protocol's highest limit, or outside the range
    uncounted: np.ndarray

    def flags(self, area: int) -> Flags:
        """Right, ignored and wrong detections within one range."""
        objects = self.object[:, :, area].T  # (T, C)
        is_hit = objects != NONE
        is_hit_ignored = is_hit & self.object_ignored[objects, area]
        true = np.zeros((len(objects), len(self.rank)), bool)
        ignored = np.repeat(self.uncounted[None, :, area], len(objects), axis=0)
        true[:, self.detection] = is_hit & ~is_hit_ignored
        ignored[:, self.detection] = np.where(is_hit, is_hit_ignored, ignored[:, self.detection])
        return Flags(true, ignored)


def overlap(boxes: np.ndarray, others: np.ndarray, is_region: np.ndarray) -> np.ndarray:
    """(N,) float64 IoU of (N, 4) xywh boxes row by row; over the first's area where the other is a region.

    The order of the operations is that of COCO's own code: the last bit decides ties.
    """
    (x1, y1, w1, h1), (x2, y2, w2, h2) = boxes.T, others.T
    width = np.minimum(x1 + w1, x2 + w2) - np.maximum(x1, x2)
    height = np.minimum(y1 + h1, y2 + h2) - np.maximum(y1, y2)
    shared = np.maximum(width, 0) * np.maximum(height, 0)
    union = np.where(is_region, w1 * h1, w1 * h1 + w2 * h2 - shared)
    return np.divide(shared, union, out=np.zeros_like(shared), where=shared > 0)


def find_pairs(ground_truth: GroundTruth, detections: DetectionTable, floor: float, same_class: bool = True) -> Pairs:
    """All pairs of one image, and of one class if asked, whose overlap is above 0 and at least ``floor``.

    The overlap with objects to ignore is taken over the detection's area.
    """
    keys, wanted = ground_truth.image, detections.image
    if same_class:
        num_classes = len(ground_truth.names)
        keys, wanted = keys * num_classes + ground_truth.category, wanted * num_classes + detections.category
    order = np.argsort(keys, kind="stable")
    starts = np.searchsorted(keys[order], wanted, "left")
    counts = np.searchsorted(keys[order], wanted, "right") - starts
    blocks = np.searchsorted(np.cumsum(counts), np.arange(0, max(counts.sum(), 1), _BLOCK), "left")
    parts = [Pairs(np.zeros(0, np.int64), np.zeros(0, np.int64), np.zeros(0))]
    for first, last in zip(blocks, [*blocks[1:], len(wanted)], strict=True):
        number = counts[first:last]
        rows = np.repeat(np.arange(first, last), number)
        within = np.arange(len(rows)) - np.repeat(np.cumsum(number) - number, number)
        columns = order[np.repeat(starts[first:last], number) + within]
        iou = overlap(detections.xywh[rows], ground_truth.xywh[columns], ground_truth.ignore[columns])
        kept = (iou > 0) & (iou >= floor)
        parts.append(Pairs(rows[kept], columns[kept], iou[kept]))
    return Pairs(*map(np.concatenate, zip(*parts, strict=True)))


def match(ground_truth: GroundTruth, detections: DetectionTable, protocol: Protocol) -> Matches:
    """What each detection finds by the protocol's rule."""
    thresholds = np.minimum(protocol.iou_thresholds, 1 - 1e-10)  # as COCO's own code guards a threshold of 1
    rule = _match_coco if protocol.matching == "coco" else _match_voc
    is_region = ground_truth.ignore & (protocol.matching == "coco")  # VOC's difficult objects are no regions
    rank = _places(detections.image if protocol.limit_is_of_image else _classes(detections), detections.score)
    pairs = find_pairs(ground_truth._replace(ignore=is_region), detections, thresholds.min())
    uncounted = _outside(detections.xywh[:, 2] * detections.xywh[:, 3], protocol)
    if protocol.limits[-1] is not None:
        is_beyond = rank >= protocol.limits[-1]
        uncounted |= is_beyond[:, None]
        pairs = Pairs(*(values[~is_beyond[pairs.detection]] for values in pairs))
    object_ignored = not_counting(ground_truth, protocol)
    listed, row = np.unique(pairs.detection, return_inverse=True)
    objects = rule(pairs._replace(detection=row), detections.select(listed), object_ignored, is_region, thresholds)
    return Matches(listed, objects, rank, object_ignored, uncounted)


def match_at_half(ground_truth: GroundTruth, detections: DetectionTable, protocol: Protocol) -> Matches:
    """What each detection finds at an IoU of .5 and the protocol's highest limit on detections."""
    protocol = protocol._replace(iou_thresholds=(IOU,), limits=protocol.limits[-1:])
    return match(ground_truth, detections, protocol)


def not_counting(ground_truth: GroundTruth, protocol: Protocol) -> np.ndarray:
    """(G, A) bool, objects to be ignored, or outside the range; a bound belongs to both of its ranges."""
    return ground_truth.ignore[:, None] | _outside(ground_truth.area, protocol)


def _outside(areas: np.ndarray, protocol: Protocol) -> np.ndarray:
    """(N, A) bool, whether an area is outside each range."""
    low, high = np.array(list(protocol.ranges.values()), np.float64).T
    return (areas[:, None] < low) | (areas[:, None] > high)


def _classes(detections: DetectionTable) -> np.ndarray:
    """(D,) int64, a number for each image and class."""
    return detections.image * (detections.category.max(initial=0) + 1) + detections.category


def _places(groups: np.ndarray, scores: np.ndarray) -> np.ndarray:
    """(D,) int64, place in the group by falling score; ties keep their order."""
    order = np.lexsort((-scores, groups))
    _, first, number = np.unique(groups[order], return_index=True, return_counts=True)
    places = np.empty(len(groups), np.int64)
    places[order] = np.arange(len(groups)) - np.repeat(first, number)
    return places


def _match_coco(
    pairs: Pairs, detections: DetectionTable, ignored: np.ndarray, is_region: np.ndarray, thresholds: np.ndarray
) -> np.ndarray:
    """(C, T, A) objects: by falling score, each detection takes the best object that is still free.

    Objects that count go before those that do not; of equal overlaps the last object wins. The n-th detections
    of every image and class do not compete with each other, so they take their objects in one step.
    """
    turn = _places(_classes(detections), detections.score)
    shape = (len(thresholds), ignored.shape[1])
    matched = np.full((len(turn), *shape), NONE, np.int32)
    taken = np.zeros((len(ignored), *shape), bool)
    order = np.lexsort((pairs.object, pairs.iou, pairs.detection, turn[pairs.detection]))
    row, candidate, iou = (values[order] for values in pairs)
    edges = np.searchsorted(turn[row], np.arange(turn.max(initial=-1) + 2))
    for begin, end in zip(edges[:-1], edges[1:], strict=True):
        rows, objects = row[begin:end], candidate[begin:end]
        free = ~taken[objects] | is_region[objects, None, None]
        free &= iou[begin:end, None, None] >= thresholds[:, None]  # (n, T, A)
        place = np.arange(end - begin, dtype=np.int32)[:, None, None]
        starts = np.flatnonzero(np.diff(rows, prepend=NONE))
        counting = free & ~ignored[objects][:, None, :]
        best = np.maximum.reduceat(np.where(counting, place, NONE), starts)
        best = np.where(best == NONE, np.maximum.reduceat(np.where(free, place, NONE), starts), best)
        hit = np.nonzero(best != NONE)
        hit_objects = objects[best[hit]]
        matched[rows[starts][hit[0]], hit[1], hit[2]] = hit_objects
        taken[hit_objects, hit[1], hit[2]] = True
    return matched


def _match_voc(
    pairs: Pairs, detections: DetectionTable, ignored: np.ndarray, is_region: np.ndarray, thresholds: np.ndarray
) -> np.ndarray:
    """(C, T, A) objects: each detection takes the best object of all; the second one on an object finds nothing.

    A difficult object can be found any number of times, since it is never counted.
    """
    order = np.lexsort((pairs.object, -pairs.iou, pairs.detection))
    first = order[np.flatnonzero(np.diff(pairs.detection[order], prepend=NONE))]
    best, iou = pairs.object[first], pairs.iou[first]
    matched = np.full((len(best), len(thresholds), ignored.shape[1]), NONE, np.int32)
    by_score = np.argsort(-detections.score, kind="stable")
    for index, threshold in enumerate(thresholds):
        hits = by_score[iou[by_score] >= threshold]
        is_first = np.zeros(len(best), bool)
        is_first[hits[np.unique(best[hits], return_index=True)[1]]] = True
        takes = is_first[hits, None] | ignored[best[hits]]
        matched[hits, index] = np.where(takes, best[hits, None], NONE)
    return matched
