"""One MultiBox head, whose predictors are the rows of PREDICTORS."""

import copy
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import Any

import torch
from torch import nn

from lib.models.blocks import Conv
from lib.models.convolution import GroupedConv2d, PointwiseConv2d
from lib.models.norm import normalized


class PerLevel(nn.ModuleList):
    """A predictor for each map: ``make`` is called with channels in and out, and whether it is the last level."""

    def __init__(
        self, make: Callable[[int, int, bool], nn.Module], in_channels: Sequence[int], out_channels: Sequence[int]
    ):
        last = len(in_channels) - 1
        pairs = enumerate(zip(in_channels, out_channels, strict=True))
        super().__init__(make(channels, outputs, level == last) for level, (channels, outputs) in pairs)

    def forward(self, maps: Sequence[torch.Tensor]) -> list[torch.Tensor]:
        """[(B, C_l, h_l, w_l)] -> [(B, out_channels_l, h_l, w_l)]."""
        return [predict(x) for predict, x in zip(self, maps, strict=True)]


class Shared(nn.Module):
    """One separable predictor for all maps, with a BatchNorm for each level, because their statistics differ
    (EfficientDet, section 3.3; Ghiasi et al. 2019, section 4).
    """

    def __init__(self, in_channels: Sequence[int], out_channels: Sequence[int]):
        super().__init__()
        if len(set(in_channels)) > 1 or len(set(out_channels)) > 1:
            raise ValueError(
                "a shared predictor needs maps of equal channels and model.priors.ratios of equal length; got "
                f"channels {list(in_channels)}, outputs {list(out_channels)}: choose model.head.predictor=separable"
            )
        channels = in_channels[0]
        self.depthwise = GroupedConv2d(channels, channels, 3, padding=1, groups=channels, bias=False)
        self.norms = nn.ModuleList(nn.BatchNorm2d(channels) for _ in in_channels)
        self.act = nn.ReLU6()
        self.pointwise = PointwiseConv2d(channels, out_channels[0], 1)

    def forward(self, maps: Sequence[torch.Tensor]) -> list[torch.Tensor]:
        """[(B, C, h_l, w_l)] -> [(B, out_channels, h_l, w_l)]."""
        return [
            self.pointwise(normalized(norm, self.act, self.depthwise(x)))
            for norm, x in zip(self.norms, maps, strict=True)
        ]

    def unshared(self) -> PerLevel:
        """The same with a copy of the depthwise convolution for each level, so that its norm can be folded into it.

        That saves a pass over each map; and OpenVINO 2026.4 in int8 gives all levels the norm of the first one where
        they share their weights.
        """
        norms: Iterator[Any] = iter(self.norms)

        def make(in_channels: int, out_channels: int, _: bool) -> nn.Module:
            block = Conv(in_channels, in_channels, groups=in_channels, act="relu6")
            block.conv, block.norm = copy.deepcopy(self.depthwise), next(norms)
            return nn.Sequential(block, self.pointwise)

        channels = (self.pointwise.in_channels, self.pointwise.out_channels)
        return PerLevel(make, *([count] * len(self.norms) for count in channels))


def _dense(in_channels: int, out_channels: int, is_last: bool) -> nn.Module:
    """A 3x3 convolution with bias: the BMVC code's predictor, in its "lite" variants too."""
    return nn.Conv2d(in_channels, out_channels, 3, padding=1)


def _separable(in_channels: int, out_channels: int, is_last: bool, bias: bool = False) -> nn.Module:
    """3x3 depthwise with BatchNorm and ReLU6, then 1x1 with bias: a tenth of the dense one's cost."""
    return nn.Sequential(
        Conv(in_channels, in_channels, groups=in_channels, bias=bias, act="relu6"),
        PointwiseConv2d(in_channels, out_channels, 1),
    )


def _ssdlite(in_channels: int, out_channels: int, is_last: bool) -> nn.Module:
    """The same as SSDLite's early PyTorch codes have it: a bias more, and only a 1x1 convolution on the last map."""
    if is_last:
        return PointwiseConv2d(in_channels, out_channels, 1)
    return _separable(in_channels, out_channels, is_last, bias=True)


PREDICTORS: dict[str, Callable[[Sequence[int], Sequence[int]], nn.Module]] = {
    "dense": partial(PerLevel, _dense),
    "separable": partial(PerLevel, _separable),
    "separable_biased": partial(PerLevel, _ssdlite),
    "shared": Shared,
}


class MultiBoxHead(nn.Module):
    """Class scores and box offsets for each prior of each map (SSD, section 2.1).

    Args:
        in_channels: channels of each map.
        boxes_per_cell: priors of a cell, for each map.
        num_classes: K, with background at 0.
        predictor: called with the channels of each map and those of each output; maps -> outputs.
    """

    def __init__(
        self,
        in_channels: Sequence[int],
        boxes_per_cell: Sequence[int],
        num_classes: int,
        predictor: Callable[[Sequence[int], Sequence[int]], nn.Module] = PREDICTORS["dense"],
    ):
        super().__init__()
        self.num_classes = num_classes
        self.box = predictor(in_channels, [boxes * 4 for boxes in boxes_per_cell])
        self.cls = predictor(in_channels, [boxes * num_classes for boxes in boxes_per_cell])

    def forward(self, maps: Sequence[torch.Tensor]) -> tuple[torch.Tensor, torch.Tensor]:
        """[(B, C_l, h_l, w_l)] -> logits (B, P, K), deltas (B, P, 4); priors by map, row, column, box."""
        logits = self._gather(self.cls(maps), self.num_classes)  # (B, P, K)
        return logits, self._gather(self.box(maps), 4)  # (B, P, 4)

    @staticmethod
    def _gather(outputs: Sequence[torch.Tensor], values: int) -> torch.Tensor:
        levels = [x.permute(0, 2, 3, 1).flatten(1) for x in outputs]
        return torch.unflatten(torch.cat(levels, dim=1), 1, (-1, values))
