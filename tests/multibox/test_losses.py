"""The criterion, against the BMVC code's own numbers and against a sum by hand."""

import json
import math
from pathlib import Path

import pytest
import torch

from lib.build import build_loss, build_postprocess, build_priors
from lib.config import load_config
from lib.multibox.box_losses import BoxLoss
from lib.multibox.coder import BoxCoder
from lib.multibox.losses import Criterion, FocalLoss, MinedSoftmaxLoss, QualityFocalLoss
from lib.multibox.matcher import IoUMatcher
from lib.multibox.priors import PriorGenerator
from lib.ops.loss_sums import hard_negatives
from lib.structures import IGNORE, Predictions, Target


def criterion(class_loss, **box_options) -> Criterion:
    return Criterion(IoUMatcher(), BoxCoder(), class_loss, BoxLoss(**box_options))


GOLDEN = json.loads((Path(__file__).parents[1] / "golden" / "loss" / "ssd_lite_mobilenetv1.json").read_text())


def formula_outputs(count: int, columns: int) -> tuple[torch.Tensor, torch.Tensor]:
    """The golden files' offsets (2, count, 4) and logits (2, count, columns)."""
    loc = 0.5 * torch.sin(0.0137 * torch.arange(2 * count * 4, dtype=torch.float64))
    conf = 3 * torch.sin(0.7131 * torch.arange(2 * count * columns, dtype=torch.float64) + 0.3)
    return loc.reshape(2, count, 4).float(), conf.reshape(2, count, columns).float()


def golden_case() -> tuple[Predictions, Target]:
    steps = [16, 32, 64, 100, 150, 300]
    sizes, ratios = [45, 90, 135, 180, 225, 270, 315], [[2, 3]] * 4 + [[2]] * 2
    maps = [(side, side) for side in (19, 10, 5, 3, 2, 1)]
    priors = PriorGenerator(sizes, ratios, steps=steps)(maps, (300, 300))
    count = len(priors)
    loc = 0.5 * torch.sin(0.0137 * torch.arange(2 * count * 4, dtype=torch.float64)).reshape(2, count, 4)
    conf = 3 * torch.sin(0.7131 * torch.arange(2 * count * 81, dtype=torch.float64) + 0.3).reshape(2, count, 81)
    boxes, labels = torch.zeros(2, 4, 4), torch.zeros(2, 4, dtype=torch.long)
    for image, objects in enumerate(GOLDEN["targets"]):
        for row, (*box, label) in enumerate(objects):
            boxes[image, row] = torch.tensor(box) * 300
            labels[image, row] = int(label)
    return Predictions(conf, loc, priors, (300, 300)), Target(boxes, labels)


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
    losses = criterion(MinedSoftmaxLoss(min_negatives=0))(predictions, target)
    assert losses["loss_box"].item() == pytest.approx(GOLDEN["loss_l"], rel=1e-4)
    assert losses["loss_cls"].item() == pytest.approx(GOLDEN["loss_c"], rel=1e-4)


def test_loss_by_hand():
    priors = torch.tensor([[0.0, 0, 10, 10], [20, 0, 40, 10], [50, 50, 60, 60]])
    logits = torch.tensor([[[0.0, 0.0], [0.0, 0.0], [0.0, math.log(3.0)]]])
    deltas = torch.zeros(1, 3, 4)
    deltas[0, 0] = torch.tensor([0.0, 0.5, 0.0, 3.0])
    target = Target(torch.tensor([[[0.0, 0, 10, 10]]]), torch.tensor([[1]]))
    loss = criterion(MinedSoftmaxLoss(negative_ratio=1))
    losses = loss(Predictions(logits, deltas, priors, (60, 60)), target)
    # The positive costs log 2; one negative per positive, but min_negatives 3 lets both in: log 2 and log 4.
    assert losses["loss_cls"].item() == pytest.approx(math.log(2) + math.log(2) + math.log(4))
    assert losses["loss_box"].item() == pytest.approx(0.5 * 0.5**2 + (3 - 0.5))


