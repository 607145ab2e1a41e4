"""The compiled matching and mined cross-entropy, against their torch versions."""

import pytest
import torch

from lib.multibox.coder import BoxCoder
from lib.multibox.losses import MinedSoftmaxLoss
from lib.multibox.matcher import IoUMatcher
from lib.ops import kernels
from lib.ops.loss_sums import hard_negatives, mined_loss
from lib.ops.matching import Matches, match_in_torch
from lib.structures import BACKGROUND, IGNORE, Predictions, Target

pytestmark = pytest.mark.skipif(kernels.load("_training") is None, reason="csrc/build.py built no kernels here")
OPS = torch.ops.multibox


def boxes(generator, *shape: int) -> torch.Tensor:
    """Corners on a coarse grid, so that overlaps are often equal."""
    corner = torch.randint(0, 12, (*shape, 2), generator=generator) * 8.0
    return torch.cat([corner, corner + torch.randint(1, 5, (*shape, 2), generator=generator) * 8], dim=-1)


def target(generator, images: int = 3, objects: int = 7) -> Target:
    labels = torch.randint(IGNORE, 4, (images, objects), generator=generator)
    return Target(boxes(generator, images, objects), labels)


@pytest.mark.parametrize("best_prior", [True, False])
@pytest.mark.parametrize("thresholds", [(0.5, 0.5, 0.5), (0.6, 0.3, 0.0), (0.0, 0.0, 1.0)])
def test_match_gives_what_torch_gives(thresholds, best_prior, generator):
    threshold, negative_threshold, ignore_overlap = thresholds
    matcher = IoUMatcher(threshold, negative_threshold, ignore_overlap, best_prior)
    for count in (1, 15, 16, 200):
        priors, given = boxes(generator, count), target(generator)
        in_torch = match_in_torch(priors, given, matcher.rule)
        for found, expected in zip(matcher(priors, given), in_torch, strict=True):
            assert torch.equal(found, expected)


def test_match_of_no_objects_or_no_priors(generator):
    empty = Target(torch.zeros(2, 0, 4), torch.zeros(2, 0, dtype=torch.long))
    priors = boxes(generator, 5)
    found = IoUMatcher()(priors, empty)
    assert found.labels.tolist() == [[0] * 5] * 2
    assert torch.equal(found.boxes, priors.expand(2, -1, -1))
    assert IoUMatcher()(priors[:0], target(generator)).boxes.shape == (3, 0, 4)


def torch_loss(logits, labels, ratio, least):
    """The oracle in double precision, and which priors it is of."""
    log_probs = logits.double().log_softmax(-1)
    losses = -log_probs.gather(2, labels.clamp(min=0)[..., None])[..., 0].float()
    chosen = hard_negatives(losses, labels, ratio, least) | (labels > BACKGROUND)
    return losses[chosen].sum(), chosen


@pytest.mark.parametrize("classes", [1, 2, 16, 21, 91])
@pytest.mark.parametrize("scale", [0.0, 3.0, 1000.0])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
def test_mined_loss_and_its_gradient_are_torchs(classes, scale, dtype, generator):
    logits = (scale * torch.randn(3, 50, classes, generator=generator)).round().to(dtype).requires_grad_()
    labels = torch.randint(0, 40, (3, 50), generator=generator) - 1
    labels = labels.where(labels < classes, BACKGROUND)
    labels[2] = BACKGROUND
    for ratio, least in ((3.0, 0), (0.3, 2), (100.0, 5)):
        loss, chosen = mined_loss(logits, labels, ratio, least)
        expected, expected_chosen = torch_loss(logits, labels, ratio, least)
        assert torch.equal(chosen, expected_chosen)
        torch.testing.assert_close(loss, expected, rtol=1e-5, atol=1e-5)
        gradients = [torch.autograd.grad(2.5 * value, logits)[0] for value in (loss, expected)]
        assert gradients[0].dtype == dtype
        torch.testing.assert_close(*gradients, rtol=1e-2 if dtype != torch.float32 else 1e-4, atol=1e-5)


def test_mined_loss_of_logits_that_lie_apart_in_memory(generator):
    logits = torch.randn(2, 7, 9, generator=generator)
    labels = torch.randint(0, 7, (2, 9), generator=generator)
    apart = logits.transpose(1, 2).requires_grad_()  # (B, P, K), K outermost
    found, _ = mined_loss(apart, labels, 3.0, 3)
    expected, _ = torch_loss(apart, labels, 3.0, 3)
    torch.testing.assert_close(found, expected)
    torch.testing.assert_close(*(torch.autograd.grad(value, apart)[0] for value in (found, expected)))


def test_a_logit_that_is_not_a_number_is_seen(generator):
    labels = torch.zeros(1, 20, dtype=torch.long)
    for value in (torch.nan, torch.inf):
        logits = torch.randn(1, 20, 5, generator=generator)
        logits[0, 13, 2] = value
        loss, chosen = mined_loss(logits, labels, 3.0, 1)
        assert chosen.nonzero().tolist() == [[0, 13]]
        assert not loss.isfinite()


def test_labels_beyond_the_classes_are_refused():
    with pytest.raises(ValueError, match="labels must be below the logits' 4 classes.* got 4: set model.num_classes"):
        mined_loss(torch.zeros(1, 2, 4), torch.tensor([[0, 4]]), 3.0, 3)


def test_loss_of_no_images_is_nothing():
    loss, chosen = mined_loss(torch.zeros(0, 5, 4), torch.zeros(0, 5, dtype=torch.long), 3.0, 3)
    assert (loss.item(), chosen.shape) == (0.0, (0, 5))


def test_operators_pass_opcheck(generator):
    priors, given = boxes(generator, 30), target(generator)
    torch.library.opcheck(OPS.match.default, (priors, *given, 0.5, 0.4, 0.5, True))
    logits = torch.randn(3, 30, 5, generator=generator, requires_grad=True)
    labels = torch.randint(-1, 5, (3, 30), generator=generator)
    torch.library.opcheck(OPS.mined_loss.default, (logits, labels, 3.0, 3))


def test_threads_change_nothing(generator):
    priors, given = boxes(generator, 300), target(generator, 5)
    logits, deltas = torch.randn(5, 300, 6, generator=generator), torch.randn(5, 300, 4, generator=generator)
    loss, matcher = MinedSoftmaxLoss(), IoUMatcher()
    labels, _ = matcher(priors, given)
    case = Predictions(logits, deltas, priors, (100, 100)), Matches(labels, deltas), BoxCoder()
    single = loss(*case)
    try:
        torch.set_num_threads(3)
        assert torch.equal(matcher(priors, given).labels, labels)
        assert torch.equal(loss(*case), single)
    finally:
        torch.set_num_threads(1)
