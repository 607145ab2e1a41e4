"""What a report shows beyond the tables: AP along size, confusion of classes, calibration of scores."""

from typing import NamedTuple

import numpy as np

from lib.evaluation.arrays import DetectionTable, GroundTruth
from lib.evaluation.evaluator import evaluate
from lib.evaluation.matching import IOU, NONE, match, match_at_half
from lib.evaluation.protocols import HUGE, Metric, Protocol


class SizeCurve(NamedTuple):
    """AP and recall in bins of equal count along object size."""

    edges: np.ndarray  # (N + 1,) float64, square root of area, px
    objects: np.ndarray  # (N,) int64
    ap: np.ndarray  # (N,) float64, mean over the protocol's IoU thresholds and the classes in the bin
    recall: np.ndarray  # (N,) float64, alike


def size_curve(
    ground_truth: GroundTruth, detections: DetectionTable, protocol: Protocol, num_bins: int = 12
) -> SizeCurve | None:
    """AP and recall against object size; None without an object.

    Each bin is a range of an ordinary evaluation. All hold about the same number of objects, at least 10 where
    there are enough. Objects of the same area always share a bin.
    """
    areas = np.sort(ground_truth.area[~ground_truth.ignore])
    if not len(areas):
        return None
    num_bins = max(1, min(num_bins, len(areas) // 10))
    starts = areas[np.linspace(0, len(areas), num_bins + 1).astype(int)[1:-1]]
    starts = np.unique(starts[starts > areas[0]])  # the smallest area of each bin but the first
    cuts = (areas[np.searchsorted(areas, starts) - 1] + starts) / 2  # no object lies on a bound
    bounds = [areas[0], *cuts, areas[-1]]
    pairs = zip([0.0, *cuts], [*cuts, HUGE], strict=True)
    ranges = {"all": (0.0, HUGE), **{f"from {low}": (low, high) for low, high in pairs}}
    result = evaluate(ground_truth, detections, protocol._replace(ranges=ranges))
    last, places = len(protocol.limits) - 1, range(1, len(ranges))
    ap, recall = (
        np.array([result.value(Metric(kind, None, place, last)) for place in places], np.float64)
        for kind in ("AP", "AR")
    )
    return SizeCurve(np.sqrt(bounds), result.objects.sum(0)[1:], ap, recall)


class Judgement(NamedTuple):
    """Which detections are right and which objects they find, at IoU .5 and over the protocol's first range."""

    true: np.ndarray  # (D,) bool, hits
    ignored: np.ndarray  # (D,) bool, detections that are neither right nor wrong
    score_of: np.ndarray  # (G,) float64, score of the detection that finds each object; NaN where none does
    counting: np.ndarray  # (G,) bool, objects that count


def judge(ground_truth: GroundTruth, detections: DetectionTable, protocol: Protocol) -> Judgement:
    """Hits and misses by the protocol's matching, at its highest limit on detections."""
    matches = match_at_half(ground_truth, detections, protocol)
    (true,), (ignored,) = matches.flags(0)
    score_of = np.full(len(ground_truth.area), np.nan)
    objects = matches.object[:, 0, 0]
    hit = objects != NONE
    score_of[objects[hit]] = detections.score[matches.detection[hit]]
    return Judgement(true, ignored, score_of, ~matches.object_ignored[:, 0])


def best_score(detections: DetectionTable, judged: Judgement) -> float:
    """The least score to accept for the highest F1 over all classes together; 0 without a hit."""
    rows = np.argsort(-detections.score, kind="stable")
    rows = rows[~judged.ignored[rows]]
    hits = np.cumsum(judged.true[rows])
    f1 = 2 * hits / (np.arange(1, len(rows) + 1) + np.count_nonzero(judged.counting))
    return float(detections.score[rows[np.argmax(f1)]]) if len(rows) and f1.max() > 0 else 0.0


class Calibration(NamedTuple):
    """Scores against the share of hits, in ten bins of score."""

    score: np.ndarray  # (10,) float64, mean score; NaN where a bin is empty
    precision: np.ndarray  # (10,) float64, share of hits; NaN alike
    num_detections: np.ndarray  # (10,) int64
    error: float  # mean distance between score and precision, weighted by the number of detections


def calibrate(detections: DetectionTable, judged: Judgement) -> Calibration:
    """How close the scores are to the share of hits."""
    counted = ~judged.ignored
    scores, true = detections.score[counted], judged.true[counted]
    bins = np.clip((scores * 10).astype(int), 0, 9)
    number = np.bincount(bins, minlength=10)
    score, precision = (
        np.divide(np.bincount(bins, values, 10), number, out=np.full(10, np.nan), where=number > 0)
        for values in (scores, true.astype(np.float64))
    )
    error = float(np.nansum(np.abs(score - precision) * number) / max(number.sum(), 1))
    return Calibration(score, precision, number, error)


def confusion(ground_truth: GroundTruth, detections: DetectionTable, score: float) -> np.ndarray:
    """(K + 1, K + 1) int64: rows are true classes, columns detected ones; last are background and missed objects.

    Detections of at least ``score`` take objects at IoU .5 whatever their class, by falling score. Those that take
    a region to ignore do not count.
    """
    detections = detections.select(detections.score >= score)
    classless = ground_truth._replace(names=("any",), category=np.zeros_like(ground_truth.category))
    protocol = Protocol("confusion", {"all": (0, HUGE)}, (IOU,), (None,))
    matches = match(classless, detections._replace(category=np.zeros_like(detections.category)), protocol)
    objects = matches.object[:, 0, 0]
    hit = objects != NONE
    size = len(ground_truth.names) + 1
    table = np.zeros((size, size), np.int64)
    true = np.full(len(detections.score), size - 1)
    true[matches.detection[hit]] = ground_truth.category[objects[hit]]
    ignored = matches.flags(0).ignored[0]
    np.add.at(table, (true[~ignored], detections.category[~ignored]), 1)
    missed = ~ground_truth.ignore
    missed[objects[hit]] = False
    np.add.at(table, (ground_truth.category[missed], size - 1), 1)
    return table
