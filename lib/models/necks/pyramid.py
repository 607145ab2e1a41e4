"""A light feature pyramid: coarse maps, enlarged, are added to finer ones."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import nn

from lib.models.backbones.base import Backbone
from lib.models.blocks import Conv
from lib.models.bottlenecks import Sandglass
from lib.models.extras import make_extras
from lib.models.necks.base import Features, Neck, outputs_of
from lib.models.taps import Tap


class FeaturePyramid(Neck):
    """Each tap goes through a 1x1 convolution to ``width`` channels, takes the next coarser level enlarged by
    nearest pixels, and is smoothed by a separable 3x3 convolution (Lin et al. 2017, section 3).

    Args:
        taps: rows or stages whose outputs become levels, finest first.
        extras, extra: the extra layers, see ``make_extras``; they start from the coarsest smoothed level.
        width: channels of the levels.
    """

    def __init__(
        self,
        backbone: Backbone,
        /,
        taps: Sequence[Tap],
        extras: Sequence[Any] = (),
        extra: Mapping[str, Any] | None = None,
        width: int = 128,
    ):
        super().__init__(backbone, taps, source=taps[-1])
        self.lateral = nn.ModuleList(Conv(backbone.tap_channels(tap), width, kernel=1, act=None) for tap in taps)
        self.smooth = nn.ModuleList(Sandglass(width, width, hidden=width, last=False) for _ in taps)
        self.extras, channels = make_extras(width, extras, extra)
        self.out_channels = [width] * len(taps) + channels

    def forward(self, features: Features) -> list[torch.Tensor]:
        """{tap: (B, C, h, w)} -> [(B, C_l, h_l, w_l)], finest first."""
        pairs = zip(self.lateral, self.taps, strict=True)
        levels = [lateral(tap.read(features)) for lateral, tap in pairs]
        for level in range(len(levels) - 1, 0, -1):
            enlarged = F.interpolate(levels[level], size=levels[level - 1].shape[-2:], mode="nearest")
            levels[level - 1] = levels[level - 1] + enlarged
        maps = [smooth(x) for smooth, x in zip(self.smooth, levels, strict=True)]
        return maps + outputs_of(self.extras, maps[-1])
