"""The two engines behind one call: hotcoco computes, pycocotools is the reference; equal to the bit.

Annotations and detections get ids from 1 on: the reference takes an object whose id is 0 for unmatched.
"""

from __future__ import annotations

import contextlib
import io
from typing import NamedTuple

import numpy as np

from lib.evaluation.arrays import DetectionTable, GroundTruth
from lib.evaluation.protocols import Protocol


class Curves(NamedTuple):
    """Precision and recall for T IoU thresholds, R recall levels, K classes, A area ranges, M limits.

    -1 stands where a class has no object in a range, as in the reference.

    Attributes:
        precision: (T, R, K, A, M) float64, the envelope at the protocol's recall levels.
        recall: (T, K, A, M) float64, the highest that is reached.
        scores: (T, R, K, A, M) float64, the score at which each recall level is reached.
        ap: (T, K, A, M) float64, the area under the whole curve; None where AP is the mean of ``precision``.
    """

    precision: np.ndarray
    recall: np.ndarray
    scores: np.ndarray
    ap: np.ndarray | None = None


def run_hotcoco(ground_truth: GroundTruth, detections: DetectionTable, protocol: Protocol) -> Curves:
    """Curves by hotcoco, from arrays: no object is made for a box."""
    from hotcoco import COCO, COCOeval

    truth = COCO.from_arrays(
        [{"id": index + 1, "width": 0, "height": 0} for index in range(len(ground_truth.image_ids))],
        [{"id": index + 1, "name": name} for index, name in enumerate(ground_truth.names)],
        ground_truth.image + 1,
        ground_truth.category + 1,
        ground_truth.xywh,
        area=ground_truth.area,
        iscrowd=ground_truth.ignore.astype(np.int64),
    )
    table = np.column_stack(
        [detections.image + 1, detections.xywh, detections.score, detections.category + 1]
    )
    evaluation = COCOeval(truth, truth.load_res(table), "bbox")
    parameters = evaluation.params
    parameters.iou_thrs = list(protocol.iou_thresholds)
    parameters.rec_thrs = protocol.recall_levels.tolist()
    parameters.max_dets = list(protocol.limits)
    parameters.area_rng = [list(map(float, bounds)) for bounds in protocol.ranges.values()]
    parameters.area_rng_lbl = list(protocol.ranges)
    evaluation.evaluate()
    evaluation.accumulate()
    found = evaluation.eval
    return Curves(found["precision"], found["recall"], found["scores"])


def run_pycocotools(ground_truth: GroundTruth, detections: DetectionTable, protocol: Protocol) -> Curves:
    """Curves by pycocotools, the reference."""
    from pycocotools.coco import COCO
    from pycocotools.cocoeval import COCOeval

    def annotations(table: GroundTruth | DetectionTable, **columns: np.ndarray) -> list[dict]:
        columns = {
            "image_id": table.image + 1,
            "category_id": table.category + 1,
            "bbox": table.xywh,
            **columns,
        }
        rows = zip(*(values.tolist() for values in columns.values()), strict=True)
        return [{"id": index, **dict(zip(columns, row, strict=True))} for index, row in enumerate(rows, 1)]

    def dataset(rows: list[dict]) -> COCO:
        coco = COCO()
        coco.dataset = {
            "images": [{"id": index + 1} for index in range(len(ground_truth.image_ids))],
            "categories": [{"id": index + 1} for index in range(len(ground_truth.category_ids))],
            "annotations": rows,
        }
        coco.createIndex()
        return coco

    areas = detections.xywh[:, 2] * detections.xywh[:, 3]
    with contextlib.redirect_stdout(io.StringIO()):  # the reference prints its progress
        evaluation = COCOeval(
            dataset(
                annotations(ground_truth, area=ground_truth.area, iscrowd=ground_truth.ignore.astype(int))
            ),
            dataset(annotations(detections, area=areas, score=detections.score)),
            "bbox",
        )
        evaluation.params.iouThrs = np.array(protocol.iou_thresholds)
        evaluation.params.recThrs = protocol.recall_levels
        evaluation.params.maxDets = list(protocol.limits)
        evaluation.params.areaRng = [list(bounds) for bounds in protocol.ranges.values()]
        evaluation.params.areaRngLbl = list(protocol.ranges)
        evaluation.evaluate()
        evaluation.accumulate()
    return Curves(*(evaluation.eval[key] for key in ("precision", "recall", "scores")))


ENGINES = {"hotcoco": run_hotcoco, "pycocotools": run_pycocotools}
