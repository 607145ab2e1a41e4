"""Box losses, worked out by hand."""

import math

import pytest
import torch

from lib.multibox.box_losses import BOX_LOSSES, balanced_l1, ciou, diou, giou, iou, nwd, smooth_l1

# two 10 x 10 boxes that share 5 x 10: IoU 50 / 150; a box far away; the same box
BOXES = torch.tensor([[0.0, 0, 10, 10], [0, 0, 10, 10], [0, 0, 10, 10]])
WANTED = torch.tensor([[5.0, 0, 15, 10], [30, 0, 40, 10], [0, 0, 10, 10]])


def test_smooth_l1_turns_linear_at_beta():
    deltas, wanted = torch.tensor([[0.5, 2.0, 0.0, -3.0]]), torch.zeros(1, 4)
    assert smooth_l1(deltas, wanted).tolist() == [0.125 + 1.5 + 2.5]
    assert smooth_l1(deltas, wanted, beta=2.0).tolist() == [0.0625 + 1.0 + 2.0]


def test_balanced_l1_by_the_papers_formula():
    # alpha .5, gamma 1.5, beta 1: b = e^3 - 1; inside a/b (b x + 1) ln(b x + 1) - a x; outside gamma x + C
    b = math.e**3 - 1
    at_half = 0.5 / b * (0.5 * b + 1) * math.log(0.5 * b + 1) - 0.5 * 0.5
    at_one = 0.5 / b * (b + 1) * 3 - 0.5
    found = [balanced_l1(torch.tensor([[x, 0, 0, 0]]), torch.zeros(1, 4)).item() for x in (0.5, 1.0, 3.0)]
    assert found == pytest.approx([at_half, at_one, at_one + 1.5 * 2])


@pytest.mark.parametrize("beta", [0.5, 1.0, 2.0])
def test_balanced_l1_and_its_gradient_are_continuous(beta):
    x = torch.tensor([[beta * (1 - 1e-4)], [beta * (1 + 1e-4)]], dtype=torch.float64, requires_grad=True)
    values = balanced_l1(x, torch.zeros(2, 1), beta)
    gradient = torch.autograd.grad(values.sum(), x)[0]
    assert values[1].item() - values[0].item() == pytest.approx(1.5 * beta * 2e-4, rel=1e-3)
    assert gradient.flatten().tolist() == pytest.approx([1.5, 1.5], rel=1e-3)


def test_overlaps_by_hand():
    assert iou(BOXES, WANTED).tolist() == pytest.approx([1 / 3, 0, 1])
    # surrounding boxes: 15 x 10, all filled; 40 x 10, half of it empty
    assert giou(BOXES, WANTED).tolist() == pytest.approx([2 / 3, 1 + 200 / 400, 0])
    # centers 5 apart by a diagonal of squared 325; 30 apart by 1700
    assert diou(BOXES, WANTED).tolist() == pytest.approx([2 / 3 + 25 / 325, 1 + 900 / 1700, 0])
    assert ciou(BOXES, WANTED).tolist() == pytest.approx(diou(BOXES, WANTED).tolist())  # the same shapes


def test_ciou_adds_the_difference_of_the_aspect_ratios():
    boxes, wanted = torch.tensor([[0.0, 0, 20, 10]]), torch.tensor([[5.0, -5, 15, 15]])
    overlap = 100 / 300  # one center, so no distance
    v = 4 / math.pi**2 * (math.atan(2) - math.atan(0.5)) ** 2
    assert ciou(boxes, wanted).item() == pytest.approx(1 - overlap + v * v / (1 - overlap + v))


def test_nwd_tells_near_from_far_where_nothing_overlaps():
    # the same size, centers 5 and 30 apart: 1 - exp(-d / 12.8)
    expected = [1 - math.exp(-5 / 12.8), 1 - math.exp(-30 / 12.8), 0]
    assert nwd(BOXES, WANTED).tolist() == pytest.approx(expected, abs=1e-4)
    larger = torch.tensor([[-5.0, 0, 15, 10]])  # 20 wide instead of 10: half sides differ by 5
    assert nwd(BOXES[:1], larger).item() == pytest.approx(1 - math.exp(-5 / 12.8), abs=1e-4)


@pytest.mark.parametrize("name", BOX_LOSSES)
def test_gradients_are_finite_and_none_is_no_error(name):
    for boxes, wanted in (
        (BOXES, WANTED),
        (BOXES[:1], BOXES[:1]),
        (BOXES[:0], WANTED[:0]),
        (BOXES[:1] * 0, WANTED[:1]),
    ):
        boxes = boxes.clone().requires_grad_()
        values = BOX_LOSSES[name](boxes, wanted)
        assert values.shape == (len(boxes),)
        values.sum().backward()
        assert boxes.grad.isfinite().all()