def test_sums_divided_by_their_positives_are_the_losses():
    predictions, target = golden_case()
    loss = criterion(MinedSoftmaxLoss(), box_weight=2.0)
    sums, num_positives = loss.sums(predictions, target)
    assert num_positives.tolist() == 22
    losses = loss(predictions, target)
    assert {name: (value / 22).item() for name, value in sums.items()} == {
        name: value.item() for name, value in losses.items()
    }
    empty = Target(torch.zeros(2, 0, 4), torch.zeros(2, 0, dtype=torch.long))
    assert loss.sums(predictions, empty)[1].tolist() == 0


def test_hardest_negatives_come_first_and_ties_keep_the_lower_index():
    labels = torch.tensor([[1, 0, 0, 0, IGNORE, 0], [0, 0, 0, 0, 0, 0]])
    background_loss = torch.tensor([[9.0, 1, 2, 2, 8, 2], [1, 2, 3, 4, 5, 6]])
    assert hard_negatives(background_loss, labels, 2, 0).nonzero().tolist() == [[0, 2], [0, 3]]
    assert hard_negatives(background_loss, labels, 2, 1).nonzero().tolist() == [[0, 2], [0, 3], [1, 5]]


def test_batch_without_objects_gives_a_finite_loss_and_gradient():
    logits, deltas = torch.randn(2, 5, 3, requires_grad=True), torch.randn(2, 5, 4, requires_grad=True)
    priors = torch.tensor([[0.0, 0, 10, 10]]).expand(5, 4)
    target = Target(torch.zeros(2, 0, 4), torch.zeros(2, 0, dtype=torch.long))
    losses = criterion(MinedSoftmaxLoss())(Predictions(logits, deltas, priors, (10, 30)), target)
    sum(losses.values()).backward()
    assert losses["loss_box"].item() == 0
    assert math.isfinite(losses["loss_cls"].item())
    assert logits.grad.abs().sum() > 0


def test_half_precision_predictions_are_judged_in_float32():
    predictions, target = golden_case()
    half = predictions._replace(logits=predictions.logits.bfloat16(), deltas=predictions.deltas.bfloat16())
    losses = criterion(MinedSoftmaxLoss())(half, target)
    assert all(value.dtype == torch.float32 for value in losses.values())
    assert losses["loss_cls"].item() == pytest.approx(GOLDEN["loss_c"], rel=0.01)


def test_config_builds_the_loss():
    loss = build_loss(load_config({"loss": {"type": "multibox", "negative_ratio": 2.0}}))
    assert (loss.class_loss.negative_ratio, loss.coder.variances) == (2.0, (0.1, 0.2))


def one_positive(**changes) -> tuple[Predictions, Target]:
    """Prior 0 is the object's, 1 is background, 2 lies in a crowd; 2 classes and background."""
    priors = torch.tensor([[0.0, 0, 10, 10], [20, 0, 40, 10], [50, 50, 60, 60]])
    logits = torch.tensor([[[9.0, 0.0, math.log(3.0)], [9.0, 0.0, 0.0], [9.0, 5.0, 5.0]]])
    values = {"logits": logits, "deltas": torch.zeros(1, 3, 4), **changes}
    target = Target(torch.tensor([[[0.0, 0, 10, 10], [45, 45, 65, 65]]]), torch.tensor([[2, IGNORE]]))
    return Predictions(values["logits"], values["deltas"], priors, (70, 70)), target


def test_focal_loss_by_hand():
    # sigmoids .5 and .75 for prior 0, .5 twice for prior 1; the crowd's prior and column 0 do not count
    losses = criterion(FocalLoss(alpha=0.25, gamma=2.0))(*one_positive())
    own = 0.25 * 0.25**2 * math.log(4 / 3)
    others = 3 * 0.75 * 0.5**2 * math.log(2)
    assert losses["loss_cls"].item() == pytest.approx(own + others)
    assert losses["loss_box"].item() == 0
    plain = criterion(FocalLoss(alpha=0.5, gamma=0.0, cls_weight=2.0))(*one_positive())
    assert plain["loss_cls"].item() == pytest.approx(math.log(4 / 3) + 3 * math.log(2))


