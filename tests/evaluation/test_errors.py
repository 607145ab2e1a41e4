"""A fault that was put in by hand is named as what it is."""

import hotcoco
import numpy as np
import pytest
from random_sets import random_set

from lib.evaluation import make_protocol
from lib.evaluation.arrays import make_detections, make_ground_truth
from lib.evaluation.errors import KINDS, SPECIAL, find_errors, find_faults

COCO = make_protocol("coco")
SMALL, LARGE = 12, 100


def scene():
    """Twenty images, each with two small and one large object of two classes; perfect detections."""
    boxes = [[20 + 150 * column, 20 + 150 * row] for row in range(2) for column in range(3)]
    annotations = [
        {"image_id": image, "category_id": 1 + place % 2, "bbox": [*box, side, side], "area": side * side}
        for image in range(20)
        for place, box in enumerate(boxes)
        for side in [LARGE if place > 3 else SMALL]
    ]
    coco = {
        "images": [{"id": image} for image in range(20)],
        "categories": [{"id": 1, "name": "cat"}, {"id": 2, "name": "dog"}],
        "annotations": annotations,
    }
    perfect = [{**entry, "score": 0.5 + 0.004 * index} for index, entry in enumerate(annotations)]
    return coco, perfect


def errors_of(coco, results):
    truth = make_ground_truth(coco, COCO)
    detections = make_detections(results, truth)
    return find_errors(truth, detections, COCO, find_faults(truth, detections))


def only(errors, kind, counts):
    """Asserts that all errors of a range are of one kind, and that only this kind costs AP."""
    assert errors.counts == {**dict.fromkeys(KINDS, 0), kind: counts}
    assert errors.cost[kind] == pytest.approx(1 - errors.ap50)
    assert errors.cost[kind] > 0.1
    assert all(value == 0 for name, value in errors.cost.items() if name != kind)


def test_perfect_detections_have_no_error():
    for errors in errors_of(*scene()).values():
        assert errors.ap50 in (None, pytest.approx(1))
        assert not any(errors.counts.values())


def test_half_of_the_small_boxes_shifted_is_localisation_among_the_small():
    coco, results = scene()
    for result in [entry for entry in results if entry["area"] == SMALL**2][::2]:
        x, y, *size = result["bbox"]
        result["bbox"] = [x + 6, y, *size]  # IoU 1/3
    errors = errors_of(coco, results)
    only(errors["small"], "Loc", 40)
    assert not any(errors["large"].counts.values())


def test_one_class_swapped_is_classification():
    coco, results = scene()
    for result in results[:60:2]:
        result["category_id"] = 3 - result["category_id"]
    only(errors_of(coco, results)["all"], "Cls", 30)


def test_added_duplicates_are_duplicates():
    coco, results = scene()
    twice = [{**entry, "score": entry["score"] - 1e-3} for entry in results if entry["area"] == LARGE**2]
    errors = errors_of(coco, results + twice)
    only(errors["large"], "Dupe", 40)
    assert not any(errors["small"].counts.values())


def test_boxes_on_nothing_are_background():
    coco, results = scene()
    noise = [{**results[0], "bbox": [300, 400, 10, 10], "score": 0.99} for _ in range(30)]
    only(errors_of(coco, results + noise)["small"], "Bkg", 30)


def test_objects_without_a_detection_are_missed():
    coco, results = scene()
    errors = errors_of(coco, [entry for entry in results if entry["area"] == LARGE**2])
    only(errors["small"], "Miss", 80)


def test_wrong_class_and_wrong_place_is_both():
    coco, results = scene()
    wrong = [
        {**entry, "category_id": 3 - entry["category_id"], "bbox": [entry["bbox"][0] + 50, *entry["bbox"][1:]]}
        for entry in results
        if entry["area"] == LARGE**2
    ]
    only(errors_of(coco, results + [{**entry, "score": 0.99} for entry in wrong])["large"], "Both", 40)


# In sets 51 and 57 a whole class is missed, which costs nothing in hotcoco: it drops the class from the mean.
@pytest.mark.parametrize("seed", sorted({*range(50, 65)} - {51, 57}))
def test_counts_and_costs_are_those_of_hotcoco_where_there_is_no_crowd(seed):
    coco, results = random_set(seed)
    coco["annotations"] = [{**entry, "iscrowd": 0} for entry in coco["annotations"]]
    scores = np.random.default_rng(seed).permutation(len(results)) / (len(results) + 1)
    results = [{**entry, "score": float(score)} for entry, score in zip(results, scores, strict=True)]
    truth = hotcoco.COCO(coco)
    evaluation = hotcoco.COCOeval(truth, truth.load_res(results), "bbox")
    evaluation.evaluate()
    expected, found = evaluation.tide_errors(), errors_of(coco, results)["all"]
    assert found.counts == expected["counts"]
    assert found.cost == pytest.approx({kind: max(expected["delta_ap"][kind], 0) for kind in KINDS})


