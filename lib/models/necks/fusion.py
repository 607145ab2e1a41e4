"""FSSD's neck: levels joined, then halved anew."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import nn

from lib.models.backbones.base import Backbone
from lib.models.blocks import Conv
from lib.models.extras import make_extras
from lib.models.necks.base import Features, Neck, outputs_of
from lib.models.taps import Tap


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
