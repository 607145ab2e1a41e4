"""Intervals of differences, and what they say of a claim."""

import numpy as np
import pytest

from lib.evaluation.arrays import make_detections, make_ground_truth
from lib.evaluation.evaluator import evaluate
from lib.evaluation.protocols import make_protocol
from lib.evaluation.resample import Interval, draw_images, interval_of
from lib.study.summary import Change, draw_seeds, pairs_of, resampled_metrics, verdict

BOXES = [[10, 10, 20, 20], [50, 40, 12, 30], [5, 60, 40, 40], [70, 5, 9, 9]]


def tiny_set():
    """Four images with an object each, of which a detector finds three, one of them badly."""
    coco = {
        "images": [{"id": i, "width": 120, "height": 110} for i in range(4)],
        "categories": [{"id": 1, "name": "disc"}],
        "annotations": [
            {"id": i + 1, "image_id": i, "category_id": 1, "bbox": box, "area": box[2] * box[3], "iscrowd": 0}
            for i, box in enumerate(BOXES)
        ],
    }
    protocol = make_protocol("coco")
    truth = make_ground_truth(coco, protocol)
    found = [{"image_id": i, "category_id": 1, "bbox": BOXES[i], "score": 0.9 - 0.1 * i} for i in range(2)]
    found.append({"image_id": 3, "category_id": 1, "bbox": [72, 6, 9, 9], "score": 0.8})
    return truth, make_detections(found, truth), protocol


@pytest.mark.parametrize(
    ("change", "word"),
    [
        (Change(0.04, Interval(0.01, 0.07)), "holds"),
        (Change(-0.04, Interval(-0.07, -0.01)), "fails"),
        (Change(0.04, Interval(-0.01, 0.09)), "undecided"),
        (Change(0.0, Interval(0.0, 0.0)), "undecided"),
        (None, "untested"),
    ],
)
def test_a_claim_needs_an_interval_without_zero(change, word):
    assert verdict(change) == word


def test_a_resample_of_each_image_once_is_the_evaluation_itself():
    truth, detections, protocol = tiny_set()
    found = resampled_metrics(truth, detections, protocol, np.ones((4, 2), np.float32))
    expected = evaluate(truth, detections, protocol).metrics
    assert found.keys() == {"AP", "AP50", "AP75", "AP_small", "AP_medium", "AP_large"}
    for key, values in found.items():
        if expected[key] is None:
            assert np.isnan(values).all()
        else:
            assert values == pytest.approx([expected[key]] * 2, abs=1e-6)


def test_every_resample_has_as_many_images_as_there_are():
    weights = draw_images(4, 50)
    assert weights.shape == (4, 50)
    assert (weights.sum(0) == 4).all()
    assert (weights == draw_images(4, 50)).all()
    assert (weights != draw_images(4, 50, seed=1)).any()


def test_seeds_are_drawn_anew_in_each_resample():
    seeds = [{"AP": np.zeros(400)}, {"AP": np.ones(400)}]
    drawn = draw_seeds(seeds, np.random.default_rng(0))["AP"]
    assert set(drawn.tolist()) == {0.0, 0.5, 1.0}
    assert drawn.mean() == pytest.approx(0.5, abs=0.06)
    assert (draw_seeds(seeds[1:], np.random.default_rng(0))["AP"] == 1).all()


def test_interval_holds_the_middle_and_passes_over_resamples_without_an_object():
    assert interval_of(np.array([np.nan, *np.arange(101.0)])) == (2.5, 97.5)
    assert interval_of(np.array([np.nan])) is None


def test_each_row_is_compared_with_the_reference_and_as_claims_say_once():
    claims = [{"better": "c", "worse": "b"}, {"better": "b", "worse": "a"}]
    grid = {"rows": {"a": {}, "b": {}, "c": {}}, "reference": "a", "claims": claims}
    assert pairs_of(grid) == [("b", "a"), ("c", "a"), ("c", "b")]
