"""A large random data set with detections for tools/bench/evaluation.py, and a plain script of pycocotools."""

from typing import Any, NamedTuple

import numpy as np

PLAIN_SCRIPT = """import sys
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval
truth = COCO(sys.argv[1])
run = COCOeval(truth, truth.loadRes(sys.argv[2]), "bbox")
run.evaluate(), run.accumulate(), run.summarize()"""
NUM_CLASSES = 80


class Columns(NamedTuple):
    """Detections: ids of images (N,) and of categories (N,), boxes (N, 4) xywh, scores (N,)."""

    image_ids: np.ndarray
    category_ids: np.ndarray
    xywh: np.ndarray
    scores: np.ndarray


def make_set(images: int, boxes: int, detections: int) -> tuple[dict[str, Any], Columns]:
    """A COCO data set of 80 classes, and detections: a quarter near objects, the others anywhere."""
    rng = np.random.default_rng(0)

    def scatter(number: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        sides = np.exp(rng.normal(3.6, 1.0, (number, 1)) + rng.normal(0, 0.3, (number, 2))).clip(2, 400)
        xywh = np.hstack([rng.random((number, 2)) * (np.array([640, 480]) - sides), sides])
        return rng.integers(1, images + 1, number), rng.integers(1, NUM_CLASSES + 1, number), xywh

    image, category, xywh = scatter(boxes)
    near = rng.integers(0, boxes, detections // 4)
    moved = xywh[near] + rng.normal(0, 0.1, (len(near), 4)) * xywh[near][:, [2, 3, 2, 3]]
    moved[:, 2:] = np.abs(moved[:, 2:])
    parts = zip((image[near], category[near], moved), scatter(detections - len(near)), strict=True)
    owner, kind, is_hit = (np.concatenate(part) for part in parts)
    order = np.argsort(owner, kind="stable")  # image by image, as detectors write
    coco = {
        "images": [{"id": i, "file_name": f"{i}.jpg", "width": 640, "height": 480} for i in range(1, images + 1)],
        "annotations": [
            {"id": index, "image_id": i, "category_id": c, "bbox": box, "area": box[2] * box[3], "iscrowd": 0}
            for index, (i, c, box) in enumerate(zip(image.tolist(), category.tolist(), xywh.tolist(), strict=True), 1)
        ],
        "categories": [{"id": c, "name": f"class {c}"} for c in range(1, NUM_CLASSES + 1)],
    }
    return coco, Columns(owner[order], kind[order], is_hit[order], rng.random(detections))


def to_results(columns: Columns) -> list[dict[str, Any]]:
    """The detections as a COCO results list."""
    rows = zip(*(column.tolist() for column in columns), strict=True)
    return [{"image_id": i, "category_id": c, "bbox": box, "score": score} for i, c, box, score in rows]
