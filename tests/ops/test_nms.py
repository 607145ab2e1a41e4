import numpy as np
import pytest
import torch

from lib.ops import batched_nms, multiclass_nms, nms, reference
from lib.ops.padded import Selection

INF, NAN = float("inf"), float("nan")


def random_boxes(count, generator, side=100.0):
    corner = torch.rand(count, 2, generator=generator) * side
    return torch.cat([corner, corner + torch.rand(count, 2, generator=generator) * 30], dim=1)


def test_nms_keeps_the_better_of_two_boxes():
    boxes = torch.tensor([[0.0, 0, 10, 10], [0, 0, 10, 9], [50, 0, 60, 5]])
    assert nms(boxes, torch.tensor([0.5, 0.9, 0.1]), 0.5).tolist() == [1, 2]


def test_nms_keeps_lower_index_on_tie():
    boxes = torch.tensor([[0.0, 0, 10, 10]] * 3)
    assert nms(boxes, torch.tensor([0.5, 0.5, 0.5]), 0.5).tolist() == [0]
    assert nms(boxes + torch.tensor([[0.0], [50], [90]]), torch.tensor([0.5, 0.5, 0.7]), 0.5).tolist() == [2, 0, 1]


def test_nms_takes_minus_zero_for_zero():
    boxes = torch.tensor([[0.0, 0, 10, 10], [50, 0, 60, 10]])
    assert nms(boxes, torch.tensor([-0.0, 0.0]), 0.5).tolist() == [0, 1]


@pytest.mark.parametrize("threshold", [0.2, 0.3, 0.45, 0.6, 0.7])
def test_nms_keeps_a_box_whose_iou_equals_the_threshold(threshold):
    boxes = torch.tensor([[0, 0, 100, 100], [0, 0, 100, 100 * threshold]])
    assert nms(boxes, torch.tensor([0.9, 0.8]), threshold).tolist() == [0, 1]
    assert nms(boxes, torch.tensor([0.9, 0.8]), threshold - 0.01).tolist() == [0]


def test_nms_by_iof_removes_a_box_inside_a_better_one():
    boxes = torch.tensor([[0.0, 0, 100, 100], [10, 10, 20, 20], [95, 0, 105, 10]])
    scores = torch.tensor([0.9, 0.8, 0.7])
    assert nms(boxes, scores, 0.5, mode="iou").tolist() == [0, 1, 2]
    assert nms(boxes, scores, 0.5, mode="iof").tolist() == [0, 2]
    assert nms(boxes, scores.flip(0), 0.5, mode="iof").tolist() == [2, 1, 0]


def test_nms_keeps_boxes_of_no_area():
    boxes = torch.tensor([[5.0, 5, 5, 5], [5, 5, 5, 5], [9, 9, 1, 1], [0, 0, 10, 10]])
    assert nms(boxes, torch.tensor([0.4, 0.3, 0.2, 0.9]), 0.0).tolist() == [3, 0, 1, 2]


def test_nms_drops_what_is_not_finite():
    boxes = torch.tensor([[0.0, 0, 10, 10], [0, 0, NAN, 10], [0, 0, 10, INF], [0, 0, 9, 9], [-INF, 0, 10, 10]])
    assert nms(boxes, torch.tensor([0.1, 0.9, 0.9, 0.2, 0.9]), 0.5).tolist() == [3]
    assert nms(boxes[:1].expand(4, 4), torch.tensor([NAN, INF, 0.3, -INF]), 0.5).tolist() == [2]


def test_nms_of_nothing_is_empty():
    keep = nms(torch.zeros(0, 4), torch.zeros(0), 0.5)
    assert keep.shape == (0,) and keep.dtype == torch.int64


def test_nms_lets_huge_boxes_be():
    boxes = torch.tensor(
        [[-3e38, -3e38, 3e38, 3e38], [-3e38, -3e38, 3e38, 3e38], [0, 0, 1e18, 1e18], [0, 0, 1e18, 1e18]]
    )
    expected = reference.nms(boxes, torch.arange(4.0), None, 0.5).tolist()
    assert nms(boxes, torch.arange(4.0), 0.5).tolist() == expected == [3, 1, 0]


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32, torch.float64])
@pytest.mark.parametrize("mode", ["iou", "iof"])
def test_nms_agrees_with_the_reference(dtype, mode, generator):
    for count in (1, 2, 17, 300):
        boxes, labels = (random_boxes(count, generator).to(dtype), torch.randint(0, 3, (count,), generator=generator))
        scores = (torch.rand(count, generator=generator) * 10).round().to(dtype)  # many ties
        exact = boxes.to(torch.float64 if dtype == torch.float64 else torch.float32)
        assert torch.equal(nms(boxes, scores, 0.4, mode), reference.nms(exact, scores, None, 0.4, mode))
        assert torch.equal(
            batched_nms(boxes, scores, labels, 0.4, mode), reference.nms(exact, scores, labels, 0.4, mode)
        )


