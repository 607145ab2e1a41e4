"""Sets of one image with objects, written down by hand."""

from lib.evaluation import make_protocol
from lib.evaluation.arrays import make_detections, make_ground_truth

COCO = make_protocol("coco")


def tables(objects, detections, num_images=1):
    """Objects (x, y, side, category), detections (x, y, side, category, score), all of image 1."""
    coco = {
        "images": [{"id": index + 1} for index in range(num_images)],
        "categories": [{"id": 1, "name": "cat"}, {"id": 2, "name": "dog"}],
        "annotations": [
            {"image_id": 1, "category_id": category, "bbox": [x, y, side, side], "area": side * side}
            for x, y, side, category in objects
        ],
    }
    truth = make_ground_truth(coco, COCO)
    results = [
        {"image_id": 1, "category_id": category, "bbox": [x, y, side, side], "score": score}
        for x, y, side, category, score in detections
    ]
    return truth, make_detections(results, truth)
