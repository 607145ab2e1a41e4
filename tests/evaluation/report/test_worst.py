"""Misses and false positives: which are shown, and the reason that stands below."""

from hand_sets import COCO, tables

from lib.evaluation.analysis import judge
from lib.evaluation.errors import find_faults
from lib.evaluation.report.worst import worst_false_positives, worst_misses

FOUND = [(0, 0, 10, 1, 0.9), (50, 0, 10, 1, 0.85), (100, 0, 10, 2, 0.65), (150, 0, 10, 1, 0.05)]
OBJECTS = [(0, 0, 10, 1), (100, 0, 10, 1), (150, 0, 10, 1), (200, 0, 10, 2)]


def misses(truth, found, **options):
    return [entry.caption for entry in worst_misses(truth, found, judge(truth, found, COCO), 0.3, 32, **options)]


def false_positives(truth, found, **options):
    judged, faults = judge(truth, found, COCO), find_faults(truth, found)
    return [entry.caption for entry in worst_false_positives(truth, found, judged, faults, 0.3, **options)]


def test_misses_say_what_came_instead_and_start_with_the_largest():
    objects = [*OBJECTS, (0, 50, 12, 1), (50, 50, 40, 1)]
    truth, found = tables(objects, [*FOUND, (6, 50, 12, 1, 0.7)])
    assert misses(truth, found, per_image=9) == [
        "cat, 12 px: inaccurate box, IoU 0.33",
        "cat, 10 px: taken for dog (0.65)",
        "cat, 10 px: detected, but with a score of only 0.05",
        "dog, 10 px: no detection nearby",
    ]


def test_a_miss_whose_detection_finds_another_object_says_so():
    truth, found = tables([(0, 0, 10, 1), (1, 0, 10, 1)], [(0, 0, 10, 1, 0.9)])
    assert misses(truth, found) == ["cat, 10 px: the overlapping detection was matched to another object"]


def test_misses_of_one_image_do_not_fill_the_gallery():
    assert len(misses(*tables(OBJECTS, []))) == 2


# An object of each class; a hit; then each kind of error; one below the score.
WRONG = [
    (0, 0, 20, 1, 0.95),
    (0, 1, 20, 1, 0.9),
    (10, 0, 20, 1, 0.8),
    (100, 0, 20, 1, 0.7),
    (110, 0, 20, 1, 0.6),
    (119, 0, 20, 2, 0.5),
    (200, 0, 12, 2, 0.99),
    (300, 0, 20, 2, 0.2),
]


def test_false_positives_on_objects_say_what_is_wrong_and_start_with_the_highest_score():
    truth, found = tables([(0, 0, 20, 1), (100, 0, 20, 2)], WRONG)
    assert false_positives(truth, found, on_objects=True, per_image=9) == [
        "cat 0.90, 20 px: second box of an object, IoU 0.90",
        "cat 0.80, 20 px: inaccurate box, IoU 0.33",
        "cat 0.70, 20 px: wrong class: this is dog, IoU 1.00",
        "cat 0.60, 20 px: wrong class and inaccurate box: this is dog, IoU 0.33",
    ]


def test_false_positives_on_nothing_hardly_touch_an_object():
    truth, found = tables([(0, 0, 20, 1), (100, 0, 20, 2)], WRONG)
    expected = ["dog 0.99, 12 px: no labeled object here", "dog 0.50, 20 px: touches dog, IoU 0.02"]
    assert false_positives(truth, found, on_objects=False) == expected


def test_false_positives_without_an_object_are_on_nothing():
    truth, found = tables([], WRONG)
    assert false_positives(truth, found, on_objects=True) == []
    assert len(false_positives(truth, found, on_objects=False)) == 2  # of one image


def test_a_detection_in_a_region_to_ignore_is_no_false_positive():
    truth, found = tables([(200, 0, 20, 2)], WRONG[6:7])
    truth = truth._replace(ignore=~truth.ignore)
    assert false_positives(truth, found, on_objects=False) == []
