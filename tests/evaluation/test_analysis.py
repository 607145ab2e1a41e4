"""AP along size, calibration, and confusion, on cases computed by hand."""

import numpy as np
import pytest
from hand_sets import COCO, tables
from random_sets import random_set

from lib.evaluation.analysis import best_score, calibrate, confusion, judge, size_curve
from lib.evaluation.arrays import make_detections, make_ground_truth


def test_size_curve_has_bins_of_equal_count_and_splits_no_area():
    objects = [(20 * index, 0, 4 + index // 3, 1) for index in range(30)]
    curve = size_curve(*tables(objects, [(*entry, 0.9) for entry in objects[:15]]), COCO, num_bins=3)
    assert curve.objects.tolist() == [9, 9, 12]  # three objects of each size
    assert curve.edges == pytest.approx([4, np.sqrt((36 + 49) / 2), np.sqrt((81 + 100) / 2), 13])
    assert curve.recall == pytest.approx([1, 6 / 9, 0])


def test_size_curve_of_one_size_is_one_bin():
    objects = [(20 * index, 0, 8, 1) for index in range(40)]
    curve = size_curve(*tables(objects, []), COCO)
    assert (curve.objects.tolist(), curve.edges.tolist()) == ([40], [8, 8])


def test_no_object_has_no_size_curve():
    assert size_curve(*tables([], []), COCO) is None


FOUND = [(0, 0, 10, 1, 0.9), (50, 0, 10, 1, 0.85), (100, 0, 10, 2, 0.65), (150, 0, 10, 1, 0.05)]
OBJECTS = [(0, 0, 10, 1), (100, 0, 10, 1), (150, 0, 10, 1), (200, 0, 10, 2)]


def test_calibration_bins_scores_by_tenths():
    truth, found = tables(OBJECTS, FOUND)
    result = calibrate(found, judge(truth, found, COCO))
    assert result.num_detections.tolist() == [1, 0, 0, 0, 0, 0, 1, 0, 1, 1]
    assert result.precision[[0, 6, 8, 9]].tolist() == [1, 0, 0, 1]
    assert result.error == pytest.approx((0.95 + 0.65 + 0.85 + 0.1) / 4)


def test_best_score_is_that_of_the_highest_f1():
    truth, found = tables(OBJECTS, FOUND)
    assert best_score(found, judge(truth, found, COCO)) == 0.05  # F1 2 * 2 / 8, above 2 * 1 / 5
    assert best_score(found.select(slice(0, 0)), judge(truth, found.select(slice(0, 0)), COCO)) == 0


def test_confusion_counts_classes_background_and_misses():
    truth, found = tables(OBJECTS, FOUND)
    assert confusion(truth, found, 0.1).tolist() == [[1, 1, 1], [0, 0, 1], [1, 0, 0]]


@pytest.mark.parametrize("seed", range(5))
def test_confusion_counts_every_object_once(seed):
    coco, results = random_set(seed)
    truth = make_ground_truth(coco, COCO)
    table = confusion(truth, make_detections(results, truth), 0.3)
    objects = np.bincount(truth.category[~truth.ignore], minlength=len(truth.names))
    assert table[:-1].sum(axis=1).tolist() == objects.tolist()
