"""A fault that was put in by hand is named as what it is."""

import hotcoco
import numpy as np
import pytest
from random_sets import random_set

from lib.evaluation import make_protocol
from lib.evaluation.arrays import make_detections, make_ground_truth
from lib.evaluation.errors import KINDS, find_errors

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
    return find_errors(truth, make_detections(results, truth), COCO)


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
