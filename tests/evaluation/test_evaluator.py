"""The evaluator takes arrays image by image and counts every image once."""

import json
import math

import cv2
import numpy as np
import pytest
import torch

from lib.data.dataset import CocoDataset
from lib.evaluation import Evaluator, make_protocol
from lib.evaluation.arrays import make_detections, make_ground_truth
from lib.evaluation.evaluator import evaluate
from lib.structures import Detections

BOX = [10.0, 20.0, 20.0, 16.0]  # xywh, 320 px
COCO = {
    "images": [{"id": 3, "width": 100, "height": 60}, {"id": 7, "width": 60, "height": 100}, {"id": 9}],
    "categories": [{"id": 2, "name": "cat"}, {"id": 5, "name": "dog"}],
    "annotations": [
        {"id": 0, "image_id": 3, "category_id": 5, "bbox": BOX, "area": 320, "iscrowd": 0},
        {"id": 1, "image_id": 7, "category_id": 2, "bbox": [0, 0, 100, 100], "area": 10000, "iscrowd": 0},
    ],
}


def detections(boxes, scores, labels):
    return Detections(torch.tensor(boxes).reshape(-1, 4), torch.tensor(scores), torch.tensor(labels).long())


def one(box=(0.0, 0.0, 1.0, 1.0), score=0.5, label=1):
    return detections([list(box)], [score], [label])


def hit():
    return one((10.0, 20.0, 30.0, 36.0), 0.75)


NOTHING = detections([], [], [])


def evaluator(**options):
    return Evaluator(COCO, (5, 2), make_protocol("coco"), **options)  # label 1 is the dog


@pytest.mark.parametrize("engine", ["hotcoco", "pycocotools"])
def test_found_and_missed_objects_by_size_and_class(engine):
    judge = evaluator(engine=engine)
    judge.update(3, hit())
    judge.update(7, NOTHING)
    found = json.loads(json.dumps(judge.evaluate().to_json()))
    expected = {
        **{"AP": 0.5, "AP50": 0.5, "AP75": 0.5, "AP_small": 1, "AP_medium": None, "AP_large": 0},
        **{"AR_1": 0.5, "AR_10": 0.5, "AR_100": 0.5, "AR_small": 1, "AR_medium": None, "AR_large": 0},
    }
    assert found["metrics"] == pytest.approx(expected)
    assert found["per_class"]["dog"]["AP"] == pytest.approx(1)
    assert found["per_class"]["cat"]["AP"] == 0
    assert found["per_class"]["cat"]["AP_small"] is None
    assert found["counts"] == {"all": 2, "small": 1, "medium": 0, "large": 1}
    assert found["protocol"] == "coco"


def test_results_are_coco_xywh_by_image():
    judge = evaluator()
    judge.update(7, hit())
    judge.update(3, hit())
    assert judge.results() == [
        {"image_id": 3, "category_id": 5, "bbox": BOX, "score": 0.75},
        {"image_id": 7, "category_id": 5, "bbox": BOX, "score": 0.75},
    ]


def test_results_leave_out_classes_that_the_annotations_lack(tmp_path, caplog):
    """As tools/evaluate.py reads them beside the same annotations."""
    (tmp_path / "a.png").write_bytes(cv2.imencode(".png", np.zeros((40, 60, 3), np.uint8))[1].tobytes())
    coco = {
        "images": [{"id": 7, "file_name": "a.png", "height": 40, "width": 60}],
        "categories": [{"id": 1, "name": "cat"}],
        "annotations": [{"id": 1, "image_id": 7, "category_id": 1, "bbox": [5, 5, 10, 10], "area": 100, "iscrowd": 0}],
    }
    dataset = CocoDataset(tmp_path, coco, classes=["dog", "cat"], add_classes=True)
    evaluator = Evaluator(dataset.ground_truth, dataset.category_ids, make_protocol())
    boxes = [[5.0, 5.0, 15.0, 15.0], [5.0, 5.0, 15.0, 15.0]]
    evaluator.update(7, detections(boxes, [0.9, 0.8], [1, 2]))
    results = evaluator.results()
    assert results == [{"image_id": 7, "category_id": 1, "bbox": [5.0, 5.0, 10.0, 10.0], "score": pytest.approx(0.8)}]
    assert "detections_left_out 1, of classes that the annotations lack: dog" in caplog.text
    truth = make_ground_truth(coco, make_protocol())
    judged = evaluate(truth, make_detections(results, truth), make_protocol())
    assert judged.metrics["AP"] == evaluator.evaluate().metrics["AP"] == pytest.approx(1)


