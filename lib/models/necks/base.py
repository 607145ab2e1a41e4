"""What all necks are: modules that turn a backbone's taps into the maps that the head reads."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import nn

from lib.models.backbones.base import Backbone
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
