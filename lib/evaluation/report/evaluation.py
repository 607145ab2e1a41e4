"""The HTML report of an evaluation, to be read from top to bottom."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from lib.evaluation.analysis import best_score, calibrate, confusion, judge, size_curve
from lib.evaluation.arrays import DetectionTable, GroundTruth
from lib.evaluation.errors import KINDS, Errors, find_errors
from lib.evaluation.report import plots
from lib.evaluation.report.gallery import draw_miss
from lib.evaluation.report.html import note, page, picture, row, section, table
from lib.evaluation.report.misses import Miss, worst_misses
from lib.evaluation.result import Result
from lib.evaluation.tables import Row, cell_text, class_rows, limit_line, side_text, size_rows
from lib.evaluation.voc_visdrone import drop_regions

_SMALL = 32.0  # px of side: what the field calls small
_MOST_CONFUSIONS = 12
_MOST_CLASSES = 25  # of the confusion matrix

_SIZE_TEXT = (
    "Ranges sort objects by their area in the original image; the table gives the sides of squares of "
    "that area. AP is the mean over IoU thresholds and over the classes that have objects in the range;"
    " AR is the recall with the most detections an image. A dash stands where there is no object."
)
_CURVE_TEXT = (
    "Each step holds about the same number of objects. Dotted lines are the bounds of the ranges above."
    " What is found at one size and not at the next shows where the detector's reach ends."
)
_CURVES_TEXT = (
    "Left, the mean of the classes' curves in each range. Right, detections in ten bins of score: "
    "points below the dotted line are scores that promise more than they hold; bars count detections on"
    " a logarithmic axis."
)
_ERROR_TEXT = (
    "What AP50 would gain if one kind of error were mended and nothing else. <b>Cls</b>: right place, "
    "wrong class. <b>Loc</b>: right class, IoU of only .1 to .5. <b>Both</b>: wrong in both. "
    "<b>Dupe</b>: the object is found already. <b>Bkg</b>: there is nothing. <b>Miss</b>: no detection "
    "comes near. A false positive belongs to the range of its own box."
)
_CONFUSION_TEXT = (
    "Detections with a score of {score:.2f} or more, where F1 over all classes is highest, at IoU .5. "
    "Numbers are counts, colours shares of the true class."
)
_GALLERY_TEXT = (
    "Objects up to {side:.3g} px of side that no detection with a score of {score:.2f} or more finds at"
    " IoU .5: the largest first, at most two of an image. <b class='orange'>Orange</b> is the missed "
    "object, <b class='green'>green</b> are other objects, <b class='blue'>blue</b> detections from "
    "that score on."
)


def build_report(
    title: str,
    result: Result,
    ground_truth: GroundTruth,
    detections: DetectionTable,
    images: Sequence[Mapping[str, Any]] = (),
    image_folder: Path | None = None,
) -> str:
    """The page as HTML text.

    Args:
        title: what was evaluated.
        result: of ``evaluate`` with the same ground truth and detections.
        ground_truth, detections: what it judged.
        images: the data set's image records; the gallery takes their ``file_name``.
        image_folder: where the files lie; without it the page has no gallery.
    """
    ground_truth, detections = drop_regions(ground_truth, detections)
    errors = find_errors(ground_truth, detections, result.protocol)
    judged = judge(ground_truth, detections, result.protocol)
    score = best_score(detections, judged)
    curve = size_curve(ground_truth, detections, result.protocol)
    calibration = plots.calibration_figure(calibrate(detections, judged))
    along = note("There is no object.") if curve is None else plots.size_figure(curve, result.protocol)
    limits = f"<p>Recall by the number of detections an image: {limit_line(result)}.</p>"
    costs = plots.error_figure(errors), table(_error_rows(errors))
    sections = [
        section("By size", _SIZE_TEXT, table(size_rows(result)), limits),
        section("Along object size", _CURVE_TEXT, along),
        section(
            "Precision, recall and scores",
            _CURVES_TEXT,
            row([plots.precision_recall_figure(result), calibration]),
        ),
        section("Errors by kind and size", _ERROR_TEXT, *costs),
        _confusion_section(ground_truth, detections, score),
        section("By class", "AP with the name of a range is AP within it.", table(class_rows(result))),
        section("Objects by class and size", "", table(_count_rows(result))),
    ]
    if image_folder is not None:
        files = {int(record["id"]): str(record.get("file_name", "")) for record in images}
        misses = worst_misses(ground_truth, detections, judged, score, small_side(result))
        shown = detections.select(detections.score >= score)
        text = _GALLERY_TEXT.format(side=small_side(result), score=score)
        gallery = _gallery(ground_truth, shown, misses, files, image_folder)
        sections.append(section("Small objects that were missed", text, gallery))
    return page(title, _lead(result, errors, ground_truth, detections), sections)


def small_side(result: Result) -> float:
    """Side of the largest object that counts as small: the protocol's bound next below or at 32 px."""
    bounds = [np.sqrt(high) for _, high in result.protocol.ranges.values() if high <= _SMALL**2]
    return float(max(bounds, default=_SMALL))


