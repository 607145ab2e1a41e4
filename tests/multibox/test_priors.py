"""Priors, for square and other inputs."""

import math

import pytest
import torch

from lib.multibox.priors import PriorGenerator


def test_boxes_of_a_cell_by_hand():
    priors = PriorGenerator([8, 18], [[4]], clip=False)([(1, 2)], (20, 40))
    # two cells of 20x20: centers (10, 10) and (30, 10); squares of 8 and 12; 16x4 and 4x16
    first = [[6, 6, 14, 14], [4, 4, 16, 16], [2, 8, 18, 12], [8, 2, 12, 18]]
    second = [[x1 + 20, y1, x2 + 20, y2] for x1, y1, x2, y2 in first]
    torch.testing.assert_close(priors, torch.tensor([*first, *second], dtype=torch.float32))


def test_rows_come_before_columns():
    priors = PriorGenerator([8, 18], [[]], clip=False)([(2, 3)], (60, 90))
    centers = (priors[::2, :2] + priors[::2, 2:]) / 2
    expected = [[15, 15], [45, 15], [75, 15], [15, 45], [45, 45], [75, 45]]
    torch.testing.assert_close(centers, torch.tensor(expected, dtype=torch.float32))


def test_cells_tile_an_image_of_any_size_exactly():
    priors = PriorGenerator([8, 18], [[]])([(7, 5)], (300, 111))
    centers = (priors[:, :2] + priors[:, 2:]) / 2
    assert centers[:, 1].unique().tolist() == pytest.approx([300 / 7 * (i + 0.5) for i in range(7)], rel=1e-5)
    assert centers.amin(0).tolist() == pytest.approx([111 / 10, 300 / 14], rel=1e-5)
    assert centers.amax(0).tolist() == pytest.approx([111 - 111 / 10, 300 - 300 / 14], rel=1e-5)


def test_squares_stay_square_and_follow_the_input():
    generator = PriorGenerator([30, 60], [[]], reference=300)
    priors = generator([(3, 4)], (300, 1200))  # geometric mean 600: twice the reference
    sides = priors[:, 2:] - priors[:, :2]
    torch.testing.assert_close(sides[0], torch.tensor([60.0, 60.0]))
    torch.testing.assert_close(sides[1], torch.full((2,), 60 * math.sqrt(2)))
    fixed = PriorGenerator([30, 60], [[]], reference=0)([(3, 4)], (300, 1200))
    torch.testing.assert_close(fixed[0, 2:] - fixed[0, :2], torch.tensor([30.0, 30.0]))


def test_clip_bounds_center_width_and_height_apart():
    priors = PriorGenerator([90, 160], [[4]], steps=[100])([(1, 2)], (100, 100))
    # centers at 50 and 150: the second is put on the border; 180x45 is cut to 100x45
    torch.testing.assert_close(priors[0], torch.tensor([5.0, 5, 95, 95]))
    torch.testing.assert_close(priors[2], torch.tensor([0.0, 27.5, 100, 72.5]))
    torch.testing.assert_close(priors[6], torch.tensor([50.0, 27.5, 150, 72.5]))


def test_centers_outside_the_image_are_reported(caplog):
    PriorGenerator([45, 90], [[]], steps=[32])([(10, 10)], (300, 300))
    assert "38 of 200 priors have their center outside the image" in caplog.text


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"sizes": [10, 20, 30], "ratios": [[2]]}, "one for each of the 2 levels"),
        ({"sizes": [20, 10], "ratios": [[2]]}, r"must be positive and rising; got \[20, 10\]"),
        ({"sizes": [10, 20], "ratios": [[2]], "steps": [8, 16]}, "must have 1 entries, one per level; got 2"),
        ({"sizes": [10, 20], "ratios": [[2]], "steps": [0]}, r"model.priors.steps must be above 0, .*; got \[0\]"),
        ({"sizes": [10, 20], "ratios": [[2]], "reference": -1}, "model.priors.reference must be 0 or more .*; got -1"),
    ],
)
def test_impossible_priors_are_refused(arguments, message):
    with pytest.raises(ValueError, match=message):
        PriorGenerator(**arguments)


def test_ratios_once_for_all_levels():
    assert PriorGenerator([10, 20, 30], [2, 3]).boxes_per_cell == [6, 6]
    assert PriorGenerator([10, 20, 30], [[2, 3], []]).boxes_per_cell == [6, 2]


def test_boxes_of_every_level_need_neither_sizes_nor_ratios():
    boxes = [[[4, 8]], [[9, 9], [12, 6]], [[20, 20]]]
    generator = PriorGenerator(boxes=boxes, clip=False)
    assert generator.boxes_per_cell == [1, 2, 1]
    priors = generator([(1, 1), (1, 1), (1, 1)], (40, 60))
    expected = [[28, 16, 32, 24], [25.5, 15.5, 34.5, 24.5], [24, 17, 36, 23], [20, 10, 40, 30]]
    torch.testing.assert_close(priors, torch.tensor(expected))
    others = PriorGenerator(sizes=[3, 2], ratios=[[2]] * 7, boxes=boxes, clip=False)
    assert others([(1, 1)] * 3, (40, 60)).equal(priors)


def test_levels_without_boxes_have_those_of_sizes_and_ratios():
    assert PriorGenerator([10, 20, 30], [[2], [3]], boxes=[None, [[4, 8]]]).boxes_per_cell == [4, 1]
    with pytest.raises(ValueError, match="one for each of the 2 levels"):
        PriorGenerator([10, 20, 30], [[2]], boxes=[None, [[4, 8]]])
    with pytest.raises(ValueError, match=r"must be positive and rising; got \[\]"):
        PriorGenerator()


@pytest.mark.parametrize(
    ("size", "cells", "centers"),
    [
        ((100, 100), (1, 2), [[30, 30], [90, 30]]),
        ((100, 200), (1, 4), [[25, 50], [75, 50], [125, 50], [175, 50]]),
        ((50, 50), (1, 1), [[25, 25]]),
    ],
)
def test_steps_count_on_the_reference_alone_and_elsewhere_cells_tile_the_image(size, cells, centers):
    priors = PriorGenerator([10, 20], [[]], reference=100.0, steps=[60], clip=False).fractions([cells], size)
    found = priors[::2, :2] * torch.tensor([size[1], size[0]])
    torch.testing.assert_close(found, torch.tensor(centers, dtype=torch.float32))


@pytest.mark.parametrize(
    ("shapes", "message"),
    [
        ({"sizes": (10, 20), "ratios": (2, -0.5)}, r"model.priors.ratios must be above 0; got \[\[2, -0.5\]\]"),
        ({"boxes": [[[10, 0]]]}, r"model.priors.boxes must be \[width, height\] pairs above 0; got \[10, 0\]"),
        ({"boxes": [[[4, 4]], [], [[8, 8]]]}, r"model.priors.boxes must have .* for each level; got .* \[\],"),
        ({"boxes": [[[10]]]}, r"model.priors.boxes must be \[width, height\] pairs above 0; got \[10\]"),
    ],
)
def test_shapes_without_an_area_are_refused(shapes, message):
    with pytest.raises(ValueError, match=message):
        PriorGenerator(**shapes)


def test_a_cache_that_another_thread_clears_at_once_costs_only_time():
    class Cleared(dict):
        def __setitem__(self, key, value):
            pass

    priors = PriorGenerator(sizes=[30, 60], ratios=[2], reference=300.0)
    before = priors([(2, 3)], (40, 60))
    priors._cache = Cleared()
    assert torch.equal(priors([(2, 3)], (40, 60)), before)
