"""What a reader of a report should look at: missed objects and false positives, each with the reason in words."""

from collections import Counter

import numpy as np

from lib.evaluation.analysis import Judgement
from lib.evaluation.arrays import DetectionTable, GroundTruth
from lib.evaluation.errors import KINDS, Faults
from lib.evaluation.matching import IOU, NONE, find_pairs
from lib.evaluation.report.gallery import Exhibit

_NEAR = 0.1  # least overlap of a box that may have been meant for the object
_NUMBER = 24  # of a gallery at most
_REASONS = {  # kind of error -> the reason, of the object ``name`` and the IoU with it
    "Bkg": "touches {name}, IoU {iou:.2f}",
    "Loc": "inaccurate box, IoU {iou:.2f}",
    "Cls": "wrong class: this is {name}, IoU {iou:.2f}",
    "Dupe": "second box of an object, IoU {iou:.2f}",
    "Both": "wrong class and inaccurate box: this is {name}, IoU {iou:.2f}",
}


def worst_misses(
    ground_truth: GroundTruth,
    detections: DetectionTable,
    judged: Judgement,
    score: float,
    side: float,
    per_image: int = 2,
) -> list[Exhibit]:
    """Missed objects up to a size, the largest first, because they should be the easiest.

    Args:
        judged: what ``judge`` gave for the ground truth and detections.
        score: an object is missed if no detection with at least this score finds it.
        side: square root of the largest area, px.
        per_image: at most so many of one image.
    """
    is_missed = judged.counting & ~(judged.score_of >= score) & (ground_truth.area <= side**2)
    shown = detections.select(detections.score >= score)
    exhibits = []
    for row in _choose(is_missed, ground_truth.area, ground_truth.image, per_image):
        what = f"{ground_truth.names[ground_truth.category[row]]}, {np.sqrt(ground_truth.area[row]):.0f} px"
        caption = f"{what}: {_reason(ground_truth, shown, judged, row)}"
        exhibits.append(Exhibit(int(ground_truth.image[row]), ground_truth.xywh[row], caption))
    return exhibits


def worst_false_positives(
    ground_truth: GroundTruth,
    detections: DetectionTable,
    judged: Judgement,
    faults: Faults,
    score: float,
    on_objects: bool,
    per_image: int = 2,
) -> list[Exhibit]:
    """False positives with at least a score, the highest first.

    Args:
        judged, faults: what ``judge`` and ``find_faults`` gave for the ground truth and detections.
        on_objects: those that overlap an object but are loose, doubled or of a wrong class; otherwise those on nothing,
            whose IoU with every object is below .1.
        per_image: at most so many of one image.
    """
    is_wrong = ~judged.true & ~judged.ignored & (detections.score >= score)
    is_wrong &= (faults.kind != KINDS.index("Bkg")) == on_objects
    exhibits = []
    for row in _choose(is_wrong, detections.score, detections.image, per_image):
        label, size = ground_truth.names[detections.category[row]], np.sqrt(detections.xywh[row, 2:].prod())
        reason = "no labeled object here"
        if faults.object[row] != NONE:
            name, iou = ground_truth.names[ground_truth.category[faults.object[row]]], faults.iou[row]
            reason = _REASONS[KINDS[faults.kind[row]]].format(name=name, iou=np.floor(100 * iou) / 100)
        caption = f"{label} {detections.score[row]:.2f}, {size:.0f} px: {reason}"
        exhibits.append(Exhibit(int(detections.image[row]), detections.xywh[row], caption))
    return exhibits


def _choose(chosen: np.ndarray, key: np.ndarray, image: np.ndarray, per_image: int) -> list[int]:
    """The first of the chosen rows by falling key, at most ``per_image`` of one image; ties keep their order."""
    rows = np.flatnonzero(chosen)
    rows = rows[np.argsort(-key[rows], kind="stable")]
    taken: Counter[int] = Counter()
    kept = []
    for row, of_image in zip(rows.tolist(), image[rows].tolist(), strict=True):
        taken[of_image] += 1
        if taken[of_image] <= per_image:
            kept.append(row)
    return kept[:_NUMBER]


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
            return "the overlapping detection was matched to another object"
        return f"inaccurate box, IoU {np.floor(100 * best) / 100:.2f}"
    if np.isfinite(judged.score_of[row]):
        return f"detected, but with a score of only {judged.score_of[row]:.2f}"
    return "no detection nearby"
