"""What does not fit is refused before memory is touched: by the public functions, the operators and the kernels."""

import numpy as np
import pytest
import torch

from lib.config import load_config
from lib.multibox.coder import BoxCoder
from lib.multibox.matcher import ATSSMatcher, GaussianMatcher, IoUMatcher
from lib.multibox.postprocess import PostProcess
from lib.ops import batched_nms, bbox_overlaps, kernels, multiclass_nms, nms, soft_nms, weighted_box_fusion
from lib.ops.fusion import fuse_boxes
from lib.ops.loss_sums import mined_loss
from lib.structures import Predictions, Target

OPS = torch.ops.multibox
BOXES, SCORES = torch.tensor([[0.0, 0, 9, 9], [1, 1, 8, 8], [20, 20, 30, 40]]), torch.tensor([0.5, 0.9, 0.1])
LABELS = torch.tensor([1, 2, 1])


@pytest.fixture(params=["compiled", "torch"])
def build(request, monkeypatch):
    """With the kernels, and without them."""
    if request.param == "torch":
        monkeypatch.setattr(kernels, "load", lambda name: None)


PREDICTIONS = {
    "logits": torch.zeros(2, 6, 3),
    "deltas": torch.zeros(2, 6, 4),
    "priors": torch.zeros(6, 4),
    "sizes": torch.ones(2, 2, dtype=torch.int64),
}


@pytest.mark.parametrize(
    ("name", "value", "error", "message"),
    [
        ("deltas", torch.zeros(2, 5, 4), ValueError, r"deltas \(B, P, 4\), priors .*; got .* deltas \(2, 5, 4\)"),
        ("deltas", torch.zeros(1, 6, 4), ValueError, r"deltas \(1, 6, 4\)"),
        ("deltas", torch.zeros(2, 6, 3), ValueError, r"deltas \(2, 6, 3\)"),
        ("deltas", torch.zeros(2, 6, 4, dtype=int), TypeError, "deltas must be floating; got torch.int64"),
        ("priors", torch.zeros(5, 4), ValueError, r"priors \(5, 4\)"),
        ("priors", torch.zeros(6, 5), ValueError, r"priors \(6, 5\)"),
        ("priors", torch.zeros(0, 4), ValueError, r"priors \(0, 4\)"),
        ("logits", torch.zeros(2, 6), ValueError, r"logits \(2, 6\)"),
        ("logits", torch.zeros(2, 6, 0), ValueError, r"logits \(2, 6, 0\)"),
        ("sizes", torch.ones(1, 2, dtype=int), ValueError, r"sizes \(B, 2\), a row an image; got sizes \(1, 2\)"),
        ("sizes", torch.ones(2, 2), TypeError, "sizes must be integers .* got torch.float32"),
    ],
)
def test_predictions_that_do_not_fit_together_are_refused(build, name, value, error, message):
    logits, deltas, priors, sizes = {**PREDICTIONS, name: value}.values()
    given, process = Predictions(logits, deltas, priors, (64, 96)), PostProcess(BoxCoder())
    for function in (process, process.padded, process.stepwise):
        with pytest.raises(error, match=message):
            function(given, sizes)


TARGET = {"priors": torch.zeros(6, 4), "boxes": torch.zeros(2, 3, 4), "labels": torch.ones(2, 3, dtype=torch.int64)}


@pytest.mark.parametrize("matcher", [IoUMatcher(), ATSSMatcher(), GaussianMatcher()])
@pytest.mark.parametrize(
    ("name", "value", "error"),
    [
        ("priors", torch.zeros(6, 5), ValueError),
        ("boxes", torch.zeros(2, 2, 4), ValueError),
        ("boxes", torch.zeros(1, 3, 4), ValueError),
        ("boxes", torch.zeros(2, 3, 4, dtype=int), TypeError),
        ("labels", torch.ones(2, 3), TypeError),
        ("labels", torch.ones(6, dtype=int), ValueError),
    ],
)
def test_a_target_that_does_not_fit_is_refused(build, matcher, name, value, error):
    priors, boxes, labels = {**TARGET, name: value}.values()
    with pytest.raises(error, match=r"must (be floating|be integers|have the shape|fit together)"):
        matcher(priors, Target(boxes, labels))


