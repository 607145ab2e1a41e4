"""Convolutions: trained by kernels of ours, padded as TensorFlow pads, with a frozen BatchNorm folded into them."""

from abc import abstractmethod
from typing import Any, TypeGuard

import torch
import torch.nn.functional as F
from torch import nn
from torch.autograd.function import once_differentiable
from torch.nn.modules.batchnorm import _BatchNorm

from lib.ops.depthwise import Window, depthwise_conv2d
from lib.ops.depthwise import is_kernel_for as is_depthwise_kernel_for
from lib.ops.pointwise import is_kernel_for as is_pointwise_kernel_for
from lib.ops.pointwise import pointwise_conv2d


class _SinglePrecisionBackward(torch.autograd.Function):
    """A convolution whose gradients are computed in float32, whatever the precision of its map and weights."""

    @staticmethod
    def forward(
        ctx: Any,
        x: torch.Tensor,
        weight: torch.Tensor,
        bias: torch.Tensor | None,
        stride: tuple[int, ...],
        padding: tuple[int, ...],
        dilation: tuple[int, ...],
        groups: int,
    ) -> torch.Tensor:
        ctx.save_for_backward(x, weight)
        ctx.options = (stride, padding, dilation, False, (0, 0), groups)
        ctx.bias_size = None if bias is None else list(bias.shape)
        return F.conv2d(x, weight, bias, stride, padding, dilation, groups)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: torch.Tensor) -> tuple[torch.Tensor | None, ...]:
        x, weight = ctx.saved_tensors
        wanted = [*ctx.needs_input_grad[:2], ctx.bias_size is not None and ctx.needs_input_grad[2]]
        gradients = torch.ops.aten.convolution_backward(
            gradient.float(), x.float(), weight.float(), ctx.bias_size, *ctx.options, wanted
        )
        to_x, to_weight, to_bias = (y if y is None else y.to(x.dtype) for y in gradients)
        return to_x, to_weight, to_bias, None, None, None, None


class FusedConv2d(nn.Conv2d):
    """A convolution that may be computed together with the ReLU6 after it."""

    @abstractmethod
    def convolved(
        self, x: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor | None, clip: bool = False
    ) -> torch.Tensor:
        """The convolution with other weights and bias, and ReLU6 after it where ``clip`` is set."""

    def _conv_forward(self, input: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor | None) -> torch.Tensor:
        return self.convolved(input, weight, bias)


class PointwiseConv2d(FusedConv2d):
    """A 1x1 convolution of stride 1, in one group, without padding. A kernel of ours trains it on a CPU
    (lib/ops/pointwise.py).
    """

    def convolved(
        self, x: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor | None, clip: bool = False
    ) -> torch.Tensor:
        """See ``FusedConv2d``."""
        if is_pointwise_kernel_for(x, weight) and x.is_contiguous(memory_format=torch.channels_last):
            return pointwise_conv2d(x, weight, bias, clip)
        y = F.conv2d(x, weight, bias)
        return F.relu6(y, inplace=True) if clip else y


class GroupedConv2d(FusedConv2d):
    """A convolution in groups. Where it is depthwise, a kernel of ours trains it on a CPU (lib/ops/depthwise.py).

    Other gradients under half-precision autocast on a CPU are computed in float32: oneDNN (torch 2.13) takes five to
    eight times as long for them in bf16. On maps smaller than the kernel, it also does not write the gradient of
    weights that meet only padding: they get whatever was in that memory, and now and then a step moves them by 10^8,
    or to NaN.
    """

    def pads(self, x: torch.Tensor) -> tuple[int, int, int, int]:
        """Zeros (above, below, left, right) of a map (B, C, h, w)."""
        vertical, horizontal = (int(pad) for pad in self.padding)
        return vertical, vertical, horizontal, horizontal

    def convolved(
        self, x: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor | None, clip: bool = False
    ) -> torch.Tensor:
        """See ``FusedConv2d``."""
        pads = self.pads(x)
        # Sizes are compared last: torch.export, for images of any size, is slow with each comparison.
        if self._is_depthwise and is_depthwise_kernel_for(x, weight) and self._is_suited(x, pads):
            return depthwise_conv2d(x, weight, bias, Window(self.stride[0], pads, clip=clip))
        top, bottom, left, right = pads
        if (top, left) == (bottom, right):
            y = _grouped(self, x, weight, bias, (top, left))
        else:
            y = _grouped(self, F.pad(x, (left, right, top, bottom)), weight, bias, (0, 0))
        return F.relu6(y, inplace=True) if clip else y

    def _is_suited(self, x: torch.Tensor, pads: tuple[int, int, int, int]) -> bool:
        """Whether the kernel takes the map and its padding."""
        return x.is_contiguous(memory_format=torch.channels_last) and max(pads) < min(self.kernel_size)

    @property
    def _is_depthwise(self) -> bool:
        is_square = self.stride[0] == self.stride[1] and self.dilation == (1, 1)
        return is_square and self.groups == self.in_channels == self.out_channels


