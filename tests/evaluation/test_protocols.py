"""Protocols hold the published numbers, and bad values are refused by name."""

import math

import numpy as np
import pytest

from lib.evaluation import PROTOCOLS, make_protocol
from lib.evaluation.arrays import make_ground_truth
from lib.evaluation.protocols import quoted_keys


def test_coco_reports_the_twelve_numbers_of_the_reference():
    assert list(make_protocol("coco").metrics()) == [
        *("AP", "AP50", "AP75", "AP_small", "AP_medium", "AP_large"),
        *("AR_1", "AR_10", "AR_100", "AR_small", "AR_medium", "AR_large"),
    ]


def test_grids_are_those_of_linspace_to_the_last_bit():
    protocol = make_protocol("coco")
    assert list(protocol.iou_thresholds) == np.linspace(0.5, 0.95, 10).tolist()
    assert protocol.recall_levels.tolist() == np.linspace(0, 1, 101).tolist()


@pytest.mark.parametrize(
    ("name", "ranges", "limits"),
    [
        ("aitod", {"very_tiny": (0, 64), "tiny": (64, 256), "small": (256, 1024)}, (100, 300, 1500)),
        ("soda", {"all": (0, 1024), "extremely_small": (0, 144), "normal": (1024, 2000)}, (100, 300, 1000)),
        ("tinyperson", {"tiny": (1, 400), "tiny1": (1, 64), "reasonable": (1024, 1e10)}, (200,)),
        ("visdrone", {"all": (0, 1e10)}, (1, 10, 100, 500)),
        ("voc07", {"all": (0, 1e10)}, (None,)),
    ],
)
def test_published_ranges_and_limits(name, ranges, limits):
    protocol = make_protocol(name)
    assert {key: protocol.ranges[key] for key in ranges} == ranges
    assert protocol.limits == limits


@pytest.mark.parametrize("name", PROTOCOLS)
def test_every_headline_is_a_number_that_is_reported(name):
    assert make_protocol(name).headline in make_protocol(name).metrics()


def test_own_values_name_their_keys_alike():
    protocol = make_protocol("coco", {"tiny": [0, 256], "rest": [256, None]}, [0.5, 0.6], [300, 10])
    assert list(protocol.metrics()) == ["AP", "AP50", "AP_tiny", "AP_rest", "AR_10", "AR_300", "AR_tiny", "AR_rest"]
    assert protocol.ranges == {"all": (0, 1e10), "tiny": (0, 256), "rest": (256, 1e10)}


def test_own_ranges_without_the_headline_choose_the_first_number():
    assert make_protocol("tinyperson", {"mine": [0, 100]}).headline == "AP25"


@pytest.mark.parametrize(
    ("keys", "quoted"),
    [
        (["lr", "AP", "AP50", "AP_tiny", "AR_1"], ["AP", "AP_tiny"]),
        (
            ["AP25", "AP25_tiny", "AP50", "AP50_tiny1", "AP50_tiny", "AR50_tiny", "AP75_tiny"],
            ["AP50_tiny", "AP50_tiny1"],
        ),
        (["AP25", "AP25_mine", "AP50", "AP50_mine"], ["AP25", "AP25_mine"]),
        (["epoch", "lr"], []),
    ],
)
def test_quoted_keys_are_the_headline_and_the_same_by_size(keys, quoted):
    assert quoted_keys(keys) == quoted


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"protocol": "koko"}, "evaluation.protocol must be one of coco, .*'koko'"),
        ({"ranges": {"tiny": [10, 4]}}, r"ranges.tiny .* must be .* got \[10, 4\]: for example"),
        ({"ranges": {"tiny": 4}}, "ranges.tiny .* must be .* got 4: for example"),
        ({"ranges": {"all": [0, 4]}}, "not be 'all'; got 'all': choose"),
        ({"ranges": {"10": [0, 4]}}, "not start with a digit .* got '10'"),
        (
            {"ranges": [0, 4]},
            r"evaluation.ranges \(--ranges\) must be .* got \[0, 4\]: for example \{tiny: \[0, 256\]\}; leave it out",
        ),
        ({"iou_thresholds": [0.5, 1.5]}, r"above 0 and at most 1; got \[0.5, 1.5\]: for example"),
        ({"iou_thresholds": 0.5}, "must be a list of numbers .* got 0.5: for example"),
        ({"iou_thresholds": [math.nan]}, "got .nan.: for example"),
        ({"max_detections": [0]}, r"whole numbers above 0; got \[0\]: for example"),
        ({"max_detections": []}, r"got \[\]: for example"),
    ],
)
def test_bad_values_are_refused_by_name(arguments, message):
    with pytest.raises(ValueError, match=message):
        make_protocol(**arguments)


def test_difficult_objects_that_count_are_told_once(caplog):
    flags = ({"difficult": 1}, {"ignore": 1}, {"difficult": 1, "iscrowd": 1}, {})
    box = {"image_id": 1, "category_id": 1, "bbox": [1, 1, 5, 5], "area": 25}
    rows = [{"id": key, **box, **row} for key, row in enumerate(flags, 1)]
    coco = {"images": [{"id": 1}], "annotations": rows, "categories": [{"id": 1, "name": "cat"}]}
    for name in ("soda", "soda", "voc12"):
        make_ground_truth(coco, make_protocol(name))
    assert [record.getMessage() for record in caplog.records if record.levelname == "WARNING"] == [
        "2 objects marked difficult or ignore, which training passes over, count in the protocol soda; the protocols "
        "voc07, voc12 ignore them"
    ]
