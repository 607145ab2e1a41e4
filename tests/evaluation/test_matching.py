"""Our own matching finds what the engines find, to the bit."""

import numpy as np
import pytest
from random_sets import random_set

from lib.evaluation import make_protocol
from lib.evaluation.arrays import make_detections, make_ground_truth
from lib.evaluation.engines import run_pycocotools
from lib.evaluation.matching import NONE, find_pairs, match
from lib.evaluation.voc_visdrone import run_voc_visdrone

OWN = make_protocol("custom", {"thin": [0, 144], "wide": [100, None]}, [0.3, 0.5, 1.0], [2, 3])
PROTOCOLS = [make_protocol(name) for name in ("coco", "soda", "tinyperson")] + [OWN]


@pytest.mark.parametrize("protocol", PROTOCOLS, ids=lambda protocol: protocol.name)
@pytest.mark.parametrize("seed", range(20, 30))
def test_curves_of_our_matching_are_the_reference_to_the_bit(protocol, seed):
    coco, results = random_set(seed)
    truth = make_ground_truth(coco, protocol)
    found = make_detections(results, truth)
    ours, reference = run_voc_visdrone(truth, found, protocol), run_pycocotools(truth, found, protocol)
    for name in ("precision", "recall", "scores"):
        assert getattr(ours, name).tobytes() == getattr(reference, name).tobytes()


def slow_pairs(truth, found, floor):
    for row, (x1, y1, w1, h1) in enumerate(found.xywh):
        for column, (x2, y2, w2, h2) in enumerate(truth.xywh):
            width = min(x1 + w1, x2 + w2) - max(x1, x2)
            height = min(y1 + h1, y2 + h2) - max(y1, y2)
            union = w1 * h1 if truth.ignore[column] else w1 * h1 + w2 * h2 - width * height
            touch = found.image[row] == truth.image[column] and min(width, height) > 0
            if touch and width * height / union >= floor:
                yield row, column


@pytest.mark.parametrize("seed", range(30, 35))
def test_pairs_across_classes_are_those_of_two_loops(seed):
    coco, results = random_set(seed)
    truth = make_ground_truth(coco, make_protocol())
    found = make_detections(results, truth)
    pairs = find_pairs(truth, found, 0.2, same_class=False)
    assert list(zip(pairs.detection, pairs.object, strict=True)) == list(slow_pairs(truth, found, 0.2))


def test_pairs_are_the_same_in_small_blocks(monkeypatch):
    coco, results = random_set(41)
    truth = make_ground_truth(coco, make_protocol())
    found = make_detections(results, truth)
    whole = find_pairs(truth, found, 0.0)
    monkeypatch.setattr("lib.evaluation.matching._BLOCK", 2)
    for one, other in zip(whole, find_pairs(truth, found, 0.0), strict=True):
        np.testing.assert_array_equal(one, other)


def one_image(objects, detections, **flags):
    coco = {
        "images": [{"id": 1}],
        "categories": [{"id": 1, "name": "thing"}],
        "annotations": [
            {"id": index, "image_id": 1, "category_id": 1, "bbox": box, "area": box[2] * box[3], **flags}
            for index, box in enumerate(objects)
        ],
    }
    results = [{"image_id": 1, "category_id": 1, "bbox": box, "score": score} for box, score in detections]
    return coco, results


A, B = [0, 0, 10, 10], [2, 0, 10, 10]  # IoU 2/3


def objects_found(name, objects, detections):
    protocol = make_protocol(name, iou_thresholds=[0.5])
    coco, results = one_image(objects, detections)
    truth = make_ground_truth(coco, protocol)
    matches = match(truth, make_detections(results, truth), protocol)
    return matches.object[:, 0, 0].tolist()


def test_coco_gives_the_second_detection_the_next_best_object():
    assert objects_found("coco", [A, B], [(A, 0.9), (A, 0.8)]) == [0, 1]


def test_voc_gives_the_second_detection_nothing():
    assert objects_found("voc12", [A, B], [(A, 0.9), (A, 0.8)]) == [0, NONE]


def test_the_earlier_detection_goes_first_on_a_tie():
    assert objects_found("coco", [A], [(A, 0.5), (A, 0.5)]) == [0, NONE]


def test_coco_takes_the_later_of_two_equal_objects_and_voc_the_earlier():
    assert objects_found("coco", [A, A], [(A, 0.9)]) == [1]
    assert objects_found("voc12", [A, A], [(A, 0.9)]) == [0]
