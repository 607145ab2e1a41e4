"""Which objects priors reach, and shapes that cluster."""

import numpy as np
import pytest
import torch

from lib.multibox.coverage import best_overlaps, cluster_shapes, count_unmatched, fit_boxes, shape_overlaps
from lib.multibox.matcher import GaussianMatcher, IoUMatcher
from lib.multibox.priors import PriorGenerator

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


def test_objects_go_to_the_level_whose_cells_suit_them_and_a_level_without_any_stays():
    rng = np.random.default_rng(1)
    fine = fit_boxes(objects(12, 60, rng), generator(), MAPS, SIZE)  # cells of 8 and 16 px
    assert fine[1] is None
    assert len(fine[0]) == generator().boxes_per_cell[0]
    assert np.mean(fine[0]) == pytest.approx(12, rel=0.1)
    coarse = fit_boxes(objects(40, 60, rng), generator(), MAPS, SIZE)
    assert coarse[0] is None
    assert np.mean(coarse[1]) == pytest.approx(40, rel=0.1)


def test_fitted_boxes_are_in_the_units_of_the_reference():
    rng = np.random.default_rng(2)
    scaled = PriorGenerator(sizes=[10, 20, 40], ratios=[2], reference=np.sqrt(80 * 160) / 2)
    fitted = fit_boxes(objects(12, 60, rng), scaled, MAPS, SIZE)
    assert np.mean(fitted[0]) == pytest.approx(6, rel=0.1)


def test_fitted_priors_reach_more_objects():
    rng = np.random.default_rng(3)
    boxes = np.concatenate([objects(14, 80, rng), objects(44, 80, rng)]) * [1, 0.9, 1, 0.9]
    fitted = generator(boxes=fit_boxes(boxes, generator(), MAPS, SIZE))
    before, after = (best_overlaps(boxes, made(MAPS, SIZE)) for made in (generator(), fitted))
    assert (after >= 0.5).mean() > (before >= 0.5).mean()
