"""One MultiBox head, and the recipes that make a detector SSD, SSDLite, RFB, FSSD, ...: a variant is a row."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any, NamedTuple

import torch
from torch import nn

from lib.models.blocks import Conv, L2Norm
from lib.models.convolution import GroupedConv2d
from lib.models.extras import rfb, rfb_fine
from lib.models.neck import ExtraLayers, FeaturePyramid, Fusion


class Recipe(NamedTuple):
    """What a head's name stands for.

    Attributes:
        extra: ``{type, options}`` of the neck's extra layers.
        neck: makes the neck.
        norm: what the first map goes through where ``model.neck.l2norm`` is on.
        predictor: name of the default predictor.
        options: further keyword arguments of the neck.
    """

    extra: Mapping[str, Any]
    neck: Callable[..., nn.Module] = ExtraLayers
    norm: Callable[[int, int], nn.Module] | None = None
    predictor: str = "dense"
    options: Mapping[str, Any] = {}


def _l2norm(channels: int, _: int) -> nn.Module:
    return L2Norm(channels)


CONV_NORM = {"type": "conv", "norm": True}
HEADS = {
    "ssd": Recipe({"type": "conv"}, norm=_l2norm),
    "ssd_lite": Recipe({"type": "separable"}, norm=_l2norm),
    "rfb": Recipe(CONV_NORM, norm=rfb_fine, options={"refine": rfb}),
    "rfb_lite": Recipe(CONV_NORM, norm=partial(rfb_fine, lite=True)),
    "fssd": Recipe({"type": "conv", "act": None}, Fusion),
    "fssd_lite": Recipe({"type": "separable", "act": None}, Fusion),
    "fpn_lite": Recipe(
        {"type": "sandglass", "hidden": 128, "last": False}, FeaturePyramid, predictor="shared"
    ),
}


class PerLevel(nn.ModuleList):
    """A predictor for each map.

    Args:
        make: called with channels in and out, and whether it is the last level.
        in_channels, out_channels: of each level.
    """

    def __init__(
        self,
        make: Callable[[int, int, bool], nn.Module],
        in_channels: Sequence[int],
        out_channels: Sequence[int],
    ):
        last = len(in_channels) - 1
        pairs = enumerate(zip(in_channels, out_channels, strict=True))
        super().__init__(make(channels, outputs, level == last) for level, (channels, outputs) in pairs)

    def forward(self, maps: Sequence[torch.Tensor]) -> list[torch.Tensor]:
        """[(B, C_l, h_l, w_l)] -> [(B, out_channels_l, h_l, w_l)]."""
        return [predict(x) for predict, x in zip(self, maps, strict=True)]


class Shared(nn.Module):
    """One separable predictor for all maps; only its BatchNorm is apart by level, whose statistics differ
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
        self.pointwise = nn.Conv2d(channels, out_channels[0], 1)

    def forward(self, maps: Sequence[torch.Tensor]) -> list[torch.Tensor]:
        """[(B, C, h_l, w_l)] -> [(B, out_channels, h_l, w_l)]."""
        pairs = zip(self.norms, maps, strict=True)
        return [self.pointwise(self.act(norm(self.depthwise(x)))) for norm, x in pairs]


def _dense(in_channels: int, out_channels: int, is_last: bool) -> nn.Module:
    """A 3x3 convolution with bias: the BMVC code's predictor, in its "lite" variants too."""
    return nn.Conv2d(in_channels, out_channels, 3, padding=1)


def _separable(in_channels: int, out_channels: int, is_last: bool, bias: bool = False) -> nn.Module:
    """3x3 depthwise with BatchNorm and ReLU6, then 1x1 with bias: a tenth of the dense one's cost."""
    return nn.Sequential(
        Conv(in_channels, in_channels, groups=in_channels, bias=bias, act="relu6"),
        nn.Conv2d(in_channels, out_channels, 1),
    )


def _ssdlite(in_channels: int, out_channels: int, is_last: bool) -> nn.Module:
    """The same as SSDLite's early PyTorch codes have it: a bias more, and only a 1x1 convolution on the last map."""
    return (
        nn.Conv2d(in_channels, out_channels, 1)
        if is_last
        else _separable(in_channels, out_channels, is_last, True)
    )


PREDICTORS = {
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
        initial_score: the sigmoid score of every class before training, so that the many negatives of a focal
            loss do not drown it (RetinaNet, section 4.1); None: the bias is torch's.
    """

    def __init__(
        self,
        in_channels: Sequence[int],
        boxes_per_cell: Sequence[int],
        num_classes: int,
        predictor: Callable[..., nn.Module] = PREDICTORS["dense"],
        initial_score: float | None = None,
    ):
        super().__init__()
        self.num_classes = num_classes
        self.box = predictor(in_channels, [boxes * 4 for boxes in boxes_per_cell])
        self.cls = predictor(in_channels, [boxes * num_classes for boxes in boxes_per_cell])
        if initial_score is not None:
            outputs = {boxes * num_classes for boxes in boxes_per_cell}
            for layer in self.cls.modules():
                if isinstance(layer, nn.Conv2d) and layer.bias is not None and layer.out_channels in outputs:
                    nn.init.constant_(layer.bias, math.log(initial_score / (1 - initial_score)))

    def forward(self, maps: Sequence[torch.Tensor]) -> tuple[torch.Tensor, torch.Tensor]:
        """[(B, C_l, h_l, w_l)] -> logits (B, P, K), deltas (B, P, 4); priors by map, row, column, box."""
        logits = self._gather(self.cls(maps), self.num_classes)  # (B, P, K)
        return logits, self._gather(self.box(maps), 4)  # (B, P, 4)

    @staticmethod
    def _gather(outputs: Sequence[torch.Tensor], values: int) -> torch.Tensor:
        levels = [x.permute(0, 2, 3, 1).flatten(1) for x in outputs]
        return torch.cat(levels, dim=1).unflatten(1, (-1, values))
