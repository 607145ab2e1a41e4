"""The bootstrap resamples what an evaluation of the drawn images would give, and knows noise from gain."""

import numpy as np
import pytest
from random_sets import random_set

from lib.evaluation import evaluate, make_protocol, resample
from lib.evaluation.arrays import make_detections, make_ground_truth
from lib.evaluation.compare import compare
from lib.evaluation.protocols import Metric
from lib.evaluation.report.comparison import Names, build_comparison, comparison_rows, short_names, summary
from lib.evaluation.resample import draw_images, resample_ap


def repeated(coco, results, times):
    """The data set with each image as many times as it was drawn."""
    images, annotations, found = [], [], []
    for image, number in zip(sorted(coco["images"], key=lambda record: record["id"]), times, strict=True):
        for _ in range(number):
            images.append({"id": len(images) + 1})
            for entries, kept in ((coco["annotations"], annotations), (results, found)):
                mine = [entry for entry in entries if entry["image_id"] == image["id"]]
                kept.extend({**entry, "image_id": len(images)} for entry in mine)
    return {**coco, "images": images, "annotations": annotations}, found


@pytest.mark.parametrize("name", ["coco", "tinyperson", "voc07", "voc12", "visdrone"])
@pytest.mark.parametrize("seed", range(70, 76))
def test_weights_give_the_ap_of_the_drawn_images(name, seed):
    rng = np.random.default_rng(seed)
    protocol = make_protocol(name)
    coco, results = random_set(seed)
    results = [{**entry, "score": score} for entry, score in zip(results, rng.random(len(results)), strict=True)]
    times = rng.integers(0, 4, len(coco["images"]))
    truth = make_ground_truth(coco, protocol)
    found = resample_ap(truth, make_detections(results, truth), protocol, times[:, None])[..., 0]
    drawn, drawn_results = repeated(coco, results, times)
    truth = make_ground_truth(drawn, protocol)
    result = evaluate(truth, make_detections(drawn_results, truth), protocol)
    for (threshold, category, area), value in np.ndenumerate(found):
        expected = result.value(Metric("AP", threshold, area, -1), category)
        assert value == pytest.approx(np.nan if expected is None else expected, abs=1e-6, nan_ok=True)


@pytest.mark.parametrize("name", ["coco", "visdrone"])
def test_resamples_are_computed_a_block_at_a_time_with_equal_results(name, monkeypatch):
    protocol = make_protocol(name)
    coco, results = random_set(71)
    truth = make_ground_truth(coco, protocol)
    weights = draw_images(len(truth.image_ids), 10)
    whole = resample_ap(truth, make_detections(results, truth), protocol, weights)
    widths, compute = [], resample._average_precision
    monkeypatch.setattr(resample, "_BLOCK", 4)
    monkeypatch.setattr(resample, "_average_precision", lambda *args: widths.append(args[3].shape[1]) or compute(*args))
    np.testing.assert_array_equal(resample_ap(truth, make_detections(results, truth), protocol, weights), whole)
    assert set(widths) == {2, 4}


def scene(num_images, hit_rate, seed):
    """Images with one object each, found or not."""
    rng = np.random.default_rng(seed)
    box = [5.0, 5.0, 20.0, 20.0]
    coco = {
        "images": [{"id": index} for index in range(num_images)],
        "categories": [{"id": 1, "name": "cat"}, {"id": 2, "name": "absent"}],
        "annotations": [
            {"image_id": index, "category_id": 1, "bbox": box, "area": 400.0} for index in range(num_images)
        ],
    }
    results = [
        {"image_id": index, "category_id": 1, "bbox": box, "score": float(rng.random())}
        for index in range(num_images)
        if rng.random() < hit_rate
    ]
    return coco, results


def compared(rates, seeds, num_images=200, name="coco"):
    protocol = make_protocol(name)
    tables = []
    for rate, seed in zip(rates, seeds, strict=True):
        coco, results = scene(num_images, rate, seed)
        truth = make_ground_truth(coco, protocol)
        tables.append(make_detections(results, truth))
    return compare(truth, *tables, protocol, num_resamples=300)


def test_a_large_gain_is_real_and_named():
    comparison = compared((0.4, 0.7), (0, 1))
    found = comparison.metrics[0]
    assert (found.verdict(), found.p_value <= 0.01) == ("second is better", True)
    assert found.interval.low < found.change < found.interval.high
    assert summary(comparison, Names("A", "B")).startswith("B is better: AP differs by +0.")
    assert comparison_rows(comparison.metrics, Names("A", "B"))[1][-1] == "B is better"
    assert "B minus A, with 95 % interval</text>" in build_comparison(comparison, Names("A", "B"))


def test_the_sentence_is_on_the_headline_of_the_protocol():
    comparison = compared((0.4, 0.7), (0, 1), name="tinyperson")
    assert comparison.metrics[0].name == "AP25"
    assert summary(comparison, Names("A", "B")).startswith("B is better: AP50_tiny differs by +0.")


def test_interval_is_that_of_the_normal_approximation():
    found = compared((0.4, 0.7), (0, 1)).metrics[0]  # a recall difference of two independent shares
    deviation = np.sqrt((0.4 * 0.6 + 0.7 * 0.3) / 200)
    assert found.interval.high - found.interval.low == pytest.approx(2 * 1.96 * deviation, rel=0.2)


def test_equal_detectors_are_within_noise():
    comparison = compared((0.5, 0.5), (2, 3))
    assert comparison.metrics[0].verdict() == "within noise"
    assert "within noise" in summary(comparison, Names("A", "B"))


def test_the_same_detector_twice_differs_by_nothing():
    found = compared((0.5, 0.5), (2, 2)).metrics[0]
    assert (found.change, found.interval, found.p_value, found.verdict()) == (0, (0, 0), 1, "within noise")


def test_what_has_no_object_has_no_difference():
    comparison = compared((0.5, 0.6), (2, 3), num_images=20)
    assert [found.verdict() for found in comparison.classes][1] == "no object"
    rows = comparison_rows(comparison.classes, Names("A", "B"))
    assert rows[-1][:6] == ("absent", None, None, None, None, None)


def test_the_same_seed_gives_the_same_intervals():
    assert compared((0.4, 0.5), (0, 1)) == compared((0.4, 0.5), (0, 1))


def test_too_few_images_are_refused():
    with pytest.raises(ValueError, match="at least 1 resample of at least 2 images; got 300 of 1: choose more"):
        compared((1, 1), (0, 1), num_images=1)


@pytest.mark.parametrize(
    ("paths", "names"),
    [
        (("runs/a/x.json", "runs/b/x.json"), ("a", "b")),
        (("a.json", "b.json"), ("a.json", "b.json")),
        (("runs/a.json", "runs/b.json"), ("a.json", "b.json")),
        (("x.json", "x.json"), ("first", "second")),
        (("x.json", "old/x.json"), ("x.json", "old/x.json")),
    ],
)
def test_names_are_the_parts_in_which_paths_differ(paths, names):
    assert short_names(*paths) == names
