"""The depthwise convolution: values and gradients are those of torch in double precision, for any size and padding."""

import functools
import itertools

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from gradients import assert_same_bits_with_any_threads, values_and_gradients

from lib.ops import kernels
from lib.ops.depthwise import Window, depthwise_conv2d, is_kernel_for

needs_kernels = pytest.mark.skipif(kernels.load("_depthwise") is None, reason="csrc/build.py built no kernels here")


def oracle(x, weight, bias, window):
    top, bottom, left, right = window.pads
    x = F.pad(x, (left, right, top, bottom))
    y = F.conv2d(x, weight, bias, window.stride, groups=x.shape[1])
    return F.relu6(y) if window.clip else y


CASES = [  # (images, channels, height, width), kernel, stride, pads
    ((2, 16, 7, 10), (3, 3), 1, (1, 1, 1, 1)),
    ((1, 33, 9, 4), (5, 5), 2, (1, 2, 1, 2)),
    ((3, 1, 1, 1), (3, 3), 1, (1, 1, 1, 1)),
    ((2, 24, 5, 23), (1, 1), 3, (0, 0, 0, 0)),
    ((1, 130, 6, 5), (7, 3), 3, (6, 0, 0, 2)),
    ((2, 5, 4, 12), (2, 6), 2, (0, 1, 5, 3)),
    ((1, 48, 12, 9), (8, 8), 1, (3, 4, 4, 3)),
]


@pytest.mark.parametrize(("shape", "kernel", "stride", "pads"), CASES)
def test_values_and_gradients_are_those_of_double_precision(shape, kernel, stride, pads):
    generator = torch.Generator().manual_seed(0)
    x = 4 * torch.randn(shape, generator=generator) + 1
    weight = torch.randn(shape[1], 1, *kernel, generator=generator)
    for clip, has_bias in itertools.product([False, True], repeat=2):
        bias = torch.randn(shape[1], generator=generator) if has_bias else None
        window = Window(stride, pads, clip)
        found = values_and_gradients(functools.partial(depthwise_conv2d, window=window), torch.float32, x, weight, bias)
        wanted = values_and_gradients(functools.partial(oracle, window=window), torch.float64, x, weight, bias)
        assert len(found) == 3 + has_bias
        for mine, exact in zip(found, wanted, strict=True):
            torch.testing.assert_close(mine.double(), exact, rtol=1e-5, atol=1e-5 * float(exact.abs().max()) + 1e-6)


@needs_kernels
@pytest.mark.parametrize("images", [1, 3])
def test_any_number_of_threads_gives_the_same_bits(images):
    torch.manual_seed(0)
    given = torch.randn(images, 50, 9, 12), torch.randn(50, 1, 3, 3), torch.randn(50)
    operator = functools.partial(depthwise_conv2d, window=Window(1, (1, 1, 1, 1), True))
    assert_same_bits_with_any_threads(operator, *given)


@needs_kernels
def test_the_output_lies_as_channels_last_and_only_what_learns_gets_a_gradient():
    x, weight = torch.randn(2, 8, 5, 6), torch.randn(8, 1, 3, 3, requires_grad=True)
    y = depthwise_conv2d(x, weight)
    assert y.shape == (2, 8, 3, 4) and y.is_contiguous(memory_format=torch.channels_last)
    y.sum().backward()
    assert x.grad is None and weight.grad.shape == weight.shape
    bias = torch.zeros(8, requires_grad=True)
    depthwise_conv2d(x, weight.detach(), bias).sum().backward()
    assert torch.equal(bias.grad, torch.full((8,), 24.0))


def test_not_a_number_stays_one_and_no_images_give_none():
    x = torch.full((1, 4, 3, 3), torch.nan)
    y = depthwise_conv2d(x, torch.ones(4, 1, 3, 3), None, Window(1, (0, 0, 0, 0), True))
    assert y.isnan().all()
    empty = torch.zeros(0, 4, 3, 3, requires_grad=True)
    y = depthwise_conv2d(empty, torch.ones(4, 1, 3, 3))
    assert y.shape == (0, 4, 1, 1)


def test_what_the_kernel_does_not_take_goes_to_torch():
    x, weight = torch.randn(1, 4, 5, 6), torch.randn(4, 1, 3, 3)
    assert not is_kernel_for(x.double(), weight.double()) and not is_kernel_for(x.bfloat16(), weight.bfloat16())
    assert not is_kernel_for(x.to("meta"), weight.to("meta"))
    with torch.autocast("cpu", torch.bfloat16):
        assert not is_kernel_for(x, weight)
    with torch.no_grad():
        assert not is_kernel_for(x, weight)
        assert torch.equal(depthwise_conv2d(x, weight), F.conv2d(x, weight, groups=4))
    assert depthwise_conv2d(x.to("meta"), weight.to("meta")).shape == (1, 4, 3, 4)
    compiled = torch.compile(depthwise_conv2d, backend="aot_eager", fullgraph=True)
    torch.testing.assert_close(compiled(x, weight), depthwise_conv2d(x, weight))


@pytest.mark.parametrize(
    ("shape", "weight", "bias", "window", "message"),
    [
        ((4, 5, 6), (4, 1, 3, 3), None, Window(), r"x \(B, C, h, w\).*got x \(4, 5, 6\)"),
        ((1, 4, 5, 6), (3, 1, 3, 3), None, Window(), r"weight \(C, 1, rows, columns\); got .*weight \(3, 1, 3, 3\)"),
        ((1, 4, 5, 6), (4, 1, 3, 3), (3,), Window(), r"bias \(C,\); got .*bias \(3,\)"),
        ((1, 4, 5, 6), (4, 1, 3, 3), None, Window(0), "window.stride must be"),
        ((1, 4, 5, 6), (4, 1, 3, 3), None, Window(1, (3, 0, 0, 0)), "window.pads must be fewer"),
        ((1, 4, 5, 6), (4, 1, 3, 3), None, Window(1, (0, -1, 0, 0)), "window.pads must be fewer"),
        ((1, 4, 2, 6), (4, 1, 3, 3), None, Window(), "the map must be as large as the kernel"),
    ],
)
def test_what_does_not_fit_is_refused(shape, weight, bias, window, message):
    bias = None if bias is None else torch.zeros(bias)
    with pytest.raises(ValueError, match=message):
        depthwise_conv2d(torch.zeros(shape), torch.zeros(weight), bias, window)


@needs_kernels
def test_the_kernel_refuses_what_its_caller_should_have_refused():
    x, weight, out = (
        np.zeros((1, 5, 6, 4), np.float32),
        np.zeros((3, 3, 4), np.float32),
        np.zeros((1, 3, 4, 4), np.float32),
    )
    call = kernels.load("_depthwise").forward
    call(x, weight, None, 1, (0, 0, 0, 0), False, 1, out)
    with pytest.raises(ValueError, match="output rows as many as there are windows"):
        call(x, weight, None, 1, (1, 0, 0, 0), False, 1, out)
    with pytest.raises(ValueError, match="fewer zeros than the kernel's columns"):
        call(x, weight, None, 1, (0, 0, 0, 3), False, 1, out)
