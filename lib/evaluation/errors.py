"""Errors by kind and by size: what each of TIDE's six kinds costs in AP, within every range.

After Bolya et al., "TIDE: A General Toolbox for Identifying Object Detection Errors", ECCV 2020. A detection that
counts in a range and finds no object in it is of the first of these kinds that fits:

* Loc: its IoU with the best object of its class is .1 to .5;
* Cls: its IoU with an object of another class is at least .5;
* Dupe: class and place are right, but the object has its detection already;
* Bkg: its IoU with every object is below .1;
* Both: anything else.

Miss is an object that no detection finds and that no Loc or Cls error is meant for. The cost of a kind is how much
AP50 would rise if errors of this kind alone were fixed. Fixing turns the best-scored Loc or Cls error of each object
into a hit and removes the others, removes false positives of the other kinds, and no longer counts missed objects.
Regions to ignore are neither errors nor objects to find.

Two more costs take all kinds together: FalsePos, of all false positives, and FalseNeg, of all objects not found.
"""

from typing import NamedTuple

import numpy as np

from lib.evaluation.arrays import DetectionTable, GroundTruth
from lib.evaluation.matching import IOU, NONE, find_pairs, match_at_half
from lib.evaluation.precision import precision_recall
from lib.evaluation.protocols import Protocol

WORDS = {  # kind -> what is wrong
    "Cls": "wrong class",
    "Loc": "inaccurate box",
    "Both": "wrong class and inaccurate box",
    "Dupe": "duplicate",
    "Bkg": "background",
    "Miss": "missed",
}
KINDS = tuple(WORDS)
SPECIAL = ("FalsePos", "FalseNeg")
_BACKGROUND = 0.1  # IoU below which nothing is near


class Errors(NamedTuple):
    """Errors within one range."""

    ap50: float | None  # AP at IoU .5 as it is; None without an object
    counts: dict[str, int]  # kind -> detections (Miss: objects)
    cost: dict[str, float]  # kind -> how much AP50 would rise if this kind alone were fixed
    special: dict[str, float]  # the same for SPECIAL

    @property
    def worst(self) -> str:
        """The kind that costs most."""
        return max(KINDS, key=self.cost.__getitem__)


class Faults(NamedTuple):
    """What is wrong with each detection, if it is wrong."""

    kind: np.ndarray  # (D,) int64, index into KINDS
    object: np.ndarray  # (D,) int64, the object it is meant for, else the one it overlaps most; NONE without any
    iou: np.ndarray  # (D,) float64, with that object


class _Ranking(NamedTuple):
    """What AP is computed from: (D,) of the detections, of which ``true`` are hits; (K,) objects to find."""

    score: np.ndarray
    category: np.ndarray
    true: np.ndarray
    ignored: np.ndarray
    positives: np.ndarray


def find_errors(
    ground_truth: GroundTruth, detections: DetectionTable, protocol: Protocol, faults: Faults
) -> dict[str, Errors]:
    """Errors by range of the protocol, at its highest limit on detections; ``faults`` are those of ``find_faults``."""
    matches = match_at_half(ground_truth, detections, protocol)
    errors = {}
    for area, name in enumerate(protocol.ranges):
        (true,), (ignored,) = matches.flags(area)
        counting = ~matches.object_ignored[:, area]
        hit_objects = matches.object[:, 0, area]
        is_open = counting.copy()  # objects that count and that no detection finds
        is_open[hit_objects[hit_objects != NONE]] = False
        positives = np.bincount(ground_truth.category[counting], minlength=len(ground_truth.names))
        ranking = _Ranking(detections.score, detections.category, true, ignored, positives)
        errors[name] = _errors_of(ranking, faults, is_open, ground_truth.category)
    return errors


