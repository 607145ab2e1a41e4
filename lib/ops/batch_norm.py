"""BatchNorm of a training step on a CPU, with the activation after it in the same passes over memory."""

import functools
from collections.abc import Callable
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from torch.autograd.function import once_differentiable

from lib.ops import kernels
from lib.ops.checks import check_shapes, check_tensors
from lib.utils.lookup import lookup

# In the order of csrc/batch_norm.hpp.
ACTIVATIONS: dict[str, Callable[[torch.Tensor], torch.Tensor]] = {
    "identity": lambda x: x,
    "relu": F.relu,
    "relu6": F.relu6,
    "hard_swish": F.hardswish,
    "swish": F.silu,
}

is_kernel_for = functools.partial(kernels.is_for_training, "_batch_norm")  # of (map, weight)


class Normalized(NamedTuple):
    """A normalized map and what it was normalized by."""

    map: torch.Tensor  # (B, C, h, w)
    mean: torch.Tensor  # (C,) over images and pixels
    variance: torch.Tensor  # (C,) the mean of the squares around it


def batch_norm(
    x: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor, epsilon: float = 1e-5, act: str = "identity"
) -> Normalized:
    """``act`` of the map normalized by its own mean and variance (Ioffe & Szegedy 2015, algorithm 1).

    Args:
        x: (B, C, h, w) floating, at least one pixel.
        weight, bias: (C,) scale and shift of the normalized map.
        act: a name of ACTIVATIONS.

    Returns:
        The map; on a CPU in float32 it lies in memory as channels_last. Gradients reach x, weight and bias, once.
    """
    check_tensors(x=x, weight=weight, bias=bias)
    batch, channels, *size = x.shape if x.ndim == 4 else (-1,) * 4
    shapes = {"x": (x, "(B, C, h, w)", (batch, channels, *size))}
    check_shapes(**shapes, weight=(weight, "(C,)", (channels,)), bias=(bias, "(C,)", (channels,)))
    function = lookup(ACTIVATIONS, act, "act")
    if not x.numel():
        raise ValueError(f"x must have at least one pixel to take statistics of; got {tuple(x.shape)}")
    if is_kernel_for(x, weight):
        return Normalized(*_BatchNorm.apply(x, weight, bias, epsilon, act))  # type: ignore[no-untyped-call]
    variance, mean = torch.var_mean(x, (0, 2, 3), correction=0)
    y = (x - mean[:, None, None]) * torch.rsqrt(variance + epsilon)[:, None, None]
    return Normalized(function(y * weight[:, None, None] + bias[:, None, None]), mean.detach(), variance.detach())


class _BatchNorm(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, x: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor, epsilon: float, act: str
    ) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        y = torch.empty_like(x, memory_format=torch.channels_last)
        mean, variance = torch.empty_like(weight), torch.empty_like(weight)
        options = (epsilon, list(ACTIVATIONS).index(act), torch.get_num_threads())
        given = (kernels.as_pixels(x), kernels.as_input(weight), kernels.as_input(bias))
        kernels.needed("_batch_norm").normalize(*given, *options, kernels.as_pixels(y), mean.numpy(), variance.numpy())
        ctx.save_for_backward(x, weight, bias, mean, variance)
        ctx.options = options
        ctx.mark_non_differentiable(mean, variance)
        return y, mean, variance

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: torch.Tensor, *_: Any) -> tuple[torch.Tensor | None, ...]:
        x, *parameters = ctx.saved_tensors
        weight, bias, mean, variance = map(kernels.as_input, parameters)
        to_x = torch.empty_like(x, memory_format=torch.channels_last)
        to_weight, to_bias = torch.empty(len(weight)), torch.empty(len(bias))
        kernels.needed("_batch_norm").normalize_backward(
            *(kernels.as_pixels(x), weight, bias, *ctx.options, mean, variance, kernels.as_pixels(gradient)),
            *(kernels.as_pixels(to_x), to_weight.numpy(), to_bias.numpy()),
        )
        gradients = zip((to_x, to_weight, to_bias), ctx.needs_input_grad, strict=False)
        return *(gradient if is_wanted else None for gradient, is_wanted in gradients), None, None
