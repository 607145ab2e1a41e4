"""A large random data set with detections, and a plain script of the peer, for benchmarks of the evaluation."""

from __future__ import annotations

from typing import Any

import numpy as np

PLAIN_SCRIPT = """import sys
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval
truth = COCO(sys.argv[1])
run = COCOeval(truth, truth.loadRes(sys.argv[2]), "bbox")
run.evaluate(), run.accumulate(), run.summarize()"""
NUM_CLASSES = 80
Columns = tuple[
    np.ndarray, np.ndarray, np.ndarray, np.ndarray
]  # image ids, category ids, (N, 4) xywh, scores


def make_set(images: int, boxes: int, detections: int, seed: int = 0) -> tuple[dict[str, Any], Columns]:
    """A COCO data set of 80 classes, and detections: a quarter near objects, the others anywhere."""
    rng = np.random.default_rng(seed)

    def scatter(number: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        sides = np.exp(rng.normal(3.6, 1.0, (number, 1)) + rng.normal(0, 0.3, (number, 2))).clip(2, 400)
        xywh = np.hstack([rng.random((number, 2)) * (np.array([640, 480]) - sides), sides])
        return rng.integers(1, images + 1, number), rng.integers(1, NUM_CLASSES + 1, number), xywh

    image, category, xywh = scatter(boxes)
    rows = zip(image.tolist(), category.tolist(), xywh.tolist(), strict=True)
    annotations = [
        {"id": index, "image_id": i, "category_id": c, "bbox": box, "area": box[2] * box[3], "iscrowd": 0}
        for index, (i, c, box) in enumerate(rows, 1)
    ]
    near = rng.integers(0, boxes, detections // 4)
    moved = xywh[near] + rng.normal(0, 0.1, (len(near), 4)) * xywh[near][:, [2, 3, 2, 3]]
    moved[:, 2:] = np.abs(moved[:, 2:])
    parts = zip((image[near], category[near], moved), scatter(detections - len(near)), strict=True)
    columns = [np.concatenate(part) for part in parts]
    order = np.argsort(columns[0], kind="stable")  # image by image, as detectors write
    columns = tuple(column[order] for column in columns)
    coco = {
        "images": [
            {"id": i, "file_name": f"{i}.jpg", "width": 640, "height": 480} for i in range(1, images + 1)
        ],
        "annotations": annotations,
        "categories": [{"id": c, "name": f"class {c}"} for c in range(1, NUM_CLASSES + 1)],
    }
    return coco, (*columns, rng.random(detections))


def to_results(columns: Columns) -> list[dict[str, Any]]:
    """The detections as a COCO results list."""
    rows = zip(*(column.tolist() for column in columns), strict=True)
    return [{"image_id": i, "category_id": c, "bbox": box, "score": score} for i, c, box, score in rows]
