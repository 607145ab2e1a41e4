"""BatchNorm in training: by our kernel or by torch, the same map, gradients and running statistics."""

import copy

import pytest
import torch
from torch import nn

from lib.models import norm as module
from lib.models.blocks import ACTIVATIONS, activation
from lib.models.norm import normalized
from lib.ops import kernels


def trained(norm, act, x, function):
    """Map, gradients and statistics of two steps of a copy of the norm."""
    norm, values = copy.deepcopy(norm).train(), []
    for scale in (1.0, 2.0):
        given = (x * scale).clone(memory_format=torch.channels_last).requires_grad_()
        y = function(norm, act, given)
        y.square().sum().backward()
        values += [y.detach(), given.grad]
    return [*values, norm.weight.grad, norm.bias.grad, norm.running_mean, norm.running_var, norm.num_batches_tracked]


def example(channels: int = 12) -> tuple[nn.BatchNorm2d, torch.Tensor]:
    torch.manual_seed(0)
    norm = nn.BatchNorm2d(channels, momentum=0.03)
    nn.init.normal_(norm.weight)
    nn.init.normal_(norm.bias)
    return norm, torch.randn(3, channels, 5, 7).add(1).contiguous(memory_format=torch.channels_last)


@pytest.mark.parametrize("act", [*ACTIVATIONS, None])
def test_map_gradients_and_statistics_are_torchs(act):
    norm, x = example()
    layer = activation(act)
    found, wanted = (trained(norm, layer, x, function) for function in (normalized, lambda norm, act, x: act(norm(x))))
    assert int(found[-1]) == 2
    for mine, theirs in zip(found, wanted, strict=True):
        torch.testing.assert_close(mine, theirs, rtol=1e-4, atol=1e-4)


@pytest.mark.skipif(kernels.load("_batch_norm") is None, reason="csrc/build.py built no kernels here")
def test_the_kernel_is_taken_in_training_only_and_only_where_it_fits(monkeypatch):
    taken = []
    monkeypatch.setattr(module, "batch_norm", lambda *given: taken.append(given) or 1 / 0)
    norm, x = example()
    act = nn.ReLU()
    with pytest.raises(ZeroDivisionError):
        normalized(norm, act, x)
    assert taken.pop()[-1] == "relu"
    normalized(copy.deepcopy(norm).eval(), act, x)
    normalized(norm, act, x.contiguous())  # it would be copied
    normalized(norm, nn.LeakyReLU(0.1), x)
    normalized(copy.deepcopy(norm).double(), act, x.double())
    normalized(nn.BatchNorm2d(12, momentum=None), act, x)
    normalized(nn.Identity(), act, x)
    with torch.no_grad():
        normalized(norm, act, x)
    assert not taken


def test_a_single_pixel_is_refused_as_torch_refuses_it():
    norm, _ = example()
    with pytest.raises(ValueError, match="more than 1 value per channel"):
        normalized(norm, nn.ReLU(), torch.zeros(1, 12, 1, 1))