@pytest.mark.parametrize("gamma", [0.0, 0.5, 1.0, 2.0])
def test_a_saturated_score_has_a_finite_gradient(gamma):
    logits = torch.full((1, 3, 4), -120.0)
    logits[0, 0, 2] = 40.0  # the positive's own class
    predictions, target = one_positive(logits=logits.requires_grad_())
    losses = criterion(FocalLoss(alpha=0.25, gamma=gamma))(predictions, target)
    losses["loss_cls"].backward()
    assert losses["loss_cls"].item() < 1e-3
    assert logits.grad.isfinite().all()


def test_quality_focal_loss_wants_the_boxs_iou():
    # the predicted box is twice as wide as the object: IoU 1/2; sigmoid .75 -> |.5 - .75|^2 * cross-entropy
    deltas = torch.zeros(1, 3, 4)
    deltas[0, 0, 2] = math.log(2) / 0.2
    case = one_positive(deltas=deltas)
    entropy = -(0.5 * math.log(0.75) + 0.5 * math.log(0.25))
    others = 3 * 0.5 * 0.5**2 * math.log(2)
    losses = criterion(QualityFocalLoss())(*case)
    assert losses["loss_cls"].item() == pytest.approx(0.5 * 0.25**2 * entropy + others)
    of_prior = criterion(QualityFocalLoss(of="prior"))(*case)  # the prior is the object: IoU 1
    assert of_prior["loss_cls"].item() == pytest.approx(0.5 * 0.25**2 * math.log(4 / 3) + others)


@pytest.mark.parametrize("box", ["smooth_l1", "balanced_l1", "giou", "diou", "ciou", "nwd"])
@pytest.mark.parametrize("kind", ["multibox", "focal", "quality_focal"])
def test_every_loss_by_config_teaches_both_outputs(kind, box):
    loss = build_loss(load_config({"loss": {"type": kind, "box": box}}))
    logits = torch.zeros(1, 3, 3, requires_grad=True)
    deltas = torch.full((1, 3, 4), 0.5, requires_grad=True)
    losses = loss(*one_positive(logits=logits, deltas=deltas))
    sum(losses.values()).backward()
    assert logits.grad[0, 0].abs().sum() > 0
    assert deltas.grad[0, 0].abs().sum() > 0
    assert deltas.grad[0, 1:].abs().sum() == 0


def test_beta_of_a_loss_without_one_is_refused():
    with pytest.raises(ValueError, match="loss.beta must be null for loss.box=giou"):
        build_loss(load_config({"loss": {"type": "focal", "box": "giou", "beta": 0.5}}))
    with pytest.raises(ValueError, match="loss.box must be one of .*did you mean 'ciou'"):
        build_loss(load_config({"loss": {"type": "multibox", "box": "cio"}}))


def test_scores_follow_the_loss():
    assert build_postprocess(load_config({})).activation == "softmax"
    assert build_postprocess(load_config({"loss": {"type": "focal"}})).activation == "sigmoid"


def test_loss_is_torchvisions():
    # torchvision's SSD300 default boxes; later objects take a box that two want, as in its matcher
    config = load_config("experiments/vgg16/torchvision300_c91.yml", ["loss.min_negatives=0"])
    golden = json.loads((Path(__file__).parents[1] / "golden" / "loss" / "ssd300_vgg16_torchvision.json").read_text())
    maps = [(side, side) for side in (38, 19, 10, 5, 3, 1)]
    priors = build_priors(config.model.priors, maps, (300, 300))(maps, (300, 300))
    count = len(priors)
    loc, conf = formula_outputs(count, 91)
    boxes, labels = torch.zeros(2, 4, 4), torch.zeros(2, 4, dtype=torch.long)
    for image, (rows, classes) in enumerate(zip(golden["boxes"], golden["labels"], strict=True)):
        boxes[image, : len(rows)], labels[image, : len(rows)] = torch.tensor(rows), torch.tensor(classes)
    predictions, target = Predictions(conf, loc, priors, (300, 300)), Target(boxes, labels)
    losses = build_loss(config)(predictions, target)
    found = IoUMatcher()(priors, target).labels
    assert [(image > 0).nonzero()[:, 0].tolist() for image in found] == golden["pos_idx"]
    assert losses["loss_box"].item() == pytest.approx(golden["reg"], rel=1e-4)
    assert losses["loss_cls"].item() == pytest.approx(golden["cls"], rel=1e-4)
