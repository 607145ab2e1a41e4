"""Losses and matchers as they run on a GPU: no step waits for the device, and the values are those of the CPU."""

import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode

from lib.build import build_loss
from lib.config import load_config
from lib.multibox import matcher as matcher_module
from lib.multibox.box_losses import BOX_LOSSES
from lib.multibox.losses import LOSSES
from lib.multibox.matcher import MATCHERS, levels_of
from lib.multibox.priors import PriorGenerator
from lib.ops import kernels
from lib.structures import IGNORE, Predictions, Target

WAITS = ("nonzero", "_local_scalar_dense", "masked_select", "equal", "unique", "lift_fresh", "prod")  # prod: backward


class Impatient(TorchDispatchMode):
    """Refuses whatever would wait for a GPU: results read by the host or of a size that depends on values, and
    constants that are copied from the host.
    """

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        name = function.overloadpacket.__name__
        is_mask = name.startswith("index") and any(
            isinstance(index, torch.Tensor) and index.dtype in (torch.bool, torch.uint8)
            for argument in args
            if isinstance(argument, (list, tuple))
            for index in argument
        )
        assert not is_mask, f"{function} by a mask waits for the device"
        assert not name.startswith(WAITS), f"{function} waits for the device"
        return function(*args, **(kwargs or {}))


def case(generator, device="cpu") -> tuple[Predictions, Target]:
    """Two images of 60 x 90 pixels, one with a crowd and padding."""
    priors = PriorGenerator([10, 20, 40, 80], [[2], [2], [2]], clip=False)([(6, 9), (3, 5), (1, 2)], (60, 90))
    logits = 3 * torch.randn(2, len(priors), 5, generator=generator)
    deltas = torch.randn(2, len(priors), 4, generator=generator)
    boxes = [[[3.0, 5, 20, 18], [40, 20, 75, 50], [60, 2, 66, 9]], [[10, 30, 50, 58], [50, 0, 90, 30], [0, 0, 0, 0]]]
    target = Target(torch.tensor(boxes), torch.tensor([[1, 4, 2], [3, IGNORE, 0]]))
    values = (value.to(device) for value in (logits, deltas, priors))
    logits, deltas, priors = values
    return Predictions(logits.requires_grad_(), deltas.requires_grad_(), priors, (60, 90)), target.to(device)


def criterion(loss: str, box: str, matcher: str):
    return build_loss(load_config({"loss": {"type": loss, "box": box}, "matcher": {"type": matcher}}))


def gradients(criterion, predictions: Predictions, target: Target) -> list[torch.Tensor]:
    """Losses, positives, and the gradients of logits and deltas."""
    sums, num_positives = criterion.sums(predictions, target)
    total = sums["loss_cls"] + sums["loss_box"]
    return [*sums.values(), num_positives, *torch.autograd.grad(total, predictions[:2])]


@pytest.mark.parametrize("matcher", MATCHERS)
@pytest.mark.parametrize("box", BOX_LOSSES)
@pytest.mark.parametrize("loss", LOSSES)
def test_nothing_waits_for_the_device_and_values_are_those_of_the_cpu(loss, box, matcher, generator, monkeypatch):
    given = case(generator)
    expected = gradients(criterion(loss, box, matcher), *given)
    levels_of(given[0].priors)  # which is waited for once
    monkeypatch.setattr(kernels, "is_on_host", lambda tensor: False)
    with Impatient():
        found = gradients(criterion(loss, box, matcher), *given)
    for value, other in zip(found, expected, strict=True):
        torch.testing.assert_close(value, other, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("matcher", MATCHERS)
@pytest.mark.parametrize("loss", LOSSES)
def test_no_value_is_needed_to_queue_the_loss(loss, matcher, generator, monkeypatch):
    levels = levels_of(case(generator)[0].priors)
    monkeypatch.setattr(matcher_module, "levels_of", lambda priors: levels)
    predictions, target = case(generator, "meta")
    *_, for_logits, for_deltas = gradients(criterion(loss, "ciou", matcher), predictions, target)
    assert (for_logits.shape, for_deltas.shape) == (predictions.logits.shape, predictions.deltas.shape)


def test_levels_are_told_once_for_a_tensor_of_priors(generator):
    priors = case(generator)[0].priors
    assert levels_of(priors) is levels_of(priors)
    assert levels_of(priors.clone()) == levels_of(priors)


@pytest.mark.parametrize("box", BOX_LOSSES)
def test_predictions_of_negatives_that_are_not_finite_do_no_harm(box, generator, monkeypatch):
    monkeypatch.setattr(kernels, "is_on_host", lambda tensor: False)
    predictions, target = case(generator)
    far = predictions.deltas.detach().clone()
    labels, _ = MATCHERS["iou"]()(predictions.priors, target)
    far[labels <= 0] = torch.inf
    given = predictions._replace(deltas=far.requires_grad_())
    assert all(value.isfinite().all() for value in gradients(criterion("multibox", box, "iou"), given, target))


def test_the_watch_sees_what_waits():
    x = torch.ones(3, 2)
    for wait in (
        lambda: x[x > 0],
        lambda: bool((x > 0).any()),
        lambda: x.sum().item(),
        lambda: x.new_tensor([1.0, 2.0]),
        lambda: x.masked_select(x > 0),
        lambda: x.prod(-1),
    ):
        with Impatient(), pytest.raises(AssertionError, match="waits for the device"):
            wait()
