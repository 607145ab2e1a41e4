"""The necks by name: modules that turn a backbone's taps into the maps that the head reads."""

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any, Literal

import torch
import torch.nn.functional as F
from torch import nn

from lib.models.backbones.base import Backbone
from lib.models.blocks import Conv, L2Norm
from lib.models.bottlenecks import DepthwiseSeparable, Sandglass
from lib.models.extras import make_extras, rfb, rfb_fine
from lib.models.taps import Tap

Features = Mapping[Tap, torch.Tensor]


class Neck(nn.Module):
    """Base of the necks, which are called with {tap: (B, C, h, w)} and give [(B, C_l, h_l, w_l)], finest first.

    A neck takes the backbone by position, to ask it for the channels of taps. Its keyword arguments are the
    options of ``model.neck``.

    Args:
        taps: the maps to start with, finest first.
        source: the map from which the extra layers start; None: the last tap, of the coarse path if there is one.

    Attributes:
        inputs: the single taps that the backbone has to give.
        extras: the extra layers.
        out_channels: channels of each map that the neck gives.
    """

    extras: nn.ModuleList
    out_channels: list[int]

    def __init__(self, backbone: Backbone, taps: Sequence[Tap], source: Tap | None):
        super().__init__()
        self.taps = list(taps)
        self.source = source or taps[-1].on_last_path(backbone.has_coarse_path)
        self.inputs = tuple(dict.fromkeys(part for tap in (*taps, self.source) for part in tap.parts))


def outputs_of(layers: nn.ModuleList, x: torch.Tensor) -> list[torch.Tensor]:
    """The output of each layer, the first one run on ``x`` and every other on the output before it."""
    outputs = []
    for layer in layers:
        x = layer(x)
        outputs.append(x)
    return outputs


NORMS: dict[str, Callable[[int], nn.Module]] = {
    "l2norm": L2Norm,
    "rfb": rfb_fine,
    "rfb_lite": partial(rfb_fine, lite=True),
}


class ExtraLayers(Neck):
    """SSD's pyramid: the taps, the first one normalized, then extra layers that go on halving the map.

    Args:
        taps: rows or stages whose outputs become maps, finest first.
        source: where the extra layers start; None: the last tap, of the coarse path if there is one.
        extras, extra: the extra layers, see ``make_extras``.
        norm: what the first map goes through: ``l2norm``, or RFBNet's block for the finest map; None: nothing.
        refine: what each other tap goes through; extra layers that start at the last tap start at its result.
    """

    def __init__(
        self,
        backbone: Backbone,
        /,
        taps: Sequence[Tap],
        source: Tap | None = None,
        extras: Sequence[Any] = (),
        extra: Mapping[str, Any] | None = None,
        norm: Literal["l2norm", "rfb", "rfb_lite"] | None = None,
        refine: Literal["rfb"] | None = None,
    ):
        super().__init__(backbone, taps, source)
        widths = [backbone.tap_channels(tap) for tap in taps]
        self.norm = NORMS[norm](widths[0]) if norm else nn.Identity()
        self.refine = nn.ModuleList(rfb(width, width) for width in widths[1:]) if refine else None
        self.extras, channels = make_extras(backbone.tap_channels(self.source), extras, extra)
        self.out_channels = widths + channels

    def forward(self, features: Features) -> list[torch.Tensor]:
        """{tap: (B, C, h, w)} -> [(B, C_l, h_l, w_l)], finest first."""
        maps = [tap.read(features) for tap in self.taps]
        x = self.source.read(features)
        if self.refine is not None:
            maps[1:] = [block(y) for block, y in zip(self.refine, maps[1:], strict=True)]
            x = maps[-1] if self.source == self.taps[-1] else x
        maps[0] = self.norm(maps[0])
        return maps + outputs_of(self.extras, x)


