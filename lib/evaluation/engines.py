"""The two engines, with the same call: hotcoco, which is fast, and pycocotools, the reference; equal to the bit.

Annotations and detections get ids from 1 on, because the reference takes an object with id 0 for unmatched.
"""

import contextlib
import io
from typing import NamedTuple

import numpy as np

from lib.evaluation.arrays import DetectionTable, GroundTruth
from lib.evaluation.protocols import Protocol


class Curves(NamedTuple):
    """Precision and recall for T IoU thresholds, R recall levels, K classes, A area ranges, M limits.

    Where a class has no object in a range the values are -1, as in the reference.
    """

    precision: np.ndarray  # (T, R, K, A, M) float64, the envelope at the protocol's recall levels
    recall: np.ndarray  # (T, K, A, M) float64, the highest
    scores: np.ndarray  # (T, R, K, A, M) float64, the score at which each recall level is reached
    # (T, K, A, M) float64, the area under the whole curve; None where AP is the mean of ``precision``
    ap: np.ndarray | None = None


def run_hotcoco(ground_truth: GroundTruth, detections: DetectionTable, protocol: Protocol) -> Curves:
    """Curves by hotcoco, from arrays: no Python object is made for a box."""
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
    columns = [detections.image + 1, detections.xywh, detections.score, detections.category + 1]
    evaluation = COCOeval(truth, truth.load_res(np.column_stack(columns)), "bbox")
    parameters = evaluation.params
    parameters.iou_thrs = list(protocol.iou_thresholds)
    parameters.rec_thrs = protocol.recall_levels.tolist()
    parameters.max_dets = _limits(protocol)
    parameters.area_rng = [list(map(float, bounds)) for bounds in protocol.ranges.values()]
    parameters.area_rng_lbl = list(protocol.ranges)
    evaluation.evaluate()
    evaluation.accumulate()
    curves = evaluation.eval
    assert curves is not None, "accumulate() fills eval"
    return Curves(curves["precision"], curves["recall"], curves["scores"])


def _limits(protocol: Protocol) -> list[int]:
    """The protocol's limits; those that the engines compute have no open one."""
    return [limit for limit in protocol.limits if limit is not None]


def run_pycocotools(ground_truth: GroundTruth, detections: DetectionTable, protocol: Protocol) -> Curves:
    """Curves by pycocotools, the reference."""
    from pycocotools.coco import COCO
    from pycocotools.cocoeval import COCOeval

    def annotations(table: GroundTruth | DetectionTable, **more: np.ndarray) -> list[dict]:
        ids = {"image_id": table.image + 1, "category_id": table.category + 1}
        columns = {**ids, "bbox": table.xywh, **more}
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
    objects = annotations(ground_truth, area=ground_truth.area, iscrowd=ground_truth.ignore.astype(int))
    results = annotations(detections, area=areas, score=detections.score)
    with contextlib.redirect_stdout(io.StringIO()):  # the reference prints its progress
        evaluation = COCOeval(dataset(objects), dataset(results), "bbox")
        evaluation.params.iouThrs = np.array(protocol.iou_thresholds)
        evaluation.params.recThrs = protocol.recall_levels
        evaluation.params.maxDets = _limits(protocol)
        evaluation.params.areaRng = [list(bounds) for bounds in protocol.ranges.values()]
        evaluation.params.areaRngLbl = list(protocol.ranges)
        evaluation.evaluate()
        evaluation.accumulate()
    return Curves(*(evaluation.eval[key] for key in ("precision", "recall", "scores")))


ENGINES = {"hotcoco": run_hotcoco, "pycocotools": run_pycocotools}
