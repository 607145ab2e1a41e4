"""What lies in an ignored region is taken out, image by image."""

import numpy as np

from lib.evaluation import make_protocol
from lib.evaluation.arrays import make_detections, make_ground_truth
from lib.evaluation.regions import covered_area, drop_regions


def entry(image, x, category=1):
    return {"image_id": image, "category_id": category, "bbox": [x, 0, 10, 10], "area": 100}


def test_regions_drop_only_what_is_in_their_own_image():
    coco = {
        "images": [{"id": image} for image in (1, 2, 3)],
        "categories": [{"id": 0, "name": "ignored regions"}, {"id": 1, "name": "pedestrian"}],
        "annotations": [entry(2, 0, 0), entry(3, 20, 0), *(entry(i, x) for i in (3, 1, 2) for x in (0, 20))],
    }
    protocol = make_protocol("visdrone")
    truth = make_ground_truth(coco, protocol)
    found = make_detections([{**entry(i, x), "score": 0.5} for i in (2, 3, 1) for x in (20, 0)], truth)
    for table in drop_regions(truth, found):
        kept = sorted(zip(table.image.tolist(), table.xywh[:, 0].tolist(), strict=True))
        assert kept == [(0, 0), (0, 20), (1, 20), (2, 0)]


def test_area_that_two_regions_cover_counts_once():
    boxes = np.array([[0.0, 0, 10, 10], [90, 90, 5, 5], [5, 5, 10, 4]])
    regions = np.array([[5.0, 0, 10, 10], [0, 5, 10, 10]])
    assert covered_area(boxes, regions).tolist() == [75, 0, 40]
