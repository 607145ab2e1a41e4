"""Both engines give the same arrays to the bit, and those of plain pycocotools."""

import contextlib
import io

import numpy as np
import pytest
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval
from random_sets import random_set

from lib.evaluation import make_protocol
from lib.evaluation.arrays import make_detections, make_ground_truth
from lib.evaluation.engines import run_hotcoco, run_pycocotools

COCO_PROTOCOL = make_protocol("coco")
OWN = make_protocol("custom", {"thin": [0, 144], "wide": [100, None]}, [0.3, 0.5], [2, 7])
PROTOCOLS = [make_protocol(name) for name in ("coco", "aitod", "soda", "tinyperson")] + [OWN]


def assert_equal_to_the_bit(one, other):
    for name in ("precision", "recall", "scores"):
        assert getattr(one, name).tobytes() == getattr(other, name).tobytes(), name


@pytest.mark.parametrize("protocol", PROTOCOLS, ids=lambda protocol: protocol.name)
@pytest.mark.parametrize("seed", range(10))
def test_engines_agree_to_the_bit(protocol, seed, capfd):
    coco, results = random_set(seed)
    truth = make_ground_truth(coco, protocol)
    found = make_detections(results, truth)
    assert_equal_to_the_bit(run_hotcoco(truth, found, protocol), run_pycocotools(truth, found, protocol))
    assert capfd.readouterr().out == ""  # neither engine prints


def plain_pycocotools(coco, results):
    """The arrays of a script that knows nothing of this project."""
    with contextlib.redirect_stdout(io.StringIO()):
        plain = COCO()
        plain.dataset = coco
        plain.createIndex()
        evaluation = COCOeval(plain, plain.loadRes(results) if results else COCO(), "bbox")
        evaluation.evaluate()
        evaluation.accumulate()
    return evaluation.eval


@pytest.mark.parametrize("block", range(40))
def test_coco_is_plain_pycocotools_to_the_bit_on_a_thousand_sets(block):
    for seed in range(1000 + 25 * block, 1025 + 25 * block):
        coco, results = random_set(seed)
        truth = make_ground_truth(coco, COCO_PROTOCOL)
        ours = run_hotcoco(truth, make_detections(results, truth), COCO_PROTOCOL)
        plain = plain_pycocotools(coco, results)
        for name in ("precision", "recall", "scores"):
            assert getattr(ours, name).tobytes() == plain[name].tobytes(), (seed, name)


def test_random_sets_meet_the_corners():
    sets = [random_set(seed) for seed in range(1000, 1100)]
    annotations = [entry for coco, _ in sets for entry in coco["annotations"]]
    assert any(entry["iscrowd"] for entry in annotations)
    assert {32.0**2, 96.0**2} <= {entry["area"] for entry in annotations}
    used = [{entry["category_id"] for entry in coco["annotations"]} for coco, _ in sets]
    assert any(len(ids) < len(coco["categories"]) for ids, (coco, _) in zip(used, sets, strict=True))
    shown = [{entry["image_id"] for entry in coco["annotations"]} for coco, _ in sets]
    assert any(len(ids) < len(coco["images"]) for ids, (coco, _) in zip(shown, sets, strict=True))
    scores = [[entry["score"] for entry in results] for _, results in sets]
    assert any(len(set(values)) < len(values) for values in scores)


@pytest.mark.parametrize("run", [run_hotcoco, run_pycocotools])
def test_no_detection_at_all_is_recall_zero(run):
    coco, _ = random_set(3)
    truth = make_ground_truth(coco, COCO_PROTOCOL)
    curves = run(truth, make_detections([], truth), COCO_PROTOCOL)
    assert set(np.unique(curves.recall)) <= {-1.0, 0.0}
    assert curves.precision.shape == (10, 101, len(truth.names), 4, 3)


@pytest.mark.parametrize("run", [run_hotcoco, run_pycocotools])
def test_no_object_at_all_is_minus_one(run):
    coco, results = random_set(4)
    truth = make_ground_truth({**coco, "annotations": []}, COCO_PROTOCOL)
    assert (run(truth, make_detections(results, truth), COCO_PROTOCOL).precision == -1).all()
