"""Blocks of several convolutions: the rows of backbones. A stride changes none of their parameters."""

import torch
import torch.nn.functional as F
from torch import nn

from lib.models.blocks import Chain, Conv, SqueezeExcite, activation


class DepthwiseSeparable(Chain):
    """3x3 depthwise, then 1x1 convolution, each with BatchNorm and activation (MobileNetV1, section 3.1)."""

    def __init__(self, in_channels: int, out_channels: int, stride: int = 1, /, *, act: str | None = "relu"):
        super().__init__()
        self.depthwise = Conv(in_channels, in_channels, stride, groups=in_channels, act=act)
        self.pointwise = Conv(in_channels, out_channels, kernel=1, act=act)


class InvertedResidual(Chain):
    """1x1 expansion, depthwise, linear 1x1 projection (MobileNetV2, section 3.3; with squeeze-and-excite
    MobileNetV3, section 5.3; with ``fused`` one convolution instead of the first two, MobileDets, section 3.2).

    Args:
        hidden: channels of the expansion; None: those of the input.
        expand: whether the 1x1 expansion is there.
        fused: whether expansion and depthwise convolution are one full convolution.
        squeeze: hidden channels of the squeeze-and-excite stage; 0: there is none.
        squeeze_act, gate: the activations of that stage.
        squeeze_first: whether the depthwise convolution's activation comes after that stage instead of before it.
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        stride: int = 1,
        /,
        *,
        hidden: int | None = None,
        expand: bool = True,
        fused: bool = False,
        kernel: int = 3,
        squeeze: int = 0,
        squeeze_act: str = "relu",
        gate: str = "hard_sigmoid",
        squeeze_first: bool = False,
        residual: bool = False,
        act: str | None = "relu6",
        same: bool = False,
    ):
        super().__init__()
        hidden = hidden or in_channels
        if fused:
            self.expand = Conv(in_channels, hidden, stride, kernel=kernel, act=act, same=same)
        else:
            if expand:
                self.expand = Conv(in_channels, hidden, kernel=1, act=act)
            early = None if squeeze_first else act
            self.depthwise = Conv(hidden, hidden, stride, kernel=kernel, groups=hidden, act=early, same=same)
        if squeeze:
            self.squeeze = SqueezeExcite(hidden, squeeze, squeeze_act, gate)
        if squeeze_first and act:
            self.act = activation(act)
        self.project = Conv(hidden, out_channels, kernel=1, act=None)
        self.residual = residual


class Tucker(Chain):
    """1x1 to fewer channels, a full convolution, linear 1x1 (MobileDets, section 3.3: generalized bottleneck).

    Args:
        ranks: channels before and after the full convolution.
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        stride: int = 1,
        *,
        ranks: tuple[int, int],
        kernel: int = 3,
        residual: bool = False,
        act: str = "relu6",
    ):
        super().__init__()
        self.reduce = Conv(in_channels, ranks[0], kernel=1, act=act)
        self.conv = Conv(*ranks, stride, kernel=kernel, act=act)
        self.project = Conv(ranks[1], out_channels, kernel=1, act=None)
        self.residual = residual


class ReduceConv(Chain):
    """1x1 convolution to ``hidden`` channels, then 3x3 (YOLO9000, section 3; with ``residual`` YOLOv3, section 2.4)."""

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        stride: int = 1,
        *,
        hidden: int,
        residual: bool = False,
        act: str = "relu",
    ):
        super().__init__()
        self.reduce = Conv(in_channels, hidden, kernel=1, act=act)
        self.conv = Conv(hidden, out_channels, stride, act=act)
        self.residual = residual


class Sandglass(Chain):
    """Depthwise, linear 1x1 reduction, 1x1 expansion, linear depthwise (MobileNeXt, section 3.2).

    Args:
        hidden: channels between the two 1x1 convolutions.
        first, last: which of the depthwise convolutions are there; the last of them has the stride.
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        stride: int = 1,
        /,
        *,
        hidden: int,
        first: bool = True,
        last: bool = True,
        residual: bool = False,
    ):
        super().__init__()
        assert first or last or stride == 1, "without a depthwise convolution the stride must be 1"
        first_stride = 1 if last else stride
        if first:
            self.first = Conv(in_channels, in_channels, first_stride, groups=in_channels, act="relu6")
        self.reduce = Conv(in_channels, hidden, kernel=1, act=None)
        self.expand = Conv(hidden, out_channels, kernel=1, act="relu6")
        if last:
            self.last = Conv(out_channels, out_channels, stride, groups=out_channels, act=None)
        self.residual = residual


class Residual(nn.Module):
    """ResNet's blocks (He et al. 2016, figure 5): two 3x3 convolutions, or 1x1, 3x3, 1x1.

    The first 3x3 convolution has the stride. Without ``bottleneck`` another 3x3 convolution follows it, so the law
    of the dual path does not hold for such rows.

    Args:
        bottleneck: channels of the 3x3 convolution between the 1x1 ones; None: two 3x3 convolutions.
        project: whether the shortcut is a 1x1 convolution.
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        stride: int = 1,
        *,
        bottleneck: int | None = None,
        project: bool = False,
    ):
        super().__init__()
        if bottleneck:
            first = (Conv(in_channels, bottleneck, kernel=1), Conv(bottleneck, bottleneck, stride))
            self.convs = nn.Sequential(*first, Conv(bottleneck, out_channels, kernel=1, act=None))
        else:
            first_conv = Conv(in_channels, out_channels, stride)
            self.convs = nn.Sequential(first_conv, Conv(out_channels, out_channels, act=None))
        self.shortcut = Conv(in_channels, out_channels, stride, kernel=1, act=None) if project else nn.Identity()

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(B, in_channels, h, w) -> (B, out_channels, h', w')."""
        return F.relu(self.convs(x) + self.shortcut(x))
