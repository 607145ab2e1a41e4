"""The misses that a reader should look at: which objects, and in words what was detected instead."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from lib.evaluation.analysis import IOU, Judgement
from lib.evaluation.arrays import DetectionTable, GroundTruth
from lib.evaluation.matching import find_pairs

_NEAR = 0.1  # least overlap of a box that may have been meant for the object


class Miss(NamedTuple):
    """A missed object: its index in the ground truth, and what was detected instead, in words."""

    object: int
    reason: str


def worst_misses(
    ground_truth: GroundTruth,
    detections: DetectionTable,
    judged: Judgement,
    score: float,
    side: float,
    number: int = 24,
    per_image: int = 2,
) -> list[Miss]:
    """Missed objects up to a size, the largest first, because they should be the easiest.

    Args:
        ground_truth, detections: what ``judge`` took.
        judged: what it gave.
        score: an object is missed if no detection with at least this score finds it.
        side: square root of the largest area, px.
        number: of misses at most, and ``per_image`` of one image.
    """
    is_missed = judged.counting & ~(judged.score_of >= score) & (ground_truth.area <= side**2)
    rows = np.flatnonzero(is_missed)
    rows = rows[np.argsort(-ground_truth.area[rows], kind="stable")]
    taken: dict[int, int] = {}
    chosen: list[int] = []
    for row, image in zip(rows.tolist(), ground_truth.image[rows].tolist(), strict=True):
        taken[image] = taken.get(image, 0) + 1
        if taken[image] <= per_image and len(chosen) < number:
            chosen.append(row)
    shown = detections.select(detections.score >= score)
    return [Miss(row, _reason(ground_truth, shown, judged, row)) for row in chosen]


def _reason(ground_truth: GroundTruth, shown: DetectionTable, judged: Judgement, row: int) -> str:
    """What the detections above the score make of a missed object."""
    pairs = find_pairs(ground_truth.select(np.array([row])), shown, _NEAR, same_class=False)
    is_same = shown.category[pairs.detection] == ground_truth.category[row]
    other = np.where(is_same, 0, pairs.iou)
    if other.max(initial=0) >= IOU:
        detection = pairs.detection[other.argmax()]
        return f"taken for {ground_truth.names[shown.category[detection]]} ({shown.score[detection]:.2f})"
    if is_same.any():
        best = pairs.iou[is_same].max()
        if best >= IOU:
            return "its detection finds another object"  # one that overlaps it
        return f"box off, IoU {np.floor(100 * best) / 100:.2f}"
    if np.isfinite(judged.score_of[row]):
        return f"found, but only with {judged.score_of[row]:.2f}"
    return "nothing near"