# x, y and class of objects of 20x20 px of one image; x, y, class and score of detections.
OBJECTS = [(0, 0, 1), (100, 0, 1), (200, 0, 1), (0, 100, 2), (100, 100, 2), (200, 100, 2), (300, 0, 1)]
HITS = [(0, 0, 1, 0.95), (0, 101, 2, 0.8), (300, 3, 1, 0.4)]
ON_OBJECTS = [(2, 0, 1, 0.6), (112, 0, 1, 0.9), (201, 0, 2, 0.85), (112, 112, 1, 0.75), (114, 100, 2, 0.5)]
FOUND = [*HITS, *ON_OBJECTS, (400, 0, 2, 0.99), (400, 100, 1, 0.7)]


def figures(objects, found, crowds=()):
    """AP50 and the eight costs in percent, and the six counts; ``crowds`` are (box, class)."""
    names = {1: "cat", 2: "dog", 3: "bird"}
    boxes = [*(([x, y, 20, 20], key, 0) for x, y, key in objects), *((box, key, 1) for box, key in crowds)]
    coco = {
        "images": [{"id": 1, "width": 640, "height": 480}],
        "categories": [{"id": key, "name": name} for key, name in names.items()],
        "annotations": [
            {"id": index, "image_id": 1, "category_id": key, "bbox": box, "area": box[2] * box[3], "iscrowd": crowd}
            for index, (box, key, crowd) in enumerate(boxes)
        ],
    }
    results = [
        {"image_id": 1, "category_id": key, "bbox": [x, y, 20, 20], "score": score} for x, y, key, score in found
    ]
    errors = errors_of(coco, results)["all"]
    costs = [errors.ap50, *errors.cost.values(), *errors.special.values()]
    return [100 * value for value in costs], list(errors.counts.values())


# Figures of tidecv 1.0.1 on the same objects and detections.
NAMES = ("AP50", *KINDS, *SPECIAL)
TIDECV = [22.6073, 12.2348, 25.4125, 0, 0.8251, 4.8680, 2.8053, 19.4719, 27.5578]


def test_costs_and_counts_are_those_of_tidecv():
    costs, counts = figures(OBJECTS, FOUND)
    assert costs == pytest.approx(TIDECV, abs=1e-4)
    assert counts == [1, 2, 0, 1, 3, 1]


def test_a_class_without_an_object_does_not_count_which_in_tidecv_is_one_more_with_an_ap_of_0():
    costs, counts = figures(OBJECTS, [*FOUND, (500, 0, 3, 0.3)])
    assert costs == pytest.approx(TIDECV, abs=1e-4)
    assert counts == [1, 2, 0, 1, 4, 1]
    tidecv = [15.0715, 8.1565, 16.9417, 0, 0.5501, 12.4037, 1.8702, 12.9813, 18.3718]
    same = [name != "Bkg" for name in NAMES]  # fixing Bkg takes the class out of tidecv's mean
    assert np.multiply(costs, 2 / 3)[same] == pytest.approx(np.array(tidecv)[same], abs=1e-4)
    assert costs[0] + costs[5] == pytest.approx(tidecv[0] + tidecv[5], abs=1e-4)


def test_detections_in_a_crowd_are_no_errors_which_in_tidecv_they_are():
    costs, counts = figures(OBJECTS, FOUND, [([395, -5, 40, 40], 2), ([90, 80, 60, 60], 2)])
    tidecv = [25.4125, 17.8454, 28.1353, 0, 0.8251, 2.0627, 4.2079, 16.6667, 33.0858]
    same = [name not in ("Loc", "Miss") for name in NAMES]
    assert np.array(costs)[same] == pytest.approx(np.array(tidecv)[same], abs=1e-4)
    assert (costs[2], costs[6]) == pytest.approx((14.4389, 16.5842), abs=1e-4)  # the loose box in the crowd is no Loc
    assert counts == [1, 1, 0, 1, 2, 2]  # of tidecv: 1, 2, 0, 1, 3, 1


def test_a_class_that_is_missed_altogether_stays_in_the_mean_and_leaves_that_of_tidecv_when_fixed():
    costs, counts = figures([*OBJECTS[:3], OBJECTS[6], (0, 300, 3)], [entry for entry in FOUND if entry[2] == 1])
    tidecv = [16.9967, 0, 14.4389, 0, 0.8251, 2.0627, 27.5578, 8.2508, 50.0]
    assert costs[:6] == pytest.approx(tidecv[:6], abs=1e-4)
    assert counts == [0, 1, 0, 1, 2, 2]
    for index in (6, 8):  # of two classes, the missed one is then perfect here
        assert costs[0] + costs[index] == pytest.approx((tidecv[0] + tidecv[index] + 100) / 2, abs=1e-4)
