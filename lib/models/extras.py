"""The extra layers of necks: their blocks, and how a config lists them."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import nn

from lib.models.blocks import Chain, Conv
from lib.models.bottlenecks import DepthwiseSeparable, InvertedResidual, Sandglass
from lib.utils.lookup import build

# the convolutions of one branch of a receptive field, each as (channels, kernel, stride, dilation)
Branch = Sequence[tuple[int, int | tuple[int, int], int, int]]


class ExtraConv(Chain):
    """An extra layer of SSD: 1x1 to half the channels, then a convolution (SSD, section 2.1).

    Args:
        padding: on each side; by default 1 at stride 2, 0 at stride 1, which makes the map smaller.
        kernel: of the second convolution.
        norm: BatchNorm instead of biases.
        act: after each convolution; None: nothing.
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        stride: int = 1,
        /,
        *,
        padding: int | None = None,
        kernel: int = 3,
        norm: bool = False,
        act: str | None = "relu",
    ):
        super().__init__()
        padding, half = stride - 1 if padding is None else padding, out_channels // 2
        self.reduce = Conv(in_channels, half, kernel=1, norm=norm, act=act)
        self.conv = Conv(half, out_channels, stride, kernel=kernel, padding=padding, norm=norm, act=act)


class ExtraSeparable(Chain):
    """An extra layer of SSDLite: 1x1, 3x3 depthwise, 1x1, with BatchNorm and ReLU6 inside.

    Args:
        padding: see ``ExtraConv``. act: after the last convolution; None: nothing.
        hidden: channels inside; None: those of the output; a fraction: that share of them.
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        stride: int = 1,
        /,
        *,
        padding: int | None = None,
        hidden: float | None = None,
        act: str | None = "relu",
    ):
        super().__init__()
        padding = stride - 1 if padding is None else padding
        hidden = 1.0 * out_channels if hidden is None else hidden
        inside = int(hidden * out_channels) if hidden < 1 else int(hidden)
        self.reduce = Conv(in_channels, inside, kernel=1, act="relu6")
        self.depthwise = Conv(inside, inside, stride, groups=inside, padding=padding, act="relu6")
        self.project = Conv(inside, out_channels, kernel=1, act=act)


class ReceptiveField(nn.Module):
    """Branches of growing dilation, joined: a block of RFBNet (Liu et al. 2018, section 3.2, figure 4).

    Args:
        branches: for each, its convolutions as (channels, kernel, stride, dilation); the last of a branch has
            no activation.
        project: whether the shortcut is a 1x1 convolution.
    """

    def __init__(self, in_channels: int, out_channels: int, stride: int, branches: Sequence[Branch], project: bool):
        super().__init__()
        self.branches = nn.ModuleList()
        for branch in branches:
            convs, channels = nn.Sequential(), in_channels
            for width, kernel, conv_stride, dilation in branch:
                act = None if len(convs) == len(branch) - 1 else "relu"
                convs.append(Conv(channels, width, conv_stride, kernel=kernel, dilation=dilation, act=act))
                channels = width
            self.branches.append(convs)
        joined = sum(branch[-1][0] for branch in branches)
        self.join = Conv(joined, out_channels, kernel=1, act=None)
        self.shortcut = Conv(in_channels, out_channels, stride, kernel=1, act=None) if project else nn.Identity()

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(B, in_channels, h, w) -> (B, out_channels, h', w')."""
        joined = torch.cat([branch(x) for branch in self.branches], dim=1)
        return F.relu(self.join(joined) + self.shortcut(x))


def rfb_fine(channels: int, lite: bool = False) -> nn.Module:
    """RFBNet's block for the finest map ("RFB-s"): four branches of dilation 1, 3, 3, 5 instead of L2Norm."""
    width = channels // 4
    branches: list[Branch] = [
        [(width, 1, 1, 1), (width, 3, 1, 1)],
        [(width, 1, 1, 1), (width, (3, 1), 1, 1), (width, 3, 1, 3)],
        [(width, 1, 1, 1), (width, (1, 3), 1, 1), (width, 3, 1, 3)],
        [(width // 2, 1, 1, 1), (width // 4 * 3, (1, 3), 1, 1), (width, (3, 1), 1, 1), (width, 3, 1, 5)],
    ]
    return ReceptiveField(channels, channels, 1, branches, project=not lite)


def rfb(in_channels: int, out_channels: int, stride: int = 1, /) -> nn.Module:
    """RFBNet's block as the BMVC code has it: two branches of dilation 3 and 5."""
    width = in_channels // 8
    branches: list[Branch] = [
        [(width, 1, 1, 1), (2 * width, 3, stride, 1), (2 * width, 3, 1, 3)],
        [(width, 1, 1, 1), (width // 2 * 3, 3, 1, 1), (2 * width, 3, stride, 1), (2 * width, 3, 1, 5)],
    ]
    return ReceptiveField(in_channels, out_channels, stride, branches, project=True)


def rfb_lite(in_channels: int, out_channels: int, stride: int = 1, /) -> nn.Module:
    """The same, narrower; its dilated convolutions are dense, as in the BMVC code."""
    width, wide = in_channels // 8, in_channels // 16 * 3
    branches: list[Branch] = [
        [(width, 1, 1, 1), (wide, (1, 3), 1, 1), (wide, (3, 1), stride, 1), (wide, 3, 1, 3)],
        [(width, 1, 1, 1), (wide, 3, 1, 1), (wide, 3, stride, 1), (wide, 3, 1, 5)],
    ]
    return ReceptiveField(in_channels, out_channels, stride, branches, project=in_channels != out_channels)


EXTRAS: dict[str, Callable[..., nn.Module]] = {
    "conv": ExtraConv,
    "separable": ExtraSeparable,
    "inverted": InvertedResidual,
    "sandglass": Sandglass,
    "depthwise": DepthwiseSeparable,
    "rfb": rfb,
    "rfb_lite": rfb_lite,
}
KEYS = ("channels", "stride", "padding")  # of an extra layer that is given as a list


def make_extras(
    in_channels: int, extras: Sequence[Any], extra: Mapping[str, Any] | None = None
) -> tuple[nn.ModuleList, list[int]]:
    """Extra layers, each on the output of the one before, and the channels of each one's output.

    Args:
        extras: for each ``[channels, stride]``, ``[channels, stride, padding]``, or a mapping with ``channels``
            and any option of its block.
        extra: ``{type, options}`` of those that do not say otherwise; None: ``conv``.
    """
    default = {"type": "conv", **(extra or {})}
    layers, channels = nn.ModuleList(), []
    for index, given in enumerate(extras):
        where = f"model.neck.extras[{index}]"
        values = given if isinstance(given, list | tuple) else [None]
        mine = given if isinstance(given, Mapping) else dict(zip(KEYS, values, strict=False))
        options = {**(default if mine.get("type", default["type"]) == default["type"] else {}), **mine}
        out_channels, stride = options.pop("channels", None), options.pop("stride", 1)
        is_whole = isinstance(out_channels, int) and isinstance(stride, int)
        if not is_whole or out_channels < 1 or stride < 1:
            raise ValueError(f"{where} must say its channels and its stride, such as [256, 2]; got {given}")
        layers.append(build(EXTRAS, options, where, in_channels, out_channels, stride))
        channels.append(out_channels)
        in_channels = out_channels
    return layers, channels
