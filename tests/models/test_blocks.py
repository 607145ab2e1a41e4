"""The gradients of convolutions on maps smaller than their kernels."""

import copy

import pytest
import torch

from lib.models.blocks import Conv
from lib.models.convolution import GroupedConv2d


def leave_numbers_in_freed_memory():
    kept = [torch.full((count,), 1e15) for count in (64, 128, 288, 576, 1152, 2304, 4608, 9216) * 3]
    del kept


@pytest.mark.parametrize("size", [(1, 1), (2, 1), (1, 2), (2, 2), (5, 1)])
def test_weights_that_meet_only_padding_have_the_gradient_0_in_half_precision(size):
    torch.manual_seed(0)
    layer = Conv(32, 32, 2, groups=32, norm=False, act=None).to(memory_format=torch.channels_last)
    exact = copy.deepcopy(layer).double()
    assert isinstance(layer.conv, GroupedConv2d)
    for _ in range(10):
        x = torch.randn(16, 32, *size)
        layer.conv.weight.grad = exact.conv.weight.grad = None
        with torch.autocast("cpu", torch.bfloat16):
            y = layer(x.bfloat16().to(memory_format=torch.channels_last))
        leave_numbers_in_freed_memory()
        y.sum().backward()
        exact(x.double()).sum().backward()
        found, wanted = layer.conv.weight.grad, exact.conv.weight.grad
        torch.testing.assert_close(found, wanted.float(), rtol=0.05, atol=0.2)
        assert (found[wanted == 0] == 0).all()