def test_images_that_never_came_do_not_count():
    judge = evaluator()
    judge.update(3, hit())
    assert judge.evaluate().metrics["AP"] == pytest.approx(1)
    assert judge.evaluate().counts["all"] == 1


def test_an_image_that_a_sampler_repeats_counts_once():
    judge = evaluator()
    judge.update(3, hit())
    judge.update(3, hit())
    assert judge.evaluate().metrics["AP"] == pytest.approx(1)
    assert len(judge.results()) == 1


def test_two_processes_give_the_numbers_of_one():
    alone, first, second = evaluator(), evaluator(), evaluator()
    for image_id, found in ((3, hit()), (7, NOTHING), (9, hit())):
        alone.update(image_id, found)
    first.update(3, hit())
    first.update(9, hit())
    second.update(7, NOTHING)
    second.update(3, hit())  # padding
    for state in (first.state(), second.state()):
        second.merge(state)
    assert second.evaluate().to_json() == alone.evaluate().to_json()
    assert len(second.results()) == 2


def test_a_dash_stands_where_there_is_no_object():
    judge = evaluator()
    judge.update(3, hit())
    lines = judge.evaluate().table().splitlines()
    assert lines[0].split() == ["range", "side,", "px", "objects", "AP", "AP50", "AP75", "AR"]
    assert lines[2].split() == ["small", "0", "to", "32", "1", "1.000", "1.000", "1.000", "1.000"]
    assert lines[3].split() == ["medium", "32", "to", "96", "0", "-", "-", "-", "-"]


def test_no_image_at_all_is_refused():
    with pytest.raises(ValueError, match="at least one image; got none"):
        evaluator().evaluate()


@pytest.mark.parametrize(
    ("image_id", "found", "message"),
    [
        (4, NOTHING, "image_id must be of the ground truth's 3 images; got 4: evaluate"),
        (3, one(label=3), "labels of detections must be 1 to 2; got 3 to 3 for image 3"),
        (3, one(label=0), "must be 1 to 2; got 0"),
        (3, one(score=math.nan), "score of a detection must be finite; got .nan. of image 3"),
        (3, one((0.0, 0.0, math.inf, 1.0)), "bbox of a detection must be finite; got .*inf"),
        (3, one((5.0, 0.0, 4.0, 1.0)), "width and height at least 0; got .5.0, 0.0, -1.0, 1.0. of image 3"),
    ],
)
def test_bad_detections_are_refused_by_image(image_id, found, message):
    with pytest.raises(ValueError, match=message):
        judge = evaluator()
        judge.update(image_id, found)
        judge.evaluate()


def test_unknown_engine_is_refused_at_once():
    with pytest.raises(ValueError, match="evaluation.engine must be one of hotcoco, pycocotools; got 'hotcocoa'"):
        evaluator(engine="hotcocoa")


def test_classes_of_the_same_name_are_told_apart_by_their_ids():
    same = {**COCO, "categories": [{"id": 2, "name": "cat"}, {"id": 5, "name": "cat"}]}
    judge = Evaluator(same, (5, 2), make_protocol("coco"))
    judge.update(3, hit())
    judge.update(7, NOTHING)
    per_class = judge.evaluate().to_json()["per_class"]
    assert {name: row["AR_1"] for name, row in per_class.items()} == {"cat (id 2)": 0.0, "cat (id 5)": 1.0}
