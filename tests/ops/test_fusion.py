import math
import time

import numpy as np
import pytest
import torch

from lib.ops import kernels, reference, soft_nms, weighted_box_fusion
from lib.ops.fusion import fuse_boxes

BOXES = torch.tensor([[0.0, 0, 10, 10], [0, 0, 10, 5], [50, 0, 60, 10], [0, 0, 10, 9]])
SCORES = torch.tensor([0.9, 0.8, 0.7, 0.6])


def test_linear_soft_nms_by_hand():
    keep, scores = soft_nms(BOXES, SCORES, method="linear", iou_threshold=0.3, score_threshold=0.01)
    # IoUs with box 0: 0.5, 0, 0.9; of boxes 1 and 3: 5 / 9
    assert keep.tolist() == [0, 2, 1, 3]
    assert scores.tolist() == pytest.approx([0.9, 0.7, 0.8 * 0.5, 0.6 * 0.1 * 4 / 9])


def test_gaussian_soft_nms_by_hand():
    keep, scores = soft_nms(BOXES[:2], SCORES[:2], sigma=0.5)
    assert keep.tolist() == [0, 1]
    assert scores.tolist() == pytest.approx([0.9, 0.8 * math.exp(-0.25 / 0.5)])


def test_soft_nms_drops_what_falls_to_the_threshold():
    keep, _ = soft_nms(BOXES, SCORES, method="linear", iou_threshold=0.3, score_threshold=0.4)
    assert keep.tolist() == [0, 2]


def test_soft_nms_ends_with_as_many_as_are_wanted():
    options = {"method": "linear", "iou_threshold": 0.3, "score_threshold": 0.01}
    keep, scores = soft_nms(BOXES, SCORES, **options, max_detections=2)
    assert keep.tolist() == [0, 2] and scores.tolist() == pytest.approx([0.9, 0.7])
    given = BOXES, SCORES, None, "linear", 0.3, 0.5, 0.01
    assert reference.soft_nms(*given, 2)[0].tolist() == [0, 2]
    with pytest.raises(ValueError, match="max_detections must be at least 1; got 0"):
        soft_nms(BOXES, SCORES, **options, max_detections=0)


def test_soft_nms_keeps_labels_apart_and_the_lower_index_first():
    keep, scores = soft_nms(BOXES[:1].expand(3, 4), torch.full((3,), 0.5), torch.tensor([1, 2, 1]), "linear", 0.3)
    assert keep.tolist() == [0, 1] and scores.tolist() == [0.5, 0.5]


def test_weighted_box_fusion_by_hand():
    boxes, scores, labels = weighted_box_fusion(BOXES, SCORES, iou_threshold=0.55)
    # box 1 founds a cluster of its own (IoU .5); box 3 overlaps box 0 more (.9) than box 1 (5 / 9)
    assert scores.tolist() == pytest.approx([0.8, 0.75, 0.7])
    assert boxes[:, 3].tolist() == pytest.approx([5, (0.9 * 10 + 0.6 * 9) / 1.5, 10])
    assert labels.tolist() == [0, 0, 0]


def test_weighted_box_fusion_trusts_what_more_sources_see():
    _, scores, labels = weighted_box_fusion(BOXES, SCORES, torch.tensor([3, 3, 4, 3]), 0.55, num_sources=2)
    assert scores.tolist() == pytest.approx([0.75, 0.4, 0.35])
    assert labels.tolist() == [3, 3, 4]


def test_weighted_box_fusion_drops_scores_that_are_not_positive():
    boxes, scores, _ = weighted_box_fusion(BOXES, torch.tensor([0.0, -1, float("nan"), float("inf")]))
    assert boxes.shape == (0, 4) and scores.shape == (0,)


@pytest.mark.parametrize("function", [soft_nms, weighted_box_fusion])
def test_fusion_of_nothing_is_nothing(function):
    assert all(len(value) == 0 for value in function(torch.zeros(0, 4), torch.zeros(0)))


def test_fusion_takes_and_gives_numpy():
    keep, scores = soft_nms(BOXES.numpy(), SCORES.numpy().astype(np.float16))
    assert keep.dtype == np.int64 and scores.dtype == np.float32
    boxes, _, labels = weighted_box_fusion(BOXES.numpy().astype(float), SCORES.numpy(), np.zeros(4, np.int32))
    assert boxes.dtype == np.float32 and labels.dtype == np.int64


def test_fusion_says_what_is_wrong():
    with pytest.raises(ValueError, match="method must be one of linear, gaussian; got 'gausian'"):
        soft_nms(BOXES, SCORES, method="gausian")
    with pytest.raises(ValueError, match="sigma must be greater than 0; got 0"):
        soft_nms(BOXES, SCORES, sigma=0)
    with pytest.raises(ValueError, match="num_sources must be at least 1; got 0"):
        weighted_box_fusion(BOXES, SCORES, num_sources=0)


