"""The criterion, against the BMVC code's own numbers and against a sum by hand."""

import json
import math
from pathlib import Path

import pytest
import torch

from lib.build import build_loss
from lib.config import load_config
from lib.multibox.coder import BoxCoder
from lib.multibox.losses import MultiBoxLoss, hard_negatives
from lib.multibox.matcher import IoUMatcher
from lib.multibox.priors import PriorGenerator
from lib.structures import IGNORE, Predictions, Target

GOLDEN = json.loads((Path(__file__).parents[1] / "golden" / "loss" / "ssd_lite_mobilenetv1.json").read_text())


def golden_case() -> tuple[Predictions, Target]:
    steps = [16, 32, 64, 100, 150, 300]
    sizes, ratios = [45, 90, 135, 180, 225, 270, 315], [[2, 3]] * 4 + [[2]] * 2
    maps = [(side, side) for side in (19, 10, 5, 3, 2, 1)]
    priors = PriorGenerator(sizes, ratios, steps=steps)(maps, (300, 300))
    count = len(priors)
    loc = 0.5 * torch.sin(0.0137 * torch.arange(2 * count * 4, dtype=torch.float64)).reshape(2, count, 4)
    conf = 3 * torch.sin(0.7131 * torch.arange(2 * count * 81, dtype=torch.float64) + 0.3).reshape(
        2, count, 81
    )
    boxes, labels = torch.zeros(2, 4, 4), torch.zeros(2, 4, dtype=torch.long)
    for image, objects in enumerate(GOLDEN["targets"]):
        for row, (*box, label) in enumerate(objects):
            boxes[image, row] = torch.tensor(box) * 300
            labels[image, row] = int(label)
    return Predictions(conf.float(), loc.float(), priors, (300, 300)), Target(boxes, labels)


def test_matches_are_the_ancestors():
    predictions, target = golden_case()
    labels, boxes = IoUMatcher()(predictions.priors, target)
    for image, expected in enumerate(GOLDEN["match"]):
        positive = (labels[image] > 0).nonzero()[:, 0]
        assert positive.tolist() == expected["pos_idx"]
        assert labels[image][positive].tolist() == expected["pos_labels"]
        offsets = BoxCoder().encode(boxes[image][positive], predictions.priors[positive])
        torch.testing.assert_close(offsets[:3], torch.tensor(expected["loc_t_first"]), rtol=1e-3, atol=1e-3)


def test_loss_is_the_ancestors():
    predictions, target = golden_case()
    losses = MultiBoxLoss(IoUMatcher(), BoxCoder(), min_negatives=0)(predictions, target)
    assert losses["loss_box"].item() == pytest.approx(GOLDEN["loss_l"], rel=1e-4)
    assert losses["loss_cls"].item() == pytest.approx(GOLDEN["loss_c"], rel=1e-4)


def test_loss_by_hand():
    priors = torch.tensor([[0.0, 0, 10, 10], [20, 0, 40, 10], [50, 50, 60, 60]])
    logits = torch.tensor([[[0.0, 0.0], [0.0, 0.0], [0.0, math.log(3.0)]]])
    deltas = torch.zeros(1, 3, 4)
    deltas[0, 0] = torch.tensor([0.0, 0.5, 0.0, 3.0])
    target = Target(torch.tensor([[[0.0, 0, 10, 10]]]), torch.tensor([[1]]))
    loss = MultiBoxLoss(IoUMatcher(), BoxCoder(), negative_ratio=1)
    losses = loss(Predictions(logits, deltas, priors, (60, 60)), target)
    # The positive costs log 2; one negative per positive, but min_negatives 3 lets both in: log 2 and log 4.
    assert losses["loss_cls"].item() == pytest.approx(math.log(2) + math.log(2) + math.log(4))
    assert losses["loss_box"].item() == pytest.approx(0.5 * 0.5**2 + (3 - 0.5))


def test_hardest_negatives_come_first_and_ties_keep_the_lower_index():
    labels = torch.tensor([[1, 0, 0, 0, IGNORE, 0], [0, 0, 0, 0, 0, 0]])
    background_loss = torch.tensor([[9.0, 1, 2, 2, 8, 2], [1, 2, 3, 4, 5, 6]])
    assert hard_negatives(background_loss, labels, 2, 0).nonzero().tolist() == [[0, 2], [0, 3]]
    assert hard_negatives(background_loss, labels, 2, 1).nonzero().tolist() == [[0, 2], [0, 3], [1, 5]]


def test_batch_without_objects_gives_a_finite_loss_and_gradient():
    logits, deltas = torch.randn(2, 5, 3, requires_grad=True), torch.randn(2, 5, 4, requires_grad=True)
    priors = torch.tensor([[0.0, 0, 10, 10]]).expand(5, 4)
    target = Target(torch.zeros(2, 0, 4), torch.zeros(2, 0, dtype=torch.long))
    losses = MultiBoxLoss(IoUMatcher(), BoxCoder())(Predictions(logits, deltas, priors, (10, 30)), target)
    sum(losses.values()).backward()
    assert losses["loss_box"].item() == 0
    assert math.isfinite(losses["loss_cls"].item())
    assert logits.grad.abs().sum() > 0


def test_half_precision_predictions_are_judged_in_float32():
    predictions, target = golden_case()
    half = predictions._replace(logits=predictions.logits.bfloat16(), deltas=predictions.deltas.bfloat16())
    losses = MultiBoxLoss(IoUMatcher(), BoxCoder())(half, target)
    assert all(value.dtype == torch.float32 for value in losses.values())
    assert losses["loss_cls"].item() == pytest.approx(GOLDEN["loss_c"], rel=0.01)


def test_config_builds_the_loss():
    loss = build_loss(load_config({"loss": {"type": "multibox", "negative_ratio": 2.0}}))
    assert (loss.negative_ratio, loss.coder.variances) == (2.0, (0.1, 0.2))