@pytest.mark.parametrize(
    ("call", "error"),
    [
        (lambda: mined_loss(torch.zeros(1, 2, 3), torch.zeros(1, 3, dtype=int), 3.0, 3), ValueError),
        (lambda: mined_loss(torch.zeros(1, 2, 0), torch.zeros(1, 2, dtype=int), 3.0, 3), ValueError),
        (lambda: mined_loss(torch.zeros(1, 2, 3), torch.zeros(1, 2), 3.0, 3), TypeError),
        (lambda: mined_loss(torch.zeros(1, 2, 3), torch.zeros(1, 2, dtype=int), -3.0, 3), ValueError),
        (lambda: mined_loss(torch.zeros(1, 2, 3), torch.zeros(1, 2, dtype=int), torch.nan, 3), ValueError),
        (lambda: mined_loss(torch.zeros(1, 2, 3), torch.zeros(1, 2, dtype=int), 3.0, -5), ValueError),
        (lambda: fuse_boxes(BOXES, SCORES[:2], LABELS, LABELS, 0.5), ValueError),
        (lambda: fuse_boxes(BOXES, SCORES, LABELS[:1], LABELS, 0.5), ValueError),
        (lambda: fuse_boxes(BOXES, SCORES, LABELS, LABELS[:0], 0.5), ValueError),
        (lambda: fuse_boxes(BOXES, SCORES, LABELS, SCORES, 0.5), TypeError),
        (lambda: fuse_boxes(BOXES, SCORES, LABELS, LABELS, torch.nan), ValueError),
        (lambda: fuse_boxes(BOXES, SCORES, LABELS, LABELS, 0.5, "giou"), ValueError),
        (lambda: soft_nms(BOXES, SCORES, LABELS[:2]), ValueError),
        (lambda: weighted_box_fusion(BOXES, SCORES, LABELS[:2]), ValueError),
        (lambda: batched_nms(BOXES, SCORES, SCORES, 0.5), TypeError),
        (lambda: multiclass_nms(BOXES[None], SCORES[None, :2, None], 0.1, 0.5), ValueError),
        (lambda: multiclass_nms(BOXES[None], SCORES[None, :, None], 0.1, 0.5, max_detections=0), ValueError),
        (lambda: nms([[0, 0, 1, 1]], SCORES, 0.5), TypeError),
        (lambda: nms(np.array([["a"] * 4]), np.zeros(1), 0.5), TypeError),
    ],
)
def test_functions_refuse_what_does_not_fit(build, call, error):
    with pytest.raises(error, match="must "):
        call()


@pytest.mark.parametrize(
    "call",
    [
        lambda: OPS.nms(BOXES, SCORES[:1], None, 0.5, "iou"),
        lambda: OPS.nms(BOXES, SCORES, LABELS, 1.5, "iou"),
        lambda: OPS.bbox_overlaps(BOXES, BOXES[:, :3], "iou"),
        lambda: OPS.bbox_overlaps(BOXES, BOXES, "siou"),
        lambda: OPS.soft_nms(BOXES, SCORES, LABELS, "gaussian", 0.5, 0.0, 0.1),
        lambda: OPS.weighted_box_fusion(BOXES, SCORES[:1], None, 0.5, 1),
        lambda: OPS.multiclass_nms(BOXES[None], SCORES[None, :2, None], 0.1, 0.5, 9, 9, 0),
        lambda: OPS.postprocess(
            *(PREDICTIONS[name] for name in ("logits", "deltas")),
            BOXES,
            PREDICTIONS["sizes"],
            [64, 96],
            [0.1, 0.2],
            "softmax",
            0.1,
            0.5,
            9,
            9,
            "nms",
            None,
        ),
        lambda: OPS.match(BOXES, BOXES[None], LABELS[None, :2], 0.5, 0.4, 0.5, True),
        lambda: OPS.match(BOXES, BOXES[None], LABELS[None], 0.4, 0.5, 0.5, True),
        lambda: OPS.mined_loss(torch.zeros(1, 2, 3), torch.zeros(1, 1, dtype=int), 3.0, 3),
        lambda: OPS.mined_loss_gradient(torch.ones(()), torch.zeros(1, 2, 3), LABELS[None], LABELS[None] > 0),
    ],
)
def test_operators_refuse_what_does_not_fit(call):
    with pytest.raises(ValueError, match="must "):
        call()


