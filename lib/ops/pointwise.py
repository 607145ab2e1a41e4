"""1x1 convolution for training on a CPU, with bias and ReLU6 in the same pass over memory."""

import functools
from typing import Any

import torch
import torch.nn.functional as F
from torch.autograd.function import once_differentiable

from lib.ops import kernels
from lib.ops.checks import check_shapes, check_tensors

is_kernel_for = functools.partial(kernels.is_for_training, "_pointwise")  # of (map, weight)


def pointwise_conv2d(
    x: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor | None = None, clip: bool = False
) -> torch.Tensor:
    """A 1x1 convolution of stride 1, and ReLU6 after it with ``clip``.

    Args:
        x: (B, C, h, w) floating.
        weight: (outputs, C, 1, 1). bias: (outputs,), or None.

    Returns:
        (B, outputs, h, w), in memory as channels_last. Gradients reach x, weight and bias, once.
    """
    _check(x, weight, bias)
    if is_kernel_for(x, weight) and x.numel() and weight.numel():
        y: torch.Tensor = _Pointwise.apply(x, weight, bias, clip)  # type: ignore[no-untyped-call]
        return y
    y = F.conv2d(x, weight, bias)
    return F.relu6(y) if clip else y


def _check(x: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor | None) -> None:
    given = {"x": x, "weight": weight} | ({} if bias is None else {"bias": bias})
    check_tensors(**given)
    batch, channels, *size = x.shape if x.ndim == 4 else (-1,) * 4
    outputs = weight.shape[0] if weight.ndim else -1
    shapes = {
        "x": (x, "(B, C, h, w)", (batch, channels, *size)),
        "weight": (weight, "(outputs, C, 1, 1)", (outputs, channels, 1, 1)),
    }
    check_shapes(**shapes, **({} if bias is None else {"bias": (bias, "(outputs,)", (outputs,))}))


class _Pointwise(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor | None, clip: bool) -> torch.Tensor:
        y = torch.empty((x.shape[0], len(weight), *x.shape[2:]), memory_format=torch.channels_last)
        shift = None if bias is None else kernels.as_input(bias)
        kernel = kernels.needed("_pointwise")
        kernel.convolve(
            kernels.as_pixels(x), _matrix(weight), shift, clip, torch.get_num_threads(), kernels.as_pixels(y)
        )
        ctx.save_for_backward(x, weight, y if clip else None)  # what follows may work in place on y
        return y

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: torch.Tensor) -> tuple[torch.Tensor | None, ...]:
        x, weight, y = ctx.saved_tensors
        for_x, for_weight, for_bias = ctx.needs_input_grad[:3]
        to_x = torch.empty_like(x, memory_format=torch.channels_last) if for_x else None
        to_weight = torch.empty(weight.shape) if for_weight or for_bias else None
        to_bias = torch.empty(len(weight)) if for_weight or for_bias else None
        of_output = kernels.as_pixels(gradient)
        kernels.needed("_pointwise").convolve_backward(
            *(kernels.as_pixels(x), _matrix(weight), of_output if y is None else kernels.as_pixels(y), of_output),
            *(y is not None, torch.get_num_threads()),
            None if to_x is None else kernels.as_pixels(to_x),
            *(None, None) if to_weight is None or to_bias is None else (_matrix(to_weight), to_bias.numpy()),
        )
        return to_x, to_weight if for_weight else None, to_bias if for_bias else None, None


def _matrix(weight: torch.Tensor) -> kernels.Array:
    """(outputs, C, 1, 1) -> (outputs, C), without a copy where it lies in memory so."""
    return kernels.as_input(weight.detach()[:, :, 0, 0])
