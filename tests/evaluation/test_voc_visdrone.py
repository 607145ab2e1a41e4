"""Each protocol on cases small enough to compute by hand."""

import pytest

from lib.evaluation import evaluate, make_protocol
from lib.evaluation.arrays import make_detections, make_ground_truth

CATEGORIES = {0: "ignored regions", 1: "pedestrian", 2: "people", 11: "others"}


def thing(x, y, side, category=1, **more):
    return {"image_id": 1, "category_id": category, "bbox": [x, y, side, side], "area": side * side, **more}


def numbers(name, objects, detections, **own):
    """Metrics and counts; detections are (x, y, side, score) or (x, y, side, score, category)."""
    protocol = make_protocol(name, **own)
    coco = {
        "images": [{"id": 1}],
        "categories": [{"id": key, "name": value} for key, value in CATEGORIES.items()],
        "annotations": [{"id": index, **entry} for index, entry in enumerate(objects)],
    }
    truth = make_ground_truth(coco, protocol)
    results = [{**thing(*found[:3], *found[4:]), "score": found[3]} for found in detections]
    result = evaluate(truth, make_detections(results, truth), protocol)
    return {**result.metrics, **{f"count_{key}": value for key, value in result.counts.items()}}


# Recall .5 at precision 1, a second box on the same object, two boxes on a difficult one, recall 1 at 2/3.
VOC_OBJECTS = [thing(0, 0, 10), thing(20, 0, 10), thing(40, 0, 10, difficult=1)]
VOC_FOUND = [(0, 0, 10, 0.9), (0, 0, 10, 0.8), (40, 0, 10, 0.7), (40, 0, 10, 0.6), (20, 0, 10, 0.5)]


def test_voc07_takes_eleven_levels_and_passes_over_difficult_objects():
    found = numbers("voc07", VOC_OBJECTS, VOC_FOUND)
    assert found["AP50"] == pytest.approx((6 * 1 + 5 * 2 / 3) / 11)
    assert found["AR"] == 1
    assert found["count_all"] == 2


def test_voc12_takes_the_area_under_the_curve():
    assert numbers("voc12", VOC_OBJECTS, VOC_FOUND)["AP50"] == pytest.approx(0.5 * 1 + 0.5 * 2 / 3)


def test_voc_overlaps_a_difficult_object_by_iou_not_by_its_own_area():
    small_inside = [(41, 1, 3, 0.95)]  # lies wholly in the difficult object: still a false positive
    assert numbers("voc12", VOC_OBJECTS, small_inside + VOC_FOUND)["AP50"] == pytest.approx(0.5 / 2 + 0.5 / 2)


PERSON, CROWD = thing(0, 0, 10), thing(50, 50, 100, ignore=1)


def test_tinyperson_passes_over_what_lies_in_an_ignored_or_uncertain_region():
    found = [(60, 60, 10, 0.9), (60, 60, 10, 0.85), (0, 0, 10, 0.8)]
    for region in (CROWD, thing(50, 50, 100, uncertain=True)):
        assert numbers("tinyperson", [PERSON, region], found)["AP50_tiny"] == pytest.approx(1)
    assert numbers("tinyperson", [PERSON, CROWD], found)["count_tiny2"] == 1
    only_coco = numbers("coco", [PERSON, thing(50, 50, 100)], found)  # an object there: two false positives
    assert only_coco["AP_small"] == pytest.approx(1 / 3)


def test_tinyperson_keeps_its_three_thresholds_apart():
    found = numbers("tinyperson", [PERSON], [(0, 0, 7, 0.9)])  # IoU .49
    assert (found["AP25_tiny"], found["AP50_tiny"], found["AP75_tiny"]) == pytest.approx((1, 0, 0))
    assert "AP" not in found


def test_aitod_counts_1500_detections_and_both_sides_of_a_bound():
    found = [(100, 100, 30, 0.9)] * 120 + [(0, 0, 8, 0.5)]
    values = numbers("aitod", [thing(0, 0, 8)], found)
    assert (values["AR_100"], values["AR_300"], values["AR_1500"]) == (0, 1, 1)
    assert (values["count_very_tiny"], values["count_tiny"], values["count_small"]) == (1, 1, 0)
    assert values["AP_small"] is None


def test_soda_has_its_headline_below_32_pixels_and_an_end_at_2000():
    objects = [thing(0, 0, 10), thing(100, 0, 40), thing(200, 0, 50)]  # 100, 1600 and 2500 px
    values = numbers("soda", objects, [(100, 0, 40, 0.9), (0, 0, 10, 0.8)])
    assert [values[f"count_{name}"] for name in ("all", "extremely_small", "normal")] == [1, 1, 1]
    assert (values["AP"], values["AP_extremely_small"], values["AP_normal"]) == pytest.approx((1, 1, 1))


def test_coco_sizes_an_object_by_its_mask_and_ignores_a_crowd():
    objects = [{**thing(0, 0, 40), "area": 1000}, thing(50, 50, 100, iscrowd=1)]
    values = numbers("coco", objects, [(60, 60, 20, 0.9), (0, 0, 40, 0.8)])
    assert (values["count_small"], values["count_medium"]) == (1, 0)
    assert values["AP_small"] == pytest.approx(1)


def test_visdrone_drops_what_lies_half_inside_an_ignored_region():
    region = thing(100, 0, 100, category=0)
    objects = [thing(0, 0, 10), thing(95, 0, 10), thing(120, 0, 10), thing(0, 50, 10, category=11), region]
    found = [(150, 0, 10, 0.95), (94, 0, 10, 0.9), (0, 0, 10, 0.8), (0, 50, 10, 0.99, 11)]
    values = numbers("visdrone", objects, found)
    assert values["count_all"] == 1  # the one half inside, the one inside and the one of "others" are gone
    assert values["AP50"] == pytest.approx(1 / 2)  # (94, 0) is 40 % inside: a false positive


def test_visdrone_limits_all_classes_of_an_image_together():
    objects = [thing(0, 0, 10), thing(50, 0, 10, category=2)]
    values = numbers("visdrone", objects, [(0, 0, 10, 0.9), (50, 0, 10, 0.8, 2)])
    assert (values["AR_1"], values["AR_10"], values["AP"]) == pytest.approx((0.5, 1, 1))


def test_custom_takes_own_ranges_thresholds_and_limits():
    own = {"ranges": {"dot": [0, 100], "blob": [100, None]}, "iou_thresholds": [0.4], "max_detections": [1]}
    values = numbers("custom", [thing(0, 0, 10), thing(50, 0, 20)], [(50, 0, 20, 0.9), (0, 0, 7, 0.8)], **own)
    assert list(values)[:5] == ["AP", "AP_dot", "AP_blob", "AR_1", "AR_dot"]
    assert (values["count_dot"], values["count_blob"]) == (1, 2)
    assert (values["AR_1"], values["AP_dot"]) == pytest.approx((0.5, 0))
