"""Errors by kind and by size: what each of TIDE's six kinds costs in AP, within every range.

After Bolya et al., "TIDE: A General Toolbox for Identifying Object Detection Errors", ECCV 2020. A detection
that counts in a range and finds nothing there has one kind, the first of these that fits:

* Loc: it overlaps its best object of its class by .1 to .5;
* Cls: it overlaps an object of another class by .5;
* Dupe: right class and place, but the object is found already;
* Bkg: it overlaps nothing by .1;
* Both: the rest.

Miss is an object that is not found and that no Loc or Cls error points at. The cost of a kind is the AP50
that mending it alone would add: Loc and Cls become hits (the best-scored one of an object, the others go),
false positives of the other kinds go, missed objects no longer count. Crowds are no errors and no aims.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from lib.evaluation.arrays import DetectionTable, GroundTruth
from lib.evaluation.matching import NONE, find_pairs, match
from lib.evaluation.protocols import Protocol
from lib.evaluation.voc_visdrone import precision_recall

KINDS = ("Cls", "Loc", "Both", "Dupe", "Bkg", "Miss")
_FOREGROUND, _BACKGROUND = 0.5, 0.1


class Errors(NamedTuple):
    """Errors within one range.

    Attributes:
        ap50: AP at IoU .5 as it is; None without an object.
        counts: kind -> detections (Miss: objects).
        cost: kind -> AP50 that mending the kind alone would add.
    """

    ap50: float | None
    counts: dict[str, int]
    cost: dict[str, float]


class _Judged(NamedTuple):
    """What AP is computed from.

    Attributes:
        score, category: (D,) of the detections.
        true, ignored: (D,) bool, hits, and what counts neither way.
        positives: (K,) int64, objects to find.
    """

    score: np.ndarray
    category: np.ndarray
    true: np.ndarray
    ignored: np.ndarray
    positives: np.ndarray


def find_errors(
    ground_truth: GroundTruth, detections: DetectionTable, protocol: Protocol
) -> dict[str, Errors]:
    """Errors by range of the protocol, at its highest number of detections."""
    protocol = protocol._replace(iou_thresholds=(_FOREGROUND,), limits=protocol.limits[-1:])
    matches = match(ground_truth, detections, protocol)
    kinds, target = _sort_out(ground_truth, detections)
    errors = {}
    for area, name in enumerate(protocol.ranges):
        true, ignored = matches.flags(0, area)
        if protocol.limits[-1] is not None:
            ignored |= matches.rank >= protocol.limits[-1]
        counting = ~matches.object_ignored[:, area]
        found = matches.object[:, 0, area]
        is_open = counting.copy()  # objects that count and are not found
        is_open[found[found != NONE]] = False
        positives = np.bincount(ground_truth.category[counting], minlength=len(ground_truth.names))
        judged = _Judged(detections.score, detections.category, true, ignored, positives)
        errors[name] = _cost_of_kinds(judged, kinds, target, is_open, ground_truth.category)
    return errors


def _sort_out(ground_truth: GroundTruth, detections: DetectionTable) -> tuple[np.ndarray, np.ndarray]:
    """(D,) index into ``KINDS`` that a detection has if it is wrong, (D,) the object that Loc or Cls mean."""
    objects = np.flatnonzero(~ground_truth.ignore)
    pairs = find_pairs(ground_truth.select(objects), detections, 0.0, same_class=False)
    thing = objects[pairs.object]
    is_same = ground_truth.category[thing] == detections.category[pairs.detection]
    best = []
    for chosen in (is_same, ~is_same):
        rows = np.flatnonzero(chosen)
        rows = rows[np.lexsort((-pairs.iou[rows], pairs.detection[rows]))]
        rows = rows[np.flatnonzero(np.diff(pairs.detection[rows], prepend=NONE))]
        iou, index = np.zeros(len(detections.score)), np.full(len(detections.score), NONE)
        iou[pairs.detection[rows]], index[pairs.detection[rows]] = pairs.iou[rows], thing[rows]
        best.append((iou, index))
    (same, same_object), (other, other_object) = best
    tests = {
        "Loc": (same >= _BACKGROUND) & (same < _FOREGROUND),
        "Cls": other >= _FOREGROUND,
        "Dupe": same >= _FOREGROUND,
        "Bkg": np.maximum(same, other) < _BACKGROUND,
    }
    kinds = np.select(list(tests.values()), [KINDS.index(kind) for kind in tests], KINDS.index("Both"))
    target = np.where(kinds == KINDS.index("Loc"), same_object, other_object)
    return kinds, np.where(np.isin(kinds, [KINDS.index("Loc"), KINDS.index("Cls")]), target, NONE)


def _cost_of_kinds(
    judged: _Judged, kinds: np.ndarray, target: np.ndarray, is_open: np.ndarray, object_category: np.ndarray
) -> Errors:
    """Counts of each kind, and the AP50 that mending it adds."""
    wrong = ~judged.true & ~judged.ignored
    aims = np.flatnonzero(wrong & (target != NONE))  # detections that could be hits
    aims = aims[is_open[target[aims]]]
    aims = aims[np.argsort(-judged.score[aims], kind="stable")]
    is_missed = is_open.copy()
    is_missed[target[aims]] = False
    is_best = np.zeros(len(wrong), bool)
    is_best[aims[np.unique(target[aims], return_index=True)[1]]] = True
    base = _mean_ap(judged)
    counts, cost = {}, {}
    for index, kind in enumerate(KINDS):
        rows = wrong & (kinds == index)
        hits = rows & is_best
        mended = judged._replace(
            category=np.where(hits, object_category[target], judged.category)
            if hits.any()
            else judged.category,
            true=judged.true | hits,
            ignored=judged.ignored | (rows & ~hits),
        )
        counts[kind] = int(np.count_nonzero(rows))
        if kind == "Miss":
            missed = np.bincount(object_category[is_missed], minlength=len(judged.positives))
            mended, counts[kind] = judged._replace(positives=judged.positives - missed), int(missed.sum())
        cost[kind] = 0.0 if base is None else max((_mean_ap(mended, judged.positives) or 0.0) - base, 0.0)
    return Errors(base, counts, cost)


def _mean_ap(judged: _Judged, classes: np.ndarray | None = None) -> float | None:
    """Mean over the classes with objects of the average precision at 101 recall levels; None without any.

    Args:
        judged: the detections.
        classes: (K,) objects by class before mending. A class whose objects are all forgiven stays: it is
            perfect if it has no false positive either.
    """
    order = np.lexsort((-judged.score, judged.category))
    order = order[~judged.ignored[order]]
    starts = np.searchsorted(judged.category[order], np.arange(len(judged.positives) + 1))
    values = []
    for category in np.flatnonzero(judged.positives if classes is None else classes):
        rows = order[starts[category] : starts[category + 1]]
        number = judged.positives[category]
        hits = judged.true[rows][None]
        level = precision_recall(hits, np.zeros_like(hits), max(number, 1), np.linspace(0, 1, 101))[0]
        values.append(level.mean() if number else float(len(rows) == 0))
    return float(np.mean(values)) if values else None
