"""SSD's neck: taps, then extra layers."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any, Literal

import torch
from torch import nn

from lib.models.backbones.base import Backbone
from lib.models.blocks import L2Norm
from lib.models.extras import make_extras, rfb, rfb_fine
from lib.models.necks.base import Features, Neck, outputs_of
from lib.models.taps import Tap

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