def test_nms_in_float64_tells_scores_apart_that_float32_cannot():
    boxes = torch.tensor([[0.0, 0, 10, 10], [0, 0, 10, 10]], dtype=torch.float64)
    scores = torch.tensor([0.5, 0.5 + 1e-12], dtype=torch.float64)
    assert nms(boxes, scores, 0.5).tolist() == [1]
    assert nms(boxes.float(), scores, 0.5).tolist() == [1]


def test_nms_takes_and_gives_numpy():
    boxes = np.array([[0, 0, 10, 10], [0, 0, 10, 9], [50, 0, 60, 5]], dtype=np.float32)
    keep = nms(boxes, np.array([0.5, 0.9, 0.1], dtype=np.float64), 0.5)
    assert isinstance(keep, np.ndarray) and keep.dtype == np.int64 and keep.tolist() == [1, 2]
    assert batched_nms(boxes[::-1], np.arange(3.0), np.array([1, 1, 2], dtype=np.int32), 0.5).tolist() == [2, 1, 0]


def test_nms_takes_strided_boxes(generator):
    rows = torch.cat([random_boxes(50, generator), torch.rand(50, 3, generator=generator)], dim=1)
    boxes, scores = rows[::2, :4], rows[::2, 5]
    assert torch.equal(nms(boxes, scores, 0.3), nms(boxes.contiguous(), scores.contiguous(), 0.3))


def test_nms_of_more_boxes_than_16_bits_count():
    place = torch.arange(70000)
    corner = torch.stack([place % 300 * 20.0, place // 300 * 20.0], dim=1)
    boxes = torch.cat([corner, corner + 10], dim=1)
    pairs = torch.cat([boxes, boxes + torch.tensor([1.0, 0, 1, 0])])  # IoU of a box and its copy: 9 / 11
    scores = (place * 7919 % 70001) / 70001
    keep = nms(pairs, torch.cat([scores, scores.roll(1)]), 0.5)
    copy_wins = scores.roll(1) > scores
    assert sorted(keep.tolist()) == torch.where(copy_wins, place + 70000, place).sort().values.tolist()
    assert len(nms(pairs, torch.cat([scores, scores.roll(1)]), 0.9)) == 140000


def test_nms_takes_tensors_that_need_a_gradient(generator):
    boxes = random_boxes(9, generator)
    assert torch.equal(nms(boxes.requires_grad_(), torch.arange(9.0), 0.5), nms(boxes.detach(), torch.arange(9.0), 0.5))


def test_batched_nms_is_nms_of_each_class(generator):
    boxes, scores = random_boxes(200, generator, side=50.0), torch.rand(200, generator=generator)
    labels = torch.randint(-2, 3, (200,), generator=generator) * 10**12
    keep = batched_nms(boxes, scores, labels, 0.3)
    alone = [(labels == label).nonzero()[:, 0] for label in labels.unique()]
    expected = torch.cat([rows[nms(boxes[rows], scores[rows], 0.3)] for rows in alone])
    assert keep.tolist() == expected[scores[expected].argsort(descending=True)].tolist()


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ((torch.zeros(3, 5), torch.zeros(3), 0.5), ValueError, r"boxes must have the shape \(N, 4\); got \(3, 5\)"),
        ((torch.zeros(3, 4), torch.zeros(2), 0.5), ValueError, r"must have one value per box, \(3,\); got \(2,\)"),
        ((torch.zeros(3, 4), torch.zeros(3), 1.5), ValueError, r"iou_threshold must be in 0 .. 1; got 1.5"),
        ((torch.zeros(3, 4, dtype=int), torch.zeros(3), 0.5), TypeError, r"boxes must be floating; got torch.int64"),
        ((torch.zeros(3, 4), torch.zeros(3), 0.5, "iuo"), ValueError, r"mode must be one of iou, iof; got 'iuo'"),
    ],
)
def test_nms_says_what_is_wrong(arguments, error, message):
    with pytest.raises(error, match=message):
        nms(*arguments)


