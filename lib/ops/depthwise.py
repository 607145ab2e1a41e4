"""Depthwise convolution for training on a CPU, with ReLU6 after it in the same pass over memory."""

import functools
from typing import Any, NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from torch.autograd.function import once_differentiable

from lib.ops import kernels
from lib.ops.checks import check_positive, check_shapes, check_tensors


class Window(NamedTuple):
    """How a kernel moves over a map, and what surrounds it."""

    stride: int = 1
    pads: tuple[int, int, int, int] = (0, 0, 0, 0)  # zeros (above, below, left, right), fewer than the kernel's sides
    clip: bool = False  # whether ReLU6 comes after


PLAIN = Window()
is_kernel_for = functools.partial(kernels.is_for_training, "_depthwise")  # of (map, weight)


def depthwise_conv2d(
    x: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor | None = None, window: Window = PLAIN
) -> torch.Tensor:
    """A convolution of each channel with a kernel of its own.

    Args:
        x: (B, C, h, w) floating.
        weight: (C, 1, rows, columns). bias: (C,), or None.

    Returns:
        (B, C, h', w'), in memory as channels_last. Gradients reach x, weight and bias, once.
    """
    _check(x, weight, bias, window)
    if not is_kernel_for(x, weight) or not x.numel():
        return _in_torch(x, weight, bias, window)
    y: torch.Tensor = _Depthwise.apply(x, weight, bias, window)  # type: ignore[no-untyped-call]
    return y


def _in_torch(x: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor | None, window: Window) -> torch.Tensor:
    top, bottom, left, right = window.pads
    y = F.conv2d(F.pad(x, (left, right, top, bottom)), weight, bias, window.stride, groups=x.shape[1])
    return F.relu6(y) if window.clip else y


def _check(x: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor | None, window: Window) -> None:
    given = {"x": x, "weight": weight} | ({} if bias is None else {"bias": bias})
    check_tensors(**given)
    batch, channels, *size = x.shape if x.ndim == 4 else (-1,) * 4
    rows, columns = weight.shape[2:] if weight.ndim == 4 else (-1, -1)
    shapes = {
        "x": (x, "(B, C, h, w)", (batch, channels, *size)),
        "weight": (weight, "(C, 1, rows, columns)", (channels, 1, rows, columns)),
    }
    check_shapes(**shapes, **({} if bias is None else {"bias": (bias, "(C,)", (channels,))}))
    check_positive(window.stride, "window.stride")
    top, bottom, left, right = window.pads
    if not (0 <= top < rows and 0 <= bottom < rows and 0 <= left < columns and 0 <= right < columns):
        raise ValueError(f"window.pads must be fewer than the kernel's sides {rows, columns}; got {window.pads}")
    if x.shape[2] + top + bottom < rows or x.shape[3] + left + right < columns:
        raise ValueError(
            f"the map must be as large as the kernel's {rows, columns}; got {tuple(x.shape[2:])} and {window.pads} "
            "zeros: choose a larger input"
        )


class _Depthwise(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, x: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor | None, window: Window
    ) -> torch.Tensor:
        top, bottom, left, right = window.pads
        height = (x.shape[2] + top + bottom - weight.shape[2]) // window.stride + 1
        width = (x.shape[3] + left + right - weight.shape[3]) // window.stride + 1
        y = torch.empty((*x.shape[:2], height, width), memory_format=torch.channels_last)
        shift = None if bias is None else kernels.as_input(bias)
        kernel = kernels.needed("_depthwise")
        kernel.forward(_pixels(x), _own(weight), shift, *window, torch.get_num_threads(), _pixels(y))
        ctx.save_for_backward(x, weight, y if window.clip else None)  # what follows may work in place on y
        ctx.window = window
        return y

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: torch.Tensor) -> tuple[torch.Tensor | None, ...]:
        x, weight, y = ctx.saved_tensors
        for_x, for_weight, for_bias = ctx.needs_input_grad[:3]
        to_x = torch.empty_like(x, memory_format=torch.channels_last) if for_x else None
        to_weight = np.empty((*weight.shape[2:], len(weight)), np.float32) if for_weight or for_bias else None
        to_bias = torch.empty(len(weight)) if for_weight or for_bias else None
        kernels.needed("_depthwise").backward(
            *(
                _pixels(x),
                _own(weight),
                _pixels(gradient if y is None else y),
                _pixels(gradient),
                *ctx.window,
                torch.get_num_threads(),
            ),
            *(None if to_x is None else _pixels(to_x), to_weight, None if to_bias is None else to_bias.numpy()),
        )
        of_weight = torch.from_numpy(to_weight).permute(2, 0, 1)[:, None] if for_weight else None
        return to_x, of_weight, to_bias if for_bias else None, None


def _pixels(x: torch.Tensor) -> kernels.Array:
    """(B, C, h, w) -> (B, h, w, C), without a copy where it lies in memory so."""
    return kernels.as_input(x.detach().permute(0, 2, 3, 1))


def _own(weight: torch.Tensor) -> kernels.Array:
    """(C, 1, rows, columns) -> (rows, columns, C)."""
    return kernels.as_input(weight.detach()[:, 0].permute(1, 2, 0))
