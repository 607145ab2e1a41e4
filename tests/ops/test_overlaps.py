import math

import numpy as np
import pytest
import torch

from lib.ops import bbox_overlaps, reference

NAN = float("nan")
SQUARE = torch.tensor([[0.0, 0, 10, 10]])


@pytest.mark.parametrize(
    ("mode", "box", "expected"),
    [
        ("iou", [0, 0, 10, 5], 0.5),
        ("iou", [5, 5, 15, 20], 25 / 225),
        ("iou", [20, 0, 30, 10], 0.0),
        ("iof", [0, 0, 10, 5], 0.5),
        ("iof", [-50, -50, 50, 50], 1.0),
        ("giou", [0, 0, 10, 10], 1.0),
        ("giou", [20, 0, 30, 10], -1 / 3),
        ("nwd", [0, 0, 10, 10], 1.0),
        ("nwd", [12.8, 0, 22.8, 10], math.exp(-1)),
        ("nwd", [-12.8, 0, 22.8, 10], math.exp(-1)),
    ],
)
def test_overlap_by_hand(mode, box, expected):
    assert bbox_overlaps(SQUARE, torch.tensor([box], dtype=torch.float32), mode).item() == pytest.approx(expected)


def test_iof_divides_by_the_area_of_the_first_box():
    inner = torch.tensor([[2.0, 2, 4, 4]])
    assert bbox_overlaps(inner, SQUARE, "iof").item() == 1.0
    assert bbox_overlaps(SQUARE, inner, "iof").item() == pytest.approx(0.04)


@pytest.mark.parametrize("mode", ["iou", "iof"])
def test_boxes_of_no_area_overlap_nothing(mode):
    boxes = torch.tensor([[5.0, 5, 5, 5], [5, 2, 5, 8], [9, 9, 1, 1]])
    assert bbox_overlaps(boxes, torch.cat([boxes, SQUARE]), mode).tolist() == [[0.0] * 4] * 3


@pytest.mark.parametrize(("mode", "lowest"), [("iou", 0.0), ("iof", 0.0), ("giou", -1.0), ("nwd", 0.0)])
def test_overlap_with_a_box_that_is_not_finite_is_the_lowest(mode, lowest):
    bad = torch.tensor([[0.0, 0, 10, NAN], [0, 0, float("inf"), 10]])
    assert bbox_overlaps(bad, SQUARE, mode).tolist() == [[lowest]] * 2
    assert bbox_overlaps(SQUARE, bad, mode).tolist() == [[lowest] * 2]


@pytest.mark.parametrize("mode", ["iou", "iof", "giou", "nwd"])
@pytest.mark.parametrize("dtype", [torch.float16, torch.float32, torch.float64])
def test_overlaps_agree_with_the_reference(mode, dtype, generator):
    for rows, columns in ((0, 3), (3, 0), (1, 1), (33, 70)):
        boxes = (torch.randn(rows + columns, 4, generator=generator) * 50).to(dtype)  # half of them have no area
        first, second = boxes[:rows], boxes[rows:]
        found = bbox_overlaps(first, second, mode)
        exact = [box.to(torch.float64 if dtype == torch.float64 else torch.float32) for box in (first, second)]
        expected = reference.bbox_overlaps(*exact, mode)
        assert found.shape == (rows, columns) and found.dtype == torch.float32
        torch.testing.assert_close(found, expected, rtol=0, atol=2e-7 if mode == "nwd" else 0)


def test_overlaps_of_half_boxes_do_not_overflow():
    boxes = torch.tensor([[0, 0, 60000, 60000], [0, 0, 60000, 30000]], dtype=torch.float16)
    assert bbox_overlaps(boxes[:1], boxes[1:]).item() == pytest.approx(0.5, rel=1e-3)


def test_overlaps_take_and_give_numpy():
    found = bbox_overlaps(np.array([[0, 0, 10, 10.0]]), np.array([[0, 0, 10, 5.0]]))
    assert isinstance(found, np.ndarray) and found.dtype == np.float32 and found.tolist() == [[0.5]]


def test_overlaps_carry_a_gradient():
    boxes = torch.tensor([[2.0, 2, 8, 8]], requires_grad=True)
    bbox_overlaps(boxes, SQUARE).sum().backward()
    assert boxes.grad[0].tolist() == pytest.approx([-0.06, -0.06, 0.06, 0.06])


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ((torch.zeros(3), SQUARE), ValueError, r"boxes1 must have the shape \(N, 4\); got \(3,\)"),
        ((SQUARE, SQUARE.int()), TypeError, "boxes2 must be floating; got torch.int32"),
        ((SQUARE, SQUARE, "diou"), ValueError, "mode must be one of iou, iof, giou, nwd; got 'diou'"),
    ],
)
def test_overlaps_say_what_is_wrong(arguments, error, message):
    with pytest.raises(error, match=message):
        bbox_overlaps(*arguments)
