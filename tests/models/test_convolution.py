"""Convolutions in groups, with TensorFlow's padding, and with a frozen norm folded into them."""

import copy

import pytest
import torch
import torch.nn.functional as F

from lib.models.blocks import Conv
from lib.models.convolution import GroupedConv2d, PointwiseConv2d, SameConv2d, folded


def half(layer, x):
    with torch.autocast("cpu", torch.bfloat16):
        return layer(x)


@pytest.mark.parametrize("stride", [1, 2])
@pytest.mark.parametrize("has_bias", [False, True])
def test_gradients_in_half_precision_are_those_of_single_precision_on_the_same_numbers(stride, has_bias):
    torch.manual_seed(0)
    layer = GroupedConv2d(8, 8, 3, stride, padding=2, dilation=2, groups=4, bias=has_bias)
    with torch.no_grad():
        for parameter in layer.parameters():
            parameter.copy_(parameter.bfloat16())  # numbers that half precision holds
    x = torch.randn(3, 8, 9, 14).bfloat16().float()
    gradient = torch.randn(3, 8, -(-9 // stride), -(-14 // stride)).bfloat16()
    results = []
    for is_half in (True, False):
        given = x.clone().requires_grad_()
        layer.zero_grad()
        y = half(layer, given) if is_half else layer(given)
        assert y.dtype == (torch.bfloat16 if is_half else torch.float32)
        y.backward(gradient.to(y.dtype))
        results.append([given.grad, *(parameter.grad.clone() for parameter in layer.parameters())])
    for found, wanted in zip(*results, strict=True):
        assert torch.equal(found, wanted.bfloat16().float())  # exact, then rounded once


def test_without_gradients_or_half_precision_the_plain_convolution_runs():
    layer, x = GroupedConv2d(4, 4, 3, padding=1, groups=4, bias=False), torch.randn(2, 4, 3, 5)
    assert torch.equal(layer(x), F.conv2d(x, layer.weight, padding=1, groups=4))
    with torch.no_grad():
        y = half(layer, x)
    assert y.dtype == torch.bfloat16
    assert torch.equal(y, F.conv2d(x.bfloat16(), layer.weight.bfloat16(), padding=1, groups=4))


def test_a_1x1_convolution_of_stride_1_trains_by_the_kernel_and_equals_torch_wherever_the_map_lies():
    torch.manual_seed(0)
    block, x = Conv(12, 20, kernel=1, act="relu6"), torch.randn(3, 12, 7, 9)
    block.norm.running_mean.uniform_(-1, 1)
    block.norm.eval()
    assert type(block.conv) is PointwiseConv2d and type(Conv(12, 20, 2, kernel=1).conv) is not PointwiseConv2d
    results = []
    for layout in (torch.channels_last, torch.contiguous_format):  # by the kernel, by torch
        block.zero_grad()
        given = x.clone(memory_format=layout).requires_grad_()
        y = block(given)
        assert y.is_contiguous(memory_format=layout)
        y.square().sum().backward()
        results.append([y.detach(), given.grad, block.conv.weight.grad.clone()])
    for found, wanted in zip(*results, strict=True):
        torch.testing.assert_close(found, wanted, rtol=1e-4, atol=1e-4)


def test_compiled_and_exported_as_it_is():
    torch.manual_seed(0)
    layer, x = Conv(8, 8, groups=8, same=True), torch.randn(2, 8, 7, 6)
    layer.norm.eval()
    half(layer, x).float().square().sum().backward()
    wanted = layer.conv.weight.grad.clone()
    layer.zero_grad()
    half(torch.compile(layer, backend="aot_eager", fullgraph=True), x).float().square().sum().backward()
    torch.testing.assert_close(layer.conv.weight.grad, wanted, rtol=0.02, atol=0.02 * wanted.abs().max().item())
    program = torch.export.export(layer.eval(), (x,), dynamic_shapes=({0: torch.export.Dim("batch")},))
    with torch.no_grad():
        torch.testing.assert_close(program.module()(x[:1]), layer(x[:1]))


@pytest.mark.parametrize("size", [(7, 10), (8, 9), (1, 2)])
@pytest.mark.parametrize("stride", [1, 2, 3])
@pytest.mark.parametrize("kernel", [1, 2, 3, 5])
def test_padding_of_tensorflow_by_hand(size, stride, kernel):
    torch.manual_seed(0)
    layer, x = SameConv2d(4, 4, kernel, stride, groups=2, bias=False), torch.randn(2, 4, *size)
    pads = [max((-(-side // stride) - 1) * stride + kernel - side, 0) for side in size[::-1]]
    padded = F.pad(x, (pads[0] // 2, pads[0] - pads[0] // 2, pads[1] // 2, pads[1] - pads[1] // 2))
    y = layer(x)
    assert y.shape[2:] == (-(-size[0] // stride), -(-size[1] // stride))
    torch.testing.assert_close(y, F.conv2d(padded, layer.weight, stride=stride, groups=2))


def frozen_layer(**options) -> Conv:
    torch.manual_seed(0)
    layer = Conv(6, 8, 2, act="relu6", **options)
    norm = layer.norm
    with torch.no_grad():
        norm.weight.uniform_(0.5, 2)
        norm.bias.uniform_(-1, 1)
        norm.running_mean.uniform_(-1, 1)
        norm.running_var.uniform_(0.1, 3)
    norm.eval()
    return layer


@pytest.mark.parametrize("options", [{}, {"bias": True}, {"groups": 2}, {"same": True}, {"kernel": 1}])
def test_a_folded_norm_computes_what_it_computed_and_learns_what_it_learned(options):
    layer = frozen_layer(**options)
    other, x = copy.deepcopy(layer), torch.randn(4, 6, 9, 12)
    results = []
    for one, is_folded in ((layer, True), (other, False)):
        given = x.clone().requires_grad_()
        y = one(given) if is_folded else one.act(one.norm(one.conv(given)))
        y.square().sum().backward()
        results.append([y, given.grad, *(parameter.grad for parameter in one.parameters())])
    assert len(results[0]) == 6 if options.get("bias") else 5
    for found, wanted in zip(*results, strict=True):
        torch.testing.assert_close(found, wanted, rtol=1e-5, atol=1e-5 * wanted.abs().max().item())


@pytest.mark.parametrize("is_same", [False, True])
@pytest.mark.parametrize("act", ["relu6", "relu", None])
def test_a_depthwise_convolution_in_memory_as_channels_last_computes_the_same(is_same, act):
    torch.manual_seed(0)
    layer = Conv(6, 6, 2, groups=6, act=act, same=is_same)
    layer.norm.running_mean.uniform_(-1, 1)
    layer.norm.eval()
    results = []
    for memory_format in (torch.contiguous_format, torch.channels_last):
        layer.zero_grad()
        x = torch.randn(2, 6, 8, 11, generator=torch.Generator().manual_seed(1))
        x = x.to(memory_format=memory_format).requires_grad_()
        y = layer(x)
        y.square().sum().backward()
        results.append([y, x.grad, *(parameter.grad.clone() for parameter in layer.parameters())])
    for found, wanted in zip(*results, strict=True):
        torch.testing.assert_close(found, wanted, rtol=1e-5, atol=1e-5)


def test_more_padding_than_the_kernel_is_large_goes_to_torch():
    layer = GroupedConv2d(4, 4, 1, padding=2, groups=4)
    x = torch.randn(2, 4, 5, 7).contiguous(memory_format=torch.channels_last)
    assert torch.equal(layer(x), F.conv2d(x, layer.weight, layer.bias, padding=2, groups=4))


def test_folding_follows_new_weights_and_statistics_and_stops_with_training(monkeypatch):
    layer, x, calls = frozen_layer(), torch.randn(1, 6, 5, 5), []
    monkeypatch.setattr("lib.models.blocks.folded", lambda *given: calls.append(1) or folded(*given))
    before = layer(x)
    with torch.no_grad():
        layer.conv.weight.mul_(2)
        layer.norm.running_var.mul_(4)
        layer.norm.running_mean.mul_(2)
    torch.testing.assert_close(layer(x), before, rtol=1e-3, atol=1e-4)
    assert len(calls) == 2
    layer.eval()(x)
    layer.train()(x)
    assert len(calls) == 2  # neither in evaluation nor where the norm learns