def find_faults(ground_truth: GroundTruth, detections: DetectionTable) -> Faults:
    """The kind of each detection's error, as if it were one, and the object that this is about.

    It is an object of the detection's class for Loc and Dupe, one of another class for Cls, and any for Bkg and Both.
    """
    objects = np.flatnonzero(~ground_truth.ignore)
    pairs = find_pairs(ground_truth.select(objects), detections, 0.0, same_class=False)
    paired = objects[pairs.object]
    is_same = ground_truth.category[paired] == detections.category[pairs.detection]
    best = []
    for chosen in (is_same, ~is_same):  # the best object of the detection's class, and that of other classes
        rows = np.flatnonzero(chosen)
        rows = rows[np.lexsort((-pairs.iou[rows], pairs.detection[rows]))]
        rows = rows[np.flatnonzero(np.diff(pairs.detection[rows], prepend=NONE))]
        iou, index = np.zeros(len(detections.score)), np.full(len(detections.score), NONE)
        iou[pairs.detection[rows]], index[pairs.detection[rows]] = pairs.iou[rows], paired[rows]
        best.append((iou, index))
    (same, same_object), (other, other_object) = best
    tests = {
        "Loc": (same >= _BACKGROUND) & (same < IOU),
        "Cls": other >= IOU,
        "Dupe": same >= IOU,
        "Bkg": np.maximum(same, other) < _BACKGROUND,
    }
    kind = np.select(list(tests.values()), [KINDS.index(name) for name in tests], KINDS.index("Both"))
    is_of_class = np.where(np.isin(kind, _indices("Bkg", "Both")), same >= other, kind != KINDS.index("Cls"))
    return Faults(kind, np.where(is_of_class, same_object, other_object), np.where(is_of_class, same, other))


def _indices(*kinds: str) -> list[int]:
    return [KINDS.index(kind) for kind in kinds]


def _errors_of(ranking: _Ranking, faults: Faults, is_open: np.ndarray, object_category: np.ndarray) -> Errors:
    """Counts of each kind, and how much AP50 fixing it would add."""
    kinds, target = faults.kind, faults.object
    wrong = ~ranking.true & ~ranking.ignored
    aimed = np.flatnonzero(wrong & np.isin(kinds, _indices("Loc", "Cls")))  # detections that could be hits
    aimed = aimed[is_open[target[aimed]]]
    aimed = aimed[np.argsort(-ranking.score[aimed], kind="stable")]
    is_missed = is_open.copy()
    is_missed[target[aimed]] = False
    is_best = np.zeros(len(wrong), bool)
    is_best[aimed[np.unique(target[aimed], return_index=True)[1]]] = True
    counts, fixed = {}, {}
    for index, kind in enumerate(KINDS):
        rows = wrong & (kinds == index)
        hits = rows & is_best
        category = ranking.category.copy()
        category[hits] = object_category[target[hits]]
        true, ignored = ranking.true | hits, ranking.ignored | (rows & ~hits)
        fixed[kind] = ranking._replace(category=category, true=true, ignored=ignored)
        counts[kind] = int(np.count_nonzero(rows))
    counts["Miss"] = int(np.count_nonzero(is_missed))
    fixed["FalsePos"] = ranking._replace(ignored=ranking.ignored | wrong)
    for kind, objects in (("Miss", is_missed), ("FalseNeg", is_open)):
        number = np.bincount(object_category[objects], minlength=len(ranking.positives))
        fixed[kind] = ranking._replace(positives=ranking.positives - number)
    ap50 = _mean_ap(ranking)
    gains = {kind: (_mean_ap(better, ranking.positives) or 0.0) - (ap50 or 0.0) for kind, better in fixed.items()}
    cost, special = ({kind: max(gains[kind], 0.0) for kind in chosen} for chosen in (KINDS, SPECIAL))
    return Errors(ap50, counts, cost, special)


def _mean_ap(ranking: _Ranking, classes: np.ndarray | None = None) -> float | None:
    """Mean over the classes with objects of the average precision at 101 recall levels; None without any.

    ``classes`` has (K,) objects by class before fixing: a class that fixing leaves without objects is still one of
    them, and is perfect if it has no false positive either.
    """
    order = np.lexsort((-ranking.score, ranking.category))
    order = order[~ranking.ignored[order]]
    starts = np.searchsorted(ranking.category[order], np.arange(len(ranking.positives) + 1))
    values = []
    for category in np.flatnonzero(ranking.positives if classes is None else classes):
        rows = order[starts[category] : starts[category + 1]]
        number = ranking.positives[category]
        hits = ranking.true[rows][None]
        curve = precision_recall(hits, np.zeros_like(hits), max(number, 1), np.linspace(0, 1, 101))
        values.append(curve.precision.mean() if number else float(len(rows) == 0))
    return float(np.mean(values)) if values else None