def _lead(
    result: Result, errors: Mapping[str, Errors], ground_truth: GroundTruth, detections: DetectionTable
) -> str:
    """The page in two sentences: the headline, and the costliest error of each range."""
    headline = result.protocol.headline
    costs = [
        f"{name}: {max(KINDS, key=found.cost.get)} ({max(found.cost.values()):.3f})"
        for name, found in errors.items()
        if found.ap50 is not None and max(found.cost.values()) > 0
    ]
    return (
        f"{len(detections.score):,} detections in {len(ground_truth.image_ids):,} images with "
        f"{next(iter(result.counts.values())):,} objects that count. Protocol {result.protocol.name}: "
        f"<b>{headline} {cell_text(result.metrics[headline])}</b>."
        + (f" The costliest kind of error by range, in AP50: {'; '.join(costs)}." if costs else "")
    )


def _error_rows(errors: Mapping[str, Errors]) -> list[Row]:
    """Counts of errors by range and kind."""
    rows: list[Row] = [("number of errors", *KINDS)]
    return rows + [(name, *found.counts.values()) for name, found in errors.items() if found.ap50 is not None]


def _count_rows(result: Result) -> list[Row]:
    """Objects by class and range."""
    titles = [f"{name} ({side_text(bounds)})" for name, bounds in result.protocol.ranges.items()]
    rows: list[Row] = [("class", *titles)]
    return rows + [
        (name, *counts) for name, counts in zip(result.names, result.objects.tolist(), strict=True)
    ]


def _confusion_section(ground_truth: GroundTruth, detections: DetectionTable, score: float) -> str:
    """The matrix of the most frequent classes, and the pairs of classes that are confused most."""
    names = ground_truth.names
    counts = confusion(ground_truth, detections, score)
    frequency = counts[:-1].sum(axis=1) + counts[:, :-1].sum(axis=0)
    chosen = np.sort(np.argsort(-frequency, kind="stable")[:_MOST_CLASSES])
    chosen = chosen[frequency[chosen] > 0]
    cells = np.append(chosen, len(names))
    figure = plots.confusion_figure(counts[np.ix_(cells, cells)], [names[index] for index in chosen])
    between = counts[:-1, :-1] * (1 - np.eye(len(names), dtype=np.int64))
    order = np.argsort(-between, axis=None, kind="stable")[:_MOST_CONFUSIONS]
    pairs = [np.unravel_index(place, between.shape) for place in order if between.flat[place]]
    rows: list[Row] = [("true class", "detected as", "objects")]
    rows += [(names[true], names[found], int(between[true, found])) for true, found in pairs]
    listed = table(rows) if pairs else note("No class is taken for another.")
    text = _CONFUSION_TEXT.format(score=score)
    if len(chosen) < len(names):
        text += (
            f" Shown are {len(chosen)} of {len(names)} classes, those with the most objects and detections."
        )
    return section("Confusion of classes", text, row([figure, listed]))


def _gallery(
    ground_truth: GroundTruth,
    shown: DetectionTable,
    misses: Sequence[Miss],
    files: Mapping[int, str],
    image_folder: Path,
) -> str:
    """One picture a miss."""
    pictures = []
    for thing, reason in misses:
        name = files.get(int(ground_truth.image_ids[ground_truth.image[thing]]), "")
        drawn = draw_miss(image_folder / name, ground_truth, shown, thing)
        kind = ground_truth.names[ground_truth.category[thing]]
        caption = f"{kind}, {np.sqrt(ground_truth.area[thing]):.0f} px: {reason}. {name}"
        pictures.append(note(f"{name} cannot be read.") if drawn is None else picture(drawn, caption))
    return row(pictures) if pictures else note("Nothing of this size was missed.")
