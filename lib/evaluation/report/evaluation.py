"""The HTML report of an evaluation, to be read from top to bottom; its words are in templates/evaluation.html."""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from lib.evaluation.analysis import best_score, calibrate, confusion, judge, size_curve
from lib.evaluation.arrays import DetectionTable, GroundTruth
from lib.evaluation.errors import KINDS, SPECIAL, WORDS, find_errors, find_faults
from lib.evaluation.protocols import side_text
from lib.evaluation.regions import drop_regions
from lib.evaluation.report import plots
from lib.evaluation.report.gallery import Picture, draw_gallery
from lib.evaluation.report.style import page
from lib.evaluation.report.worst import worst_false_positives, worst_misses
from lib.evaluation.result import Result

_SMALL = 32.0  # px of side: what the field calls small
_MOST_CONFUSIONS = 12
_MOST_CLASSES = 25  # of the confusion matrix


def build_report(
    title: str,
    result: Result,
    ground_truth: GroundTruth,
    detections: DetectionTable,
    images: Sequence[Mapping[str, Any]] = (),
    image_folder: Path | None = None,
    links: bool = False,
    read: Callable[[str], np.ndarray | None] | None = None,
) -> str:
    """The page as HTML text, of what ``evaluate`` took and gave.

    The galleries take the ``file_name`` of the data set's image records ``images``; without the folder in which these
    files lie there are none, and ``links`` says whether links that lead out of it are followed. ``read`` is that of
    ``draw_gallery``.
    """
    ground_truth, detections = drop_regions(ground_truth, detections)
    faults = find_faults(ground_truth, detections)
    errors = find_errors(ground_truth, detections, result.protocol, faults)
    errors = {name: of_range for name, of_range in errors.items() if of_range.ap50 is not None}
    judged = judge(ground_truth, detections, result.protocol)
    score, side = best_score(detections, judged), small_side(result)
    curve = size_curve(ground_truth, detections, result.protocol)
    galleries: dict[str, list[Picture]] = {}
    if image_folder is not None:
        files = {int(record["id"]): str(record.get("file_name", "")) for record in images}
        shown = detections.select(detections.score >= score)
        judged_faults = ground_truth, detections, judged, faults
        exhibits = {
            "misses": worst_misses(ground_truth, detections, judged, score, side),
            "on_nothing": worst_false_positives(*judged_faults, score, on_objects=False),
            "on_objects": worst_false_positives(*judged_faults, score, on_objects=True),
        }
        for name, chosen in exhibits.items():
            galleries[name] = draw_gallery(ground_truth, shown, chosen, files, image_folder, links, read)
    titles = (f"{name} ({side_text(bounds)})" for name, bounds in result.protocol.ranges.items())
    counts = zip(result.names, result.objects.tolist(), strict=True)
    return page(
        "evaluation.html",
        title,
        result=result,
        num_detections=len(detections.score),
        num_images=len(ground_truth.image_ids),
        num_objects=next(iter(result.counts.values())),
        errors=errors,
        words=WORDS,
        size_figure=None if curve is None else plots.size_figure(curve, result.protocol),
        curves_figure=plots.precision_recall_figure(result),
        calibration_figure=plots.calibration_figure(calibrate(detections, judged)),
        error_figure=plots.error_figure(errors),
        error_rows=[("range (number of errors)", *KINDS), *((name, *errors[name].counts.values()) for name in errors)],
        special_rows=[("range (cost in AP50)", *SPECIAL), *((name, *errors[name].special.values()) for name in errors)],
        confusion=_confusion(ground_truth, detections, score),
        count_rows=[("class", *titles), *((name, *of_class) for name, of_class in counts)],
        galleries=galleries,
        score=score,
        side=side,
    )


def small_side(result: Result) -> float:
    """Side of the largest object that counts as small: the highest bound of a range up to 32 px, else 32 px."""
    bounds = [np.sqrt(high) for _, high in result.protocol.ranges.values() if high <= _SMALL**2]
    return float(max(bounds, default=_SMALL))


def _confusion(ground_truth: GroundTruth, detections: DetectionTable, score: float) -> dict[str, Any]:
    """Matrix of the most frequent classes, how many these are, and the pairs of classes that are confused most."""
    names = ground_truth.names
    counts = confusion(ground_truth, detections, score)
    frequency = counts[:-1].sum(axis=1) + counts[:, :-1].sum(axis=0)
    chosen = np.sort(np.argsort(-frequency, kind="stable")[:_MOST_CLASSES])
    chosen = chosen[frequency[chosen] > 0]
    cells = np.append(chosen, len(names))
    between = counts[:-1, :-1] * (1 - np.eye(len(names), dtype=np.int64))
    order = np.argsort(-between, axis=None, kind="stable")[:_MOST_CONFUSIONS]
    pairs = [divmod(place, len(names)) for place in order.tolist() if between.flat[place]]
    rows = [(names[true], names[detected], int(between[true, detected])) for true, detected in pairs]
    return {
        "figure": plots.confusion_figure(counts[np.ix_(cells, cells)], [names[index] for index in chosen]),
        "num_shown": len(chosen),
        "rows": [("true class", "detected as", "objects"), *rows],
    }