def test_results_have_names():
    assert soft_nms(BOXES, SCORES)._fields == ("indices", "scores")
    assert weighted_box_fusion(BOXES, SCORES)._fields == ("boxes", "scores", "labels")


def test_boxes_of_one_source_or_of_two_labels_are_not_fused():
    one, two = torch.zeros(4, dtype=torch.long), torch.arange(4)
    assert fuse_boxes(BOXES, SCORES, one, two, 0.4).members.tolist() == [0, 0, 1, 0]
    assert fuse_boxes(BOXES, SCORES, one, torch.tensor([7, 7, 8, 9]), 0.4).members.tolist() == [0, 1, 2, 0]
    assert fuse_boxes(BOXES, SCORES, two, two, 0.4).members.tolist() == [0, 1, 2, 3]


def test_overlap_with_the_smaller_box_joins_a_part_to_its_whole():
    boxes = torch.tensor([[0.0, 0, 10, 10], [2, 2, 4, 4]])
    given = boxes, torch.ones(2), torch.zeros(2, dtype=torch.long), torch.arange(2), 0.5
    assert fuse_boxes(*given).members.tolist() == [0, 1]  # IoU 4 / 100
    assert fuse_boxes(*given, "ios").members.tolist() == [0, 0]  # 4 of the smaller one's 4


def test_boxes_without_weight_move_nothing():
    clusters = fuse_boxes(BOXES, torch.tensor([0.0, 0, 1, 0]), torch.zeros(4).long(), torch.arange(4), 0.4)
    assert clusters.founders.tolist() == [0, 2]
    assert torch.equal(clusters.boxes, BOXES[[0, 2]])


def test_a_box_that_is_not_finite_is_in_no_cluster():
    boxes = BOXES.clone()
    boxes[0, 1] = torch.nan
    assert fuse_boxes(boxes, SCORES, torch.zeros(4).long(), torch.arange(4), 0.5).members[0] == -1


@pytest.mark.parametrize("mode", ["iou", "ios"])
def test_compiled_clusters_are_those_of_the_reference(mode, generator):
    if kernels.load("_fusion") is None:
        pytest.skip("csrc/build.py built no kernels here")
    for count in (0, 1, 7, 80):
        corner = torch.rand(count, 2, generator=generator) * 40
        boxes = torch.cat([corner, corner + torch.rand(count, 2, generator=generator) * 20], dim=1)
        weights = torch.rand(count, generator=generator).round(decimals=1)
        labels, sources = torch.randint(0, 3, (2, count), generator=generator)
        given = boxes, weights, labels, sources, 0.3, mode
        for found, expected in zip(fuse_boxes(*given), reference.fuse_boxes(*given), strict=True):
            assert torch.equal(found, expected)


def crowd(count, side, seed):
    """Boxes of 2 to 40 pixels in a square, and one in a hundred as large as the square."""
    rng = np.random.default_rng(seed)
    corner = rng.uniform(0, side, (count, 2))
    boxes = np.hstack([corner, corner + rng.uniform(2, 40, (count, 2))])
    boxes[rng.random(count) < 0.01] = [0, 0, side, side]
    return torch.from_numpy(boxes.astype(np.float32))


def test_sorted_tree_of_many_boxes_gives_the_clusters_of_the_plain_order():
    core = kernels.load("_fusion")
    if core is None:
        pytest.skip("csrc/build.py built no kernels here")
    for seed in range(20):
        rng, count = np.random.default_rng(seed), 3000
        given = crowd(count, 500, seed).numpy(), rng.random(count).astype(np.float32) * (seed % 2)
        given += rng.integers(0, 3, count), rng.integers(0, 20, count), float(rng.choice([0, 0.3, 0.5]))
        results = []
        for sort_from in (0, count + 1):
            out = np.empty(count, np.int64), np.empty(count, np.int64), np.empty((count, 4), np.float32)
            found = core.fuse_boxes(*given, bool(seed % 3), *out, sort_from)
            results.append((out[0], out[1][:found], out[2][:found]))
        assert all(np.array_equal(*pair) for pair in zip(*results, strict=True)), seed


def test_fusion_grows_with_the_number_of_boxes_and_not_with_its_square():
    if kernels.load("_fusion") is None:
        pytest.skip("csrc/build.py built no kernels here")
    times = []
    for count, side in ((4000, 1000), (64000, 4000)):
        given = crowd(count, side, 0)[:, :4], torch.zeros(count), torch.zeros(count).long(), torch.arange(count) % 16
        given[0][given[0][:, 2] - given[0][:, 0] > 40] = torch.tensor([5.0, 5, 20, 20])
        start = time.process_time()
        fuse_boxes(*given, 0.5, "ios")
        times.append(time.process_time() - start)
    assert times[1] < 100 * times[0]  # 16 times the boxes; their square is 256