def test_multiclass_nms_selects_by_hand():
    boxes = torch.tensor([[[0.0, 0, 10, 10], [0, 0, 10, 9], [50, 0, 60, 5]]])
    scores = torch.tensor([[[0.9, 0.6, 0.1], [0.9, 0.5, 0.7], [0.9, 0.2, 0.0]]])
    found = multiclass_nms(boxes, scores, 0.1, 0.5, max_candidates=2, max_detections=3)
    assert found.counts.tolist() == [2]
    assert found.scores[0].tolist() == pytest.approx([0.7, 0.6, 0.0])
    assert found.labels[0].tolist() == [2, 1, -1]
    assert found.boxes[0].tolist() == [[0, 0, 10, 9], [0, 0, 10, 10], [0, 0, 0, 0]]
    with_third = multiclass_nms(boxes, scores, 0.1, 0.5, max_candidates=3, max_detections=3)
    assert with_third.labels[0].tolist() == [2, 1, 1]


def test_multiclass_nms_counts_every_column_without_background():
    boxes, scores = torch.tensor([[[0.0, 0, 10, 10]]]), torch.tensor([[[0.9, 0.6]]])
    assert multiclass_nms(boxes, scores, 0.1, 0.5, background=None).labels[0, :3].tolist() == [0, 1, -1]
    assert multiclass_nms(boxes, scores, 0.1, 0.5, background=1).labels[0, :2].tolist() == [0, -1]


def test_multiclass_nms_breaks_ties_by_class_then_box():
    boxes = torch.tensor([[[0.0, 0, 10, 10], [50, 0, 60, 10]]])
    found = multiclass_nms(boxes, torch.full((1, 2, 3), 0.5), 0.1, 0.5, max_detections=3)
    assert found.labels[0].tolist() == [1, 1, 2]
    assert found.boxes[0, :, 0].tolist() == [0, 50, 0]


@pytest.mark.parametrize("background", [None, 0, 2])
def test_multiclass_nms_agrees_with_the_reference(background, generator):
    boxes = torch.stack([random_boxes(150, generator) for _ in range(3)])
    scores = (torch.rand(3, 150, 4, generator=generator) * 20).round() / 20
    boxes[1, 3, 2], scores[1, 5, 1], scores[2, 6, 1] = INF, NAN, INF
    for limits in ((0.5, 0.4, 400, 100), (0.0, 0.4, 7, 100), (0.0, 0.2, 30, 5), (2.0, 0.5, 3, 3)):
        found = multiclass_nms(boxes, scores, *limits, background)
        expected = reference.multiclass_nms(boxes, scores, Selection(*limits), background)
        assert all(torch.equal(*pair) for pair in zip(found, expected, strict=True))


def test_multiclass_nms_of_a_batch_is_that_of_each_image(generator):
    boxes, scores = torch.stack([random_boxes(40, generator)] * 3), torch.rand(3, 40, 5, generator=generator)
    whole = multiclass_nms(boxes, scores, 0.3, 0.5)
    for image in range(3):
        alone = multiclass_nms(boxes[image : image + 1], scores[image : image + 1], 0.3, 0.5)
        assert all(torch.equal(a[image : image + 1], b) for a, b in zip(whole, alone, strict=True))


@pytest.mark.parametrize("shape", [(0, 5, 3), (2, 0, 3), (2, 5, 0), (2, 5, 1)])
def test_multiclass_nms_of_nothing_is_padding(shape):
    found = multiclass_nms(torch.zeros(*shape[:2], 4), torch.ones(shape), 0.5, 0.5, max_detections=4)
    assert found.boxes.shape == (shape[0], 4, 4) and found.counts.sum() == 0
    assert (found.labels == -1).all() and (found.scores == 0).all() and (found.boxes == 0).all()


def test_multiclass_nms_takes_and_gives_numpy():
    found = multiclass_nms(np.array([[[0, 0, 10, 10.0]]]), np.array([[[0.1, 0.9]]]), 0.5, 0.5, max_detections=2)
    assert found.labels.tolist() == [[1, -1]] and found.boxes.dtype == np.float32
