"""The neck turns a backbone's taps into the list of maps that the heads read."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import nn

from lib.models.blocks import L2Norm


class ExtraLayers(nn.Module):
    """SSD's pyramid: the taps, the first one through L2Norm, then extra layers that go on halving the map.

    Args:
        taps: names of the backbone's taps that heads read, finest first.
        source: the tap from which the extra layers start.
        channels: channels of each tap, and of the source last.
        extras: ``(channels, stride)`` or ``(channels, stride, padding)`` of each extra layer; padding is 1 at
            stride 2 and 0 at stride 1 unless given.
        block: what an extra layer is made of.
        l2norm: whether the first map is normalised.

    Attributes:
        inputs: every tap that is needed, for the backbone.
        out_channels: channels of each map.
    """

    def __init__(
        self,
        taps: Sequence[str],
        source: str,
        channels: Sequence[int],
        extras: Sequence[Sequence[int]],
        block: Callable[..., nn.Module],
        l2norm: bool = True,
    ):
        super().__init__()
        self.taps, self.source = list(taps), source
        self.inputs = tuple(dict.fromkeys([*taps, source]))
        self.norm = L2Norm(channels[0]) if l2norm else nn.Identity()
        self.extras = nn.ModuleList()
        *tap_channels, in_channels = channels
        self.out_channels = list(tap_channels)
        for extra in extras:
            out_channels, stride, *padding = extra
            self.extras.append(block(in_channels, out_channels, stride, padding[0] if padding else stride - 1))
            self.out_channels.append(out_channels)
            in_channels = out_channels

    def forward(self, features: dict[str, torch.Tensor]) -> list[torch.Tensor]:
        """tap name -> (B, C, h, w) becomes [(B, C_l, h_l, w_l)], finest first."""
        first, *others = (features[tap] for tap in self.taps)
        maps, x = [self.norm(first), *others], features[self.source]
        for extra in self.extras:
            x = extra(x)
            maps.append(x)
        return maps