@pytest.mark.skipif(kernels.load("_training") is None, reason="csrc/build.py built no kernels here")
def test_kernels_refuse_what_their_callers_should_have_refused():
    labels, chosen = np.full((1, 2), 9), np.ones((1, 2), np.uint8)
    with pytest.raises(ValueError, match="a kernel's arguments must fit together: labels below K"):
        kernels.load("_training").mined_gradient(
            np.zeros((1, 2, 3), np.float32), labels, chosen, 1.0, np.zeros((1, 2, 3), np.float32)
        )
    with pytest.raises(ValueError, match="ratio and least 0 or more"):
        kernels.load("_training").mined_losses(
            np.zeros((1, 2, 3), np.float32), labels * 0, -3.0, -5.0, 1, chosen, np.zeros(1)
        )
    with pytest.raises(ValueError, match=r"boxes \(N, 4\), scores \(N,\)"):
        kernels.load("_nms").nms["float"](BOXES.numpy(), SCORES.numpy()[:1], None, 0.5, False, np.zeros(3, np.int64))


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("loss.negative_ratio=-3", "loss.negative_ratio must be 0 or more and finite; got -3"),
        ("loss.negative_ratio=.inf", "loss.negative_ratio must be a finite number; got inf"),
        ("loss.min_negatives=-5", r"loss.min_negatives must be 0 or more and below 2\*\*31; got -5"),
        ("loss.box_weight=-1", "loss.box_weight must be 0 or more and finite; got -1"),
        ("loss={type: focal, alpha: 2}", "loss.alpha must be in 0 .. 1; got 2"),
        ("matcher.ignore_overlap=-0.1", "matcher.ignore_overlap must be in 0 .. 1; got -0.1"),
        ("matcher.threshold=1.5", "matcher.negative_threshold <= matcher.threshold <= 1; got 1.5 and 1.5"),
        ("matcher={type: atss, top_k: -1}", "matcher.top_k must be at least 1; got -1"),
        ("matcher={type: gaussian, constant: 0}", "matcher.constant must be greater than 0; got 0"),
        ("postprocess.max_detections=0", "postprocess.max_detections must be at least 1; got 0"),
        ("postprocess.iou_threshold=-1", "postprocess.iou_threshold must be in 0 .. 1; got -1"),
        ("postprocess.score_threshold=1.5", "postprocess.score_threshold must be in 0 .. 1; got 1.5"),
        ("model.variances=[0.1]", r"model.variances must be two numbers, of center and size; got \[0.1\]"),
        ("model.norm.eps=-1e308", "model.norm.eps must be greater than 0; got -1e"),
        ("model.norm.momentum=2", "model.norm.momentum must be in 0 .. 1; got 2"),
        ("model.variances=[0.1, 0]", "model.variances must be greater than 0; got 0"),
    ],
)
def test_numbers_out_of_range_are_refused_when_the_config_is_read(override, message):
    with pytest.raises(ValueError, match=message):
        load_config({}, [override])


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
@pytest.mark.parametrize("mode", ["iou", "iof", "giou", "nwd"])
def test_half_precision_is_computed_in_float32_with_a_gradient_too(dtype, mode):
    boxes = torch.tensor([[0.0, 0, 300, 300], [10, 20, 300, 280]]).to(dtype)
    found = bbox_overlaps(boxes.clone().requires_grad_(), boxes, mode)
    assert found[0, 0].item() == 1
    torch.testing.assert_close(found.detach(), bbox_overlaps(boxes, boxes, mode), rtol=0, atol=1e-6)
    found.sum().backward()


@pytest.mark.parametrize("count", [0, 1, 2])
def test_arrays_of_any_strides_and_byte_order_are_taken(count):
    boxes, scores = BOXES.numpy()[:count], SCORES.numpy()[:count]
    expected = nms(boxes, scores, 0.5).tolist()
    backward = boxes[::-1].copy()[::-1], scores[::-1].copy()[::-1]
    mirrored = np.ascontiguousarray(boxes[:, ::-1])[:, ::-1]
    rows = np.zeros(count, [("box", np.float32, 4), ("mark", np.int8)])  # rows of 17 bytes
    rows["box"] = boxes
    foreign = boxes.astype(">f4"), scores.astype(">f8")
    for pair in (backward, (mirrored, scores), (rows["box"], scores), foreign, (boxes[None][0], scores)):
        assert nms(*pair, 0.5).tolist() == expected
        assert bbox_overlaps(pair[0], boxes).tolist() == bbox_overlaps(boxes, boxes).tolist()
    assert batched_nms(*backward, np.arange(count)[::-1], 0.5).tolist() == scores.argsort()[::-1].tolist()
