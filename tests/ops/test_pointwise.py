"""The 1x1 convolution: values and gradients are those of torch in double precision, for any number of channels."""

import functools
import itertools

import numpy as np
import pytest
import torch
from gradients import assert_same_bits_with_any_threads, values_and_gradients

from lib.ops import kernels
from lib.ops.pointwise import is_kernel_for, pointwise_conv2d

needs_kernels = pytest.mark.skipif(kernels.load("_pointwise") is None, reason="csrc/build.py built no kernels here")
CASES = [  # (images, channels, height, width), outputs: blocks and panels that are full and that are not
    ((2, 16, 7, 10), 24),
    ((3, 1, 1, 1), 1),
    ((1, 33, 9, 4), 5),
    ((2, 24, 13, 23), 144),
    ((1, 300, 6, 5), 17),
    ((4, 48, 31, 29), 40),  # several parts
]


def oracle(x, weight, bias, clip):
    y = torch.einsum("bchw,oc->bohw", x, weight[:, :, 0, 0])
    y = y if bias is None else y + bias[:, None, None]
    return y.clamp(0, 6) if clip else y


@pytest.mark.parametrize(("shape", "outputs"), CASES)
def test_values_and_gradients_are_those_of_double_precision(shape, outputs):
    generator = torch.Generator().manual_seed(0)
    x = torch.randint(-8, 9, shape, generator=generator) / 4  # sums that are exact: no bound of ReLU6 is a near miss
    weight = torch.randint(-4, 5, (outputs, shape[1], 1, 1), generator=generator) / 4
    for clip, has_bias in itertools.product([False, True], repeat=2):
        bias = torch.randint(-4, 5, (outputs,), generator=generator) / 4 + 1 / 32 if has_bias else None
        found = values_and_gradients(functools.partial(pointwise_conv2d, clip=clip), torch.float32, x, weight, bias)
        wanted = values_and_gradients(functools.partial(oracle, clip=clip), torch.float64, x, weight, bias)
        assert len(found) == 3 + has_bias
        assert torch.equal(found[0].double(), wanted[0])
        if clip and not has_bias:
            continue  # clamp and ReLU6 differ in the gradient at 0 itself
        for mine, exact in zip(found[1:], wanted[1:], strict=True):
            torch.testing.assert_close(mine.double(), exact, rtol=1e-5, atol=1e-5 * float(exact.abs().max()) + 1e-6)


def test_a_literal_case_with_both_bounds_of_relu6():
    x = torch.tensor([[[[1.0, 2.0]], [[3.0, -4.0]]]], requires_grad=True)  # (1, 2, 1, 2)
    weight = torch.tensor([[[[1.0]], [[2.0]]], [[[0.5]], [[-1.0]]]], requires_grad=True)
    bias = torch.tensor([-1.0, 0.5], requires_grad=True)
    y = pointwise_conv2d(x, weight, bias, clip=True)
    assert y.tolist() == [[[[6.0, 0.0]], [[0.0, 5.5]]]]  # before ReLU6: 6, -7; -2, 5.5
    y.backward(torch.tensor([[[[1.0, 10.0]], [[100.0, 1000.0]]]]))
    assert x.grad.tolist() == [[[[0.0, 500.0]], [[0.0, -1000.0]]]]
    assert weight.grad.flatten().tolist() == [0.0, 0.0, 2000.0, -4000.0]
    assert bias.grad.tolist() == [0.0, 1000.0]


@needs_kernels
def test_any_number_of_threads_gives_the_same_bits():
    torch.manual_seed(0)
    given = torch.randn(3, 50, 31, 32), torch.randn(70, 50, 1, 1), torch.randn(70)
    assert_same_bits_with_any_threads(functools.partial(pointwise_conv2d, clip=True), *given)


@needs_kernels
def test_the_output_lies_as_channels_last_and_only_what_learns_gets_a_gradient():
    x, weight = torch.randn(2, 8, 5, 6), torch.randn(4, 8, 1, 1, requires_grad=True)
    y = pointwise_conv2d(x, weight)
    assert y.shape == (2, 4, 5, 6) and y.is_contiguous(memory_format=torch.channels_last)
    y.sum().backward()
    assert x.grad is None
    torch.testing.assert_close(weight.grad, x.sum((0, 2, 3)).expand(4, 8)[:, :, None, None])
    bias = torch.zeros(4, requires_grad=True)
    pointwise_conv2d(x, weight.detach(), bias).sum().backward()
    assert bias.grad.tolist() == [60.0] * 4


def test_not_a_number_stays_one_and_no_images_give_none():
    y = pointwise_conv2d(torch.full((1, 4, 3, 3), torch.nan), torch.ones(2, 4, 1, 1), None, True)
    assert y.isnan().all()
    empty = torch.zeros(0, 4, 3, 5, requires_grad=True)
    assert pointwise_conv2d(empty, torch.ones(2, 4, 1, 1)).shape == (0, 2, 3, 5)


def test_what_the_kernel_does_not_take_goes_to_torch():
    x, weight = torch.randn(1, 4, 5, 6), torch.randn(3, 4, 1, 1)
    assert not is_kernel_for(x.double(), weight.double()) and not is_kernel_for(x.to("meta"), weight.to("meta"))
    with torch.autocast("cpu", torch.bfloat16):
        assert not is_kernel_for(x, weight)
    with torch.no_grad():
        assert not is_kernel_for(x, weight)
        torch.testing.assert_close(pointwise_conv2d(x, weight), oracle(x, weight, None, False))
    compiled = torch.compile(pointwise_conv2d, backend="aot_eager", fullgraph=True)
    torch.testing.assert_close(compiled(x, weight), pointwise_conv2d(x, weight))


@pytest.mark.parametrize(
    ("shape", "weight", "bias", "message"),
    [
        ((4, 5, 6), (4, 1, 1, 1), None, r"x \(B, C, h, w\).*got x \(4, 5, 6\)"),
        ((1, 4, 5, 6), (3, 3, 1, 1), None, r"weight \(outputs, C, 1, 1\); got .*weight \(3, 3, 1, 1\)"),
        ((1, 4, 5, 6), (3, 4, 3, 3), None, r"weight \(outputs, C, 1, 1\); got .*weight \(3, 4, 3, 3\)"),
        ((1, 4, 5, 6), (3, 4, 1, 1), (4,), r"bias \(outputs,\); got .*bias \(4,\)"),
    ],
)
def test_what_does_not_fit_is_refused(shape, weight, bias, message):
    bias = None if bias is None else torch.zeros(bias)
    with pytest.raises(ValueError, match=message):
        pointwise_conv2d(torch.zeros(shape), torch.zeros(weight), bias)


@needs_kernels
def test_the_kernel_refuses_what_its_caller_should_have_refused():
    x, weight, out = (np.zeros(shape, np.float32) for shape in ((30, 4), (5, 4), (30, 5)))
    call = kernels.load("_pointwise").convolve
    call(x, weight, None, False, 1, out)
    with pytest.raises(ValueError, match="as many pixels of the output as of the map"):
        call(x[1:], weight, None, False, 1, out)
    with pytest.raises(ValueError, match=r"weights \(outputs, inputs\)"):
        call(x, weight[1:], None, False, 1, out)
    with pytest.raises(ValueError, match=r"bias \(outputs,\)"):
        call(x, weight, np.zeros(4, np.float32), False, 1, out)
