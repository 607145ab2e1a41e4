"""Lines to cross: which side is which, who counts, and how often."""

import numpy as np
import pytest

from lib.inference.count_lines import TO_LEFT, TO_RIGHT, CountLine, LineCounter, parse_line


def walk(line, points, side=10.0, number=1, label=1):
    """The directions in which a track crosses that has its center at the points, frame by frame; None: not seen."""
    counter = LineCounter(CountLine(*line))
    for frame, point in enumerate(points):
        boxes = (
            np.zeros((0, 4)) if point is None else np.array([[*point, *point]]) + np.array([-1, -1, 1, 1]) * side / 2
        )
        counter.update(frame, boxes, [number] * len(boxes), [label] * len(boxes))
    return [(crossing.frame, crossing.direction) for crossing in counter.crossings]


def test_right_is_seen_from_the_first_point_towards_the_second():
    down, eastwards, westwards = [(50, 40), (50, 60)], (0, 50, 100, 50), (100, 50, 0, 50)
    assert walk(eastwards, down) == [(1, TO_RIGHT)]  # y grows downwards
    assert walk(westwards, down) == [(1, TO_LEFT)]
    assert walk((50, 0, 50, 100), [(60, 30), (40, 30)]) == [(1, TO_RIGHT)]  # looking down, west is at the right hand
    assert walk((0, 0, 100, 100), [(60, 40), (40, 60)]) == [(1, TO_RIGHT)]


def test_only_the_part_between_the_two_points_counts():
    for x, crossings in ((-1, 0), (0, 1), (100, 1), (101, 0)):
        assert len(walk((0, 50, 100, 50), [(x, 40), (x, 60)])) == crossings
    assert walk((0, 50, 100, 50), [(90, 40), (130, 60), (130, 80), (50, 60), (50, 40)]) == [(4, TO_LEFT)]


def test_an_object_that_trembles_on_the_line_is_counted_once():
    trembling = [(50, y) for y in (40, 49, 51, 49.5, 51.5, 48.5, 51, 55, 60)]
    assert walk((0, 50, 100, 50), trembling) == [(7, TO_RIGHT)]  # a box of 10 must be 2 pixels away
    assert walk((0, 50, 100, 50), [(50, y) for y in (40, 49, 51, 40)]) == []


def test_there_and_back_are_two_crossings_and_a_hidden_one_is_counted_later():
    assert walk((0, 50, 100, 50), [(50, 40), (50, 60), (50, 40)]) == [(1, TO_RIGHT), (2, TO_LEFT)]
    assert walk((0, 50, 100, 50), [(50, 40), None, None, (50, 60)]) == [(3, TO_RIGHT)]


def test_tracks_and_classes_are_counted_apart():
    counter = LineCounter(CountLine(0, 50, 100, 50))
    for frame, y in enumerate((40.0, 60.0)):
        boxes = np.array([[10, y, 20, y + 4], [30, 100 - y, 40, 104 - y], [60, 10, 70, 20]])
        counter.update(frame, boxes, [1, 2, 3], [1, 2, 1])
    assert counter.counts() == {(1, TO_RIGHT): 1, (2, TO_LEFT): 1}
    assert counter.text() == "1 to right, 1 to left"


def test_line_is_in_pixels_or_in_shares_of_the_frame():
    assert parse_line("0,240,640,240").in_pixels((480, 640)) == (0, 240, 640, 240)
    assert parse_line("0,.5,1,.25").in_pixels((480, 640)) == (0, 240, 640, 120)


@pytest.mark.parametrize("text", ["", "1,2,3", "1,2,3,4,5", "a,2,3,4", "5,5,5,5", "0,-1,5,5", "0,nan,5,5", "0,inf,5,5"])
def test_what_is_no_line_is_refused(text):
    with pytest.raises(ValueError, match="--count-line must be x1,y1,x2,y2: two different points"):
        parse_line(text)
