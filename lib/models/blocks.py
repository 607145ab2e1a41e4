"""The building blocks of backbones, necks and heads.

Every block takes ``(in_channels, out_channels, stride)`` and keeps the map's size at stride 1. A block's
stride changes no parameter's name or shape: stride surgery relies on it.
"""

from __future__ import annotations

import torch
from torch import nn

ACTIVATIONS = {"relu": nn.ReLU, "relu6": nn.ReLU6}


class Conv(nn.Module):
    """Convolution, then BatchNorm unless ``norm`` is off (then a bias), then the activation.

    Args:
        padding: pixels on each side; by default what keeps the map's size at stride 1.
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        stride: int = 1,
        *,
        kernel: int = 3,
        groups: int = 1,
        dilation: int = 1,
        padding: int | None = None,
        norm: bool = True,
        act: str | None = "relu",
    ):
        super().__init__()
        padding = dilation * (kernel - 1) // 2 if padding is None else padding
        self.conv = nn.Conv2d(
            in_channels, out_channels, kernel, stride, padding, dilation, groups, bias=not norm
        )
        self.norm = nn.BatchNorm2d(out_channels) if norm else nn.Identity()
        self.act = nn.Identity() if act is None else ACTIVATIONS[act](inplace=True)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(B, in_channels, h, w) -> (B, out_channels, h', w')."""
        return self.act(self.norm(self.conv(x)))


class MaxPool(nn.Module):
    """Max pooling. An even kernel at stride 1 becomes the identity: no padding could keep the map's size.

    Args:
        ceil: whether a last, incomplete window counts.
    """

    def __init__(self, in_channels: int, out_channels: int, stride: int = 2, *, kernel: int = 2, ceil: bool = False):
        super().__init__()
        assert in_channels == out_channels, f"a pool keeps its channels, got {in_channels} -> {out_channels}"
        kernel = 1 if kernel % 2 == 0 and stride == 1 else kernel
        self.pool = nn.MaxPool2d(kernel, stride, padding=max(0, (kernel - stride) // 2), ceil_mode=ceil)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(B, C, h, w) -> (B, C, h', w')."""
        return self.pool(x)


class DepthwiseSeparable(nn.Module):
    """3x3 depthwise, then 1x1 convolution, each with BatchNorm and activation (MobileNetV1, section 3.1)."""

    def __init__(self, in_channels: int, out_channels: int, stride: int = 1, *, act: str | None = "relu"):
        super().__init__()
        self.depthwise = Conv(in_channels, in_channels, stride, groups=in_channels, act=act)
        self.pointwise = Conv(in_channels, out_channels, kernel=1, act=act)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(B, in_channels, h, w) -> (B, out_channels, h', w')."""
        return self.pointwise(self.depthwise(x))


class InvertedResidual(nn.Module):
    """1x1 expansion, 3x3 depthwise, linear 1x1 projection (MobileNetV2, section 3.3).

    Args:
        expansion: channels of the depthwise convolution per channel of the input.
        expand: whether the 1x1 expansion is there; without it ``expansion`` is 1.
        residual: whether the input is added to the output. Part of the table, not derived from the stride:
            a row whose stride is taken out must compute what it computed before, only denser.
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        stride: int = 1,
        *,
        expansion: int = 6,
        expand: bool = True,
        residual: bool = False,
        act: str | None = "relu6",
    ):
        super().__init__()
        hidden = in_channels * expansion
        self.expand = Conv(in_channels, hidden, kernel=1, act=act) if expand else nn.Identity()
        self.depthwise = Conv(hidden, hidden, stride, groups=hidden, act=act)
        self.project = Conv(hidden, out_channels, kernel=1, act=None)
        self.residual = residual

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(B, in_channels, h, w) -> (B, out_channels, h', w')."""
        y = self.project(self.depthwise(self.expand(x)))
        return x + y if self.residual else y


class L2Norm(nn.Module):
    """Scales each pixel's channel vector to a learnt length per channel (ParseNet; SSD, section 3.1)."""

    def __init__(self, channels: int, scale: float = 20.0):
        super().__init__()
        self.weight = nn.Parameter(torch.full((channels,), scale))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(B, C, h, w) -> (B, C, h, w); the square is summed in float32 whatever the precision of x."""
        length = x.float().square().sum(dim=1, keepdim=True).sqrt() + 1e-10  # (B, 1, h, w)
        return (x / length).to(x.dtype) * self.weight.to(x.dtype)[:, None, None]


class ExtraConv(nn.Module):
    """An extra level of SSD: 1x1 to half the channels, then 3x3, biases and ReLU, no BatchNorm."""

    def __init__(self, in_channels: int, out_channels: int, stride: int, padding: int):
        super().__init__()
        self.reduce = Conv(in_channels, out_channels // 2, kernel=1, norm=False)
        self.conv = Conv(out_channels // 2, out_channels, stride, padding=padding, norm=False)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(B, in_channels, h, w) -> (B, out_channels, h', w')."""
        return self.conv(self.reduce(x))


class ExtraSeparable(nn.Module):
    """An extra level of SSDLite: 1x1, 3x3 depthwise, 1x1, with BatchNorm; ReLU6 inside and ReLU after."""

    def __init__(self, in_channels: int, out_channels: int, stride: int, padding: int):
        super().__init__()
        self.reduce = Conv(in_channels, out_channels, kernel=1, act="relu6")
        self.depthwise = Conv(
            out_channels, out_channels, stride, groups=out_channels, padding=padding, act="relu6"
        )
        self.project = Conv(out_channels, out_channels, kernel=1, act="relu")

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(B, in_channels, h, w) -> (B, out_channels, h', w')."""
        return self.project(self.depthwise(self.reduce(x)))


def dense_predictor(in_channels: int, out_channels: int) -> nn.Module:
    """A 3x3 convolution with bias: the ancestor's predictor, in its "lite" variants too."""
    return nn.Conv2d(in_channels, out_channels, 3, padding=1)


def separable_predictor(in_channels: int, out_channels: int) -> nn.Module:
    """3x3 depthwise with BatchNorm and ReLU6, then 1x1 with bias: a tenth of the dense one's cost."""
    return nn.Sequential(
        Conv(in_channels, in_channels, groups=in_channels, act="relu6"),
        nn.Conv2d(in_channels, out_channels, 1),
    )
