"""Which objects priors reach, and shapes that cluster."""

import numpy as np
import pytest
import torch

from lib.multibox.coverage import (
    best_overlaps,
    boxes_by_cells,
    cluster_shapes,
    count_unmatched,
    fit_boxes,
    shape_overlaps,
)
from lib.multibox.matcher import GaussianMatcher, IoUMatcher
from lib.multibox.priors import PriorGenerator
from lib.ops import bbox_overlaps

MAPS, SIZE = [(10, 20), (5, 10)], (80, 160)


def generator(**options):
    return PriorGenerator(sizes=[10, 20, 40], ratios=[2], reference=None, **options)


def test_best_overlap_of_each_object():
    priors = torch.tensor([[0.0, 0, 10, 10], [20, 0, 30, 20]])
    boxes = np.array([[0.0, 0, 10, 5], [21, 0, 31, 20], [50, 50, 60, 60]])
    assert best_overlaps(boxes, priors).tolist() == pytest.approx([0.5, 180 / 220, 0])


def test_no_object_has_no_overlap():
    assert best_overlaps(np.zeros((0, 4)), torch.zeros(3, 4)).shape == (0,)


def test_tiny_objects_of_one_prior_are_counted_as_unmatched_but_for_the_last():
    priors = torch.tensor([[0.0, 0, 32, 32], [32, 0, 64, 32]])
    tiny = [[2 + 6 * i, 2, 6 + 6 * i, 6] for i in range(4)]  # all in the first prior
    boxes, images = np.array([*tiny, [34.0, 2, 38, 6], [0, 0, 32, 32]]), np.array([7, 7, 7, 7, 7, 3])
    assert count_unmatched(boxes, images, priors, IoUMatcher()) == (3, 6, 2)
    assert count_unmatched(boxes, images, priors, IoUMatcher(best_prior=False)) == (5, 6, 2)
    assert count_unmatched(boxes[:4], images[:4], priors, GaussianMatcher(top_k=1)).without == 2
    assert count_unmatched(boxes, images, priors, IoUMatcher(), most=1).images == 1
    assert count_unmatched(boxes[:0], images[:0], priors, IoUMatcher()) == (0, 0, 0)


def test_clusters_are_found_and_rise_in_area():
    rng = np.random.default_rng(0)
    true = np.array([[4.0, 8], [10, 6], [20, 20]])
    shapes = np.concatenate([center * rng.uniform(0.95, 1.05, (50, 2)) for center in true])
    np.testing.assert_allclose(cluster_shapes(shapes, 3, rng), true, rtol=0.03)


def test_equal_shapes_give_equal_centers():
    assert cluster_shapes(np.full((5, 2), 7.0), 2, np.random.default_rng(0)).tolist() == [[7, 7]] * 2


def test_overlap_of_shapes_is_that_of_boxes_around_one_center():
    assert shape_overlaps(np.array([[4.0, 2]]), np.array([[2.0, 4], [4, 2]])).tolist() == [[4 / 12, 1]]


def objects(side, number, rng):
    corners = rng.uniform(0, 60, (number, 2))
    return np.hstack([corners, corners + side * rng.uniform(0.9, 1.1, (number, 2))])


def test_overlap_of_shapes_that_lie_apart():
    # 4 x 2 and 2 x 4, apart by 2 and 1: they share 1 x 2; apart by 3 in x they touch
    offsets = np.array([[2.0, 1], [3, 0]])
    found = shape_overlaps(np.array([[4.0, 2]] * 2), np.array([[2.0, 4]]), offsets)
    assert found.tolist() == [[2 / 14], [0]]


def test_overlap_at_offsets_is_that_of_boxes():
    rng = np.random.default_rng(0)
    shapes, others, offsets = rng.uniform(2, 9, (20, 2)), rng.uniform(2, 9, (3, 2)), rng.uniform(0, 5, (20, 2))
    boxes = torch.tensor(np.hstack([offsets - shapes / 2, offsets + shapes / 2]), dtype=torch.float32)
    centered = torch.tensor(np.hstack([-others / 2, others / 2]), dtype=torch.float32)
    expected = bbox_overlaps(boxes, centered).numpy()
    np.testing.assert_allclose(shape_overlaps(shapes, others, offsets), expected, atol=1e-5)


SQUARES_OF_16 = [34.9, 41.5, 49.35, 58.69]  # 32 * 2 ** (1/8, 3/8, 5/8, 7/8): 2 to 4 cells


def test_objects_go_to_the_level_whose_cells_suit_them_and_one_without_any_gets_squares_of_its_cells():
    rng = np.random.default_rng(1)
    fine = fit_boxes(objects(12, 60, rng), generator(), MAPS, SIZE)  # cells of 8 and 16 px
    assert fine[1] == [[side, side] for side in SQUARES_OF_16]
    assert len(fine[0]) == generator().boxes_per_cell[0]
    assert 12 < np.mean(fine[0]) < 15  # a little larger than the objects
    coarse = fit_boxes(objects(40, 60, rng), generator(), MAPS, SIZE)
    assert coarse[0] == [[side / 2, side / 2] for side in (34.9, 41.5, 49.36, 58.68)]
    assert 40 < np.mean(coarse[1]) < 45


def test_without_objects_every_level_has_squares_of_its_cells_none_larger_than_the_input():
    none = np.zeros((0, 4))
    pairs = PriorGenerator(boxes=[[[1, 1]] * 2] * 3, reference=None)
    maps = [(10, 20), (5, 10), (1, 2)]  # cells of 8, 16 and 80 px
    expected = [[19.03, 26.91], [38.05, 53.82], [47.57, 67.27]]  # the last between 40 and 80 px, the input's height
    expected = [[[side, side] for side in level] for level in expected]
    assert fit_boxes(none, pairs, maps, SIZE) == boxes_by_cells(maps, SIZE, None) == expected
    halves = [[[round(w / 2, 2) for w in box] for box in level] for level in expected]
    np.testing.assert_allclose(boxes_by_cells(maps, SIZE, np.sqrt(80 * 160) / 2), halves, atol=0.011)


def test_best_priors_of_tiny_objects_are_larger_than_they_are():
    """Where the nearest cell's center is far away, a prior of the object's own size would hardly touch it."""
    rng = np.random.default_rng(4)
    boxes = objects(4, 400, rng)
    (shapes, _), own = fit_boxes(boxes, generator(), MAPS, SIZE), [[4.0, 4.0]] * 4
    assert np.min(shapes) > 4
    means = []
    for level in (shapes, own):
        fitted = generator(boxes=[level, [[50.0, 50.0]]])
        means.append(best_overlaps(boxes, fitted(MAPS, SIZE)).mean())
    assert means[0] > means[1]


def test_fitted_boxes_are_in_the_units_of_the_reference():
    rng = np.random.default_rng(2)
    scaled = PriorGenerator(sizes=[10, 20, 40], ratios=[2], reference=np.sqrt(80 * 160) / 2)
    fitted = fit_boxes(objects(12, 60, rng), scaled, MAPS, SIZE)
    assert 6 < np.mean(fitted[0]) < 7.5


def test_fitted_priors_reach_more_objects():
    rng = np.random.default_rng(3)
    boxes = np.concatenate([objects(14, 80, rng), objects(44, 80, rng)]) * [1, 0.9, 1, 0.9]
    fitted = generator(boxes=fit_boxes(boxes, generator(), MAPS, SIZE))
    before, after = (best_overlaps(boxes, made(MAPS, SIZE)) for made in (generator(), fitted))
    assert (after >= 0.5).mean() > (before >= 0.5).mean()