class Fusion(Neck):
    """FSSD's pyramid: taps and extra layers brought to the finest map's size, joined, and halved anew
    (Li & Zhou 2017, section 3).

    Args:
        taps, source, extras, extra: the levels that are joined, as of ``ExtraLayers``.
        pyramid: ``[channels, stride]`` of each map; a first one of stride 1 keeps the size.
        width: channels of each level before they are joined; None: half those of the coarsest.
    """

    def __init__(
        self,
        backbone: Backbone,
        /,
        taps: Sequence[Tap],
        pyramid: Sequence[Sequence[int]],
        source: Tap | None = None,
        extras: Sequence[Any] = (),
        extra: Mapping[str, Any] | None = None,
        width: int | None = None,
    ):
        super().__init__(backbone, taps, source)
        self.extras, channels = make_extras(backbone.tap_channels(self.source), extras, extra)
        levels = [*map(backbone.tap_channels, taps), *channels]
        width = width or levels[-1] // 2
        self.transforms = nn.ModuleList(Conv(level, width, kernel=1, norm=False) for level in levels)
        self.pyramids = nn.ModuleList()
        in_channels = width * len(levels)
        self.norm = nn.BatchNorm2d(in_channels)
        for out_channels, stride in pyramid:
            padding = 0 if stride == 1 and len(self.pyramids) else 1
            self.pyramids.append(Conv(in_channels, out_channels, stride, padding=padding, norm=False))
            in_channels = out_channels
        self.out_channels = [out_channels for out_channels, _ in pyramid]

    def forward(self, features: Features) -> list[torch.Tensor]:
        """{tap: (B, C, h, w)} -> [(B, C_l, h_l, w_l)], finest first."""
        levels = [tap.read(features) for tap in self.taps]
        levels += outputs_of(self.extras, self.source.read(features))
        size = levels[0].shape[-2:]
        first, *others = (transform(y) for transform, y in zip(self.transforms, levels, strict=True))
        resized = [F.interpolate(y, size=size, mode="bilinear") for y in others]
        return outputs_of(self.pyramids, self.norm(torch.cat([first, *resized], dim=1)))


SMOOTHS: dict[str, Callable[[int, int], nn.Module]] = {
    "sandglass": lambda width, out: Sandglass(width, out, hidden=width, last=False),
    "depthwise": DepthwiseSeparable,
}


class FeaturePyramid(Neck):
    """Each tap goes through a 1x1 convolution to ``width`` channels, takes the next coarser level enlarged by
    nearest pixels, and is smoothed by a separable 3x3 convolution (Lin et al. 2017, section 3).

    Args:
        taps: rows or stages whose outputs become levels, finest first.
        extras, extra: the extra layers, see ``make_extras``; they start from the coarsest smoothed level.
        width: channels of the levels.
        smooth: the convolution that smooths a level: ``sandglass``, whose 1x1 convolution is in two parts, or
            ``depthwise``, whose is not.
        from_tap: whether the extra layers start from the last tap instead.
    """

    def __init__(
        self,
        backbone: Backbone,
        /,
        taps: Sequence[Tap],
        extras: Sequence[Any] = (),
        extra: Mapping[str, Any] | None = None,
        width: int = 128,
        smooth: Literal["sandglass", "depthwise"] = "sandglass",
        from_tap: bool = False,
    ):
        super().__init__(backbone, taps, source=taps[-1])
        self.lateral = nn.ModuleList(Conv(backbone.tap_channels(tap), width, kernel=1, act=None) for tap in taps)
        self.smooth = nn.ModuleList(SMOOTHS[smooth](width, width) for _ in taps)
        self.from_tap = from_tap
        self.extras, channels = make_extras(backbone.tap_channels(taps[-1]) if from_tap else width, extras, extra)
        self.out_channels = [width] * len(taps) + channels

    def forward(self, features: Features) -> list[torch.Tensor]:
        """{tap: (B, C, h, w)} -> [(B, C_l, h_l, w_l)], finest first."""
        levels = [lateral(tap.read(features)) for lateral, tap in zip(self.lateral, self.taps, strict=True)]
        for level in range(len(levels) - 1, 0, -1):
            enlarged = F.interpolate(levels[level], size=levels[level - 1].shape[-2:], mode="nearest")
            levels[level - 1] = levels[level - 1] + enlarged
        maps = [smooth(x) for smooth, x in zip(self.smooth, levels, strict=True)]
        return maps + outputs_of(self.extras, self.source.read(features) if self.from_tap else maps[-1])


NECKS = {"extras": ExtraLayers, "fusion": Fusion, "pyramid": FeaturePyramid}