class SameConv2d(GroupedConv2d):
    """A convolution padded as TensorFlow's "SAME": to ceil(size / stride), the odd pixel right and below.

    On a map of even size at stride 2 the windows are centered on the odd pixels, not on the even ones as with
    equal padding: there the law of the dual path does not hold.
    """

    def pads(self, x: torch.Tensor) -> tuple[int, int, int, int]:
        """See ``GroupedConv2d``; the output has the size (ceil(h / stride), ceil(w / stride))."""
        height, width = (self._padding_of(x, axis) for axis in (0, 1))
        return height // 2, height - height // 2, width // 2, width - width // 2

    def _padding_of(self, x: torch.Tensor, axis: int) -> int:
        """Pixels to add to the height (axis 0) or width (1), on both sides together."""
        reach = self.dilation[axis] * (self.kernel_size[axis] - 1) + 1
        size, stride = x.shape[2 + axis], self.stride[axis]
        if stride == 1:
            return reach - 1
        total = reach - stride + -size % stride
        return total if reach >= stride else max(total, 0)


def _grouped(
    layer: nn.Conv2d, x: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor | None, padding: tuple[int, int]
) -> torch.Tensor:
    """The layer's convolution with other weights, bias and padding."""
    options = (layer.stride, padding, layer.dilation, layer.groups)
    is_half = x.is_cpu and torch.is_autocast_enabled("cpu") and torch.is_grad_enabled()
    if not is_half or layer.groups == 1:
        return F.conv2d(x, weight, bias, *options)
    dtype = torch.get_autocast_dtype("cpu")
    with torch.autocast("cpu", enabled=False):
        given = (x.to(dtype), weight.to(dtype), None if bias is None else bias.to(dtype))
        y: torch.Tensor = _SinglePrecisionBackward.apply(*given, *options)  # type: ignore[no-untyped-call]
    return y


def is_frozen(norm: nn.Module) -> TypeGuard[_BatchNorm]:
    """Whether it is a BatchNorm that applies its running statistics and leaves them alone."""
    return isinstance(norm, _BatchNorm) and not norm.training


def folded(conv: nn.Conv2d, norm: _BatchNorm) -> tuple[torch.Tensor, torch.Tensor]:
    """Weights and bias of the convolution that equals ``conv`` and then a frozen ``norm``, which saves a pass over the
    map in each direction.

    They are computed anew in each call, so they follow the optimizer: that costs less than a hundredth of a step.
    conv's weights, and the norm's scale and shift, get their gradients if they learn. ``is_frozen(norm)`` must hold.
    """
    mean, variance = norm.running_mean, norm.running_var  # (out_channels,)
    assert mean is not None and variance is not None, "a norm without statistics cannot be frozen"
    scale = norm.weight * torch.rsqrt(variance + norm.eps)
    shift = norm.bias - (mean if conv.bias is None else mean - conv.bias) * scale
    return conv.weight * scale[:, None, None, None], shift


def activated(
    conv: nn.Conv2d, x: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor | None, act: nn.Module
) -> torch.Tensor:
    """``act`` of the convolution with other weights and bias: (B, in_channels, h, w) -> (B, out_channels, h', w')."""
    if isinstance(conv, FusedConv2d) and isinstance(act, nn.ReLU6):
        return conv.convolved(x, weight, bias, clip=True)
    y: torch.Tensor = act(conv._conv_forward(x, weight, bias))
    return y
