"""BatchNorm with its activation: values, gradients and statistics are those of torch in double precision."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from gradients import assert_same_bits_with_any_threads, values_and_gradients

from lib.ops import kernels
from lib.ops.batch_norm import ACTIVATIONS, batch_norm, is_kernel_for

needs_kernels = pytest.mark.skipif(kernels.load("_batch_norm") is None, reason="csrc/build.py built no kernels here")
SHAPES = [(2, 16, 7, 10), (3, 1, 5, 4), (1, 33, 1, 2), (2, 300, 3, 5), (4, 24, 90, 61), (1, 8, 1, 1)]


@pytest.mark.parametrize("act", ACTIVATIONS)
@pytest.mark.parametrize("shape", SHAPES)
def test_values_and_gradients_are_those_of_double_precision(shape, act):
    generator = torch.Generator().manual_seed(0)
    spread, level = (
        4 * torch.rand(shape[1], 1, 1, generator=generator),
        torch.randn(shape[1], 1, 1, generator=generator),
    )
    x = torch.randn(shape, generator=generator) * spread + 3 * level
    weight, bias = torch.randn(shape[1], generator=generator) * 2, torch.randn(shape[1], generator=generator)

    def oracle(x, weight, bias):
        centered = x - x.mean((0, 2, 3), keepdim=True)
        y = centered / (centered.square().mean((0, 2, 3), keepdim=True) + 1e-3).sqrt()
        return ACTIVATIONS[act](y * weight[:, None, None] + bias[:, None, None])

    found = values_and_gradients(lambda *given: batch_norm(*given, 1e-3, act).map, torch.float32, x, weight, bias)
    wanted = values_and_gradients(oracle, torch.float64, x, weight, bias)
    for mine, exact in zip(found, wanted, strict=True):
        torch.testing.assert_close(mine.double(), exact, rtol=2e-4, atol=2e-5 * float(exact.abs().max()) + 1e-5)


def test_statistics_are_those_of_the_map():
    x = torch.tensor([[1.0, 2.0], [5.0, 4.0]]).reshape(2, 1, 1, 2)
    result = batch_norm(x, torch.ones(1), torch.zeros(1), 0.0)
    assert float(result.mean) == 3.0 and float(result.variance) == 2.5  # (4 + 1 + 4 + 1) / 4
    assert not result.mean.requires_grad
    expected = torch.tensor([-2.0, -1.0, 2.0, 1.0]) / 2.5**0.5
    torch.testing.assert_close(result.map.flatten(), expected)


def test_a_large_mean_costs_no_digits_of_the_variance():
    noise = torch.randn(2, 3, 40, 30, generator=torch.Generator().manual_seed(0))
    x = noise + 4096
    exact = torch.var(x.double(), (0, 2, 3), correction=0)
    found = batch_norm(x.requires_grad_(), torch.ones(3), torch.zeros(3)).variance
    torch.testing.assert_close(found.double(), exact, rtol=1e-5, atol=0)


@needs_kernels
def test_any_number_of_threads_gives_the_same_bits():
    torch.manual_seed(0)
    given = torch.randn(3, 40, 50, 37), torch.randn(40), torch.randn(40)
    assert_same_bits_with_any_threads(lambda *given: batch_norm(*given, act="hard_swish").map, *given)


@needs_kernels
def test_the_output_lies_as_channels_last_and_only_what_learns_gets_a_gradient():
    x, weight, bias = torch.randn(2, 8, 5, 6), torch.ones(8, requires_grad=True), torch.zeros(8)
    y = batch_norm(x, weight, bias).map
    assert y.is_contiguous(memory_format=torch.channels_last)
    y.sum().backward()
    assert x.grad is None and bias.grad is None and weight.grad.shape == (8,)


def test_not_a_number_stays_one_and_an_empty_map_is_refused():
    x = torch.randn(1, 2, 3, 4)
    x[0, 1, 2, 3] = torch.nan
    y = batch_norm(x, torch.ones(2), torch.zeros(2), act="relu6").map
    assert y[0, 1].isnan().all() and not y[0, 0].isnan().any()
    with pytest.raises(ValueError, match=r"at least one pixel.*got \(0, 2, 3, 4\)"):
        batch_norm(torch.zeros(0, 2, 3, 4), torch.ones(2), torch.zeros(2))


def test_what_the_kernel_does_not_take_goes_to_torch():
    x, weight, bias = torch.randn(2, 4, 5, 6), torch.randn(4), torch.randn(4)
    assert not is_kernel_for(x.double(), weight.double()) and not is_kernel_for(x.bfloat16(), weight)
    with torch.no_grad():
        assert not is_kernel_for(x, weight)
        plain = batch_norm(x, weight, bias, act="relu").map
    torch.testing.assert_close(plain, F.relu(F.batch_norm(x, None, None, weight, bias, True)))
    compiled = torch.compile(lambda x: batch_norm(x, weight, bias).map, backend="aot_eager", fullgraph=True)
    torch.testing.assert_close(compiled(x), batch_norm(x, weight, bias).map)


@pytest.mark.parametrize(
    ("shape", "channels", "act", "message"),
    [
        ((4, 5, 6), 4, "relu", r"x \(B, C, h, w\).*got x \(4, 5, 6\)"),
        ((1, 4, 5, 6), 3, "relu", r"weight \(C,\).*weight \(3,\)"),
        ((1, 4, 5, 6), 4, "relu7", "act must be one of .*relu6"),
    ],
)
def test_what_does_not_fit_is_refused(shape, channels, act, message):
    with pytest.raises(ValueError, match=message):
        batch_norm(torch.zeros(shape), torch.zeros(channels), torch.zeros(channels), act=act)


@needs_kernels
def test_the_kernel_refuses_what_its_caller_should_have_refused():
    x, values, out = np.zeros((6, 4), np.float32), np.zeros(4, np.float32), np.zeros((6, 4), np.float32)
    call = kernels.load("_batch_norm").normalize
    call(x, values, values, 1e-5, 0, 1, out, values.copy(), values.copy())
    with pytest.raises(ValueError, match=r"weight and bias \(C,\)"):
        call(x, values[:3], values, 1e-5, 0, 1, out, values.copy(), values.copy())
    with pytest.raises(ValueError, match="an activation of 0 to 4"):
        call(x, values, values, 1e-5, 5, 1, out, values.copy(), values.copy())
