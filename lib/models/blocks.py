"""The building blocks of backbones, necks and heads.

Every block takes ``(in_channels, out_channels, stride)`` and keeps the map's size at stride 1. A block's
stride changes no parameter's name or shape: stride surgery relies on it.
"""

from collections.abc import Callable, Collection
from functools import partial

import torch
from torch import nn

from lib.models.convolution import GroupedConv2d, PointwiseConv2d, SameConv2d, activated, folded, is_frozen
from lib.models.norm import normalized
from lib.utils.lookup import lookup

ACTIVATIONS: dict[str, Callable[..., nn.Module]] = {
    "relu": nn.ReLU,
    "relu6": nn.ReLU6,
    "leaky_relu": partial(nn.LeakyReLU, 0.1),  # as in Darknet
    "hard_swish": nn.Hardswish,
    "swish": nn.SiLU,
}
GATES = {"sigmoid": nn.Sigmoid, "hard_sigmoid": nn.Hardsigmoid}


def activation(name: str | None) -> nn.Module:
    """A new layer of that activation of ACTIVATIONS; None: one that changes nothing."""
    if name is None:
        return nn.Identity()
    make: Callable[..., nn.Module] = lookup(ACTIVATIONS, name, "act")
    return make(inplace=True)


class Conv(nn.Module):
    """Convolution, then BatchNorm unless ``norm`` is off, then the activation."""

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        stride: int = 1,
        *,
        kernel: int | tuple[int, int] = 3,  # side, or (height, width)
        groups: int = 1,
        dilation: int = 1,
        padding: int | None = None,  # pixels on each side; None: what keeps the map's size at stride 1
        same: bool = False,  # pads as TensorFlow does instead; see SameConv2d
        norm: bool = True,
        bias: bool | None = None,  # whether the convolution has one; None: if there is no BatchNorm
        act: str | None = "relu",
    ):
        super().__init__()
        height, width = (kernel, kernel) if isinstance(kernel, int) else kernel
        keeping = (dilation * (height - 1) // 2, dilation * (width - 1) // 2)
        pads = keeping if padding is None else (padding, padding)
        bias = not norm if bias is None else bias
        is_pointwise = (height, width) == (1, 1) and stride == groups == 1 and pads == (0, 0)
        full = PointwiseConv2d if is_pointwise else nn.Conv2d
        layer = SameConv2d if same else full if groups == 1 else GroupedConv2d
        self.conv = layer(in_channels, out_channels, (height, width), stride, pads, dilation, groups, bias=bias)
        self.norm = nn.BatchNorm2d(out_channels) if norm else nn.Identity()
        self.act = activation(act)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(B, in_channels, h, w) -> (B, out_channels, h', w')."""
        if self.training and is_frozen(self.norm):
            return activated(self.conv, x, *folded(self.conv, self.norm), self.act)
        return normalized(self.norm, self.act, self.conv(x))


class Chain(nn.Module):
    """Named stages, each run on the output of the one before; a tap can be any of them (``13.expand``).

    With ``residual`` the input is added to the output. The table says so, not the stride: a row whose stride is
    taken out must compute what it computed before, only denser.
    """

    residual = False

    def run(self, x: torch.Tensor, stages: Collection[str] = ()) -> tuple[torch.Tensor, dict[str, torch.Tensor]]:
        """The block's output, and that of each of the ``stages``."""
        y, kept = x, {}
        for name, stage in self.named_children():
            y = stage(y)
            if name in stages:
                kept[name] = y
        return x + y if self.residual else y, kept

    def stage_channels(self) -> dict[str, int]:
        """Output channels of the stages that can be tapped: those that are a ``Conv``."""
        stages = self.named_children()
        return {name: stage.conv.out_channels for name, stage in stages if isinstance(stage, Conv)}

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(B, in_channels, h, w) -> (B, out_channels, h', w')."""
        return self.run(x)[0]


class MaxPool(nn.Module):
    """Max pooling. An even kernel at stride 1 becomes the identity, because no padding keeps the map's size then."""

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        stride: int = 2,
        *,
        kernel: int = 2,
        ceil: bool = False,  # whether a last, incomplete window counts
        padding: int | None = None,  # pixels on each side; None: what keeps the map's size at stride 1, less at others
    ):
        super().__init__()
        assert in_channels == out_channels, f"a pool keeps its channels, got {in_channels} -> {out_channels}"
        kernel = 1 if kernel % 2 == 0 and stride == 1 else kernel
        padding = max(0, (kernel - stride) // 2) if padding is None else padding
        self.pool = nn.MaxPool2d(kernel, stride, padding=padding, ceil_mode=ceil)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(B, C, h, w) -> (B, C, h', w')."""
        y: torch.Tensor = self.pool(x)
        return y


class SqueezeExcite(nn.Module):
    """Scales each channel by a gate computed from the map's average (Hu et al. 2018, section 3).

    The hidden layer has ``squeezed`` channels and the activation ``act``; ``gate`` is a name of GATES.
    """

    def __init__(self, channels: int, squeezed: int, act: str = "relu", gate: str = "hard_sigmoid"):
        super().__init__()
        self.reduce = nn.Conv2d(channels, squeezed, 1)
        self.act = activation(act)
        self.expand = nn.Conv2d(squeezed, channels, 1)
        self.gate = GATES[gate]()

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(B, C, h, w) -> (B, C, h, w)."""
        average = x.mean(dim=(2, 3), keepdim=True)  # (B, C, 1, 1)
        gates: torch.Tensor = self.gate(self.expand(self.act(self.reduce(average))))  # (B, C, 1, 1)
        return x * gates


class L2Norm(nn.Module):
    """Scales each pixel's channel vector to a learned length per channel (ParseNet; SSD, section 3.1)."""

    def __init__(self, channels: int, scale: float = 20.0):
        super().__init__()
        self.weight = nn.Parameter(torch.full((channels,), scale))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(B, C, h, w) -> (B, C, h, w); the square is summed in float32 whatever the precision of x."""
        length = x.float().square().sum(dim=1, keepdim=True).sqrt() + 1e-10  # (B, 1, h, w)
        return (x / length).to(x.dtype) * self.weight.to(x.dtype)[:, None, None]
