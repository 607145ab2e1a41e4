"""The neck turns a backbone's taps into the list of maps that the heads read.

A tap is a row (``11``), a stage inside one (``13.expand``), a row of the coarse path (``coarse.13``), or some
of those joined along the channels (``13+coarse.11``).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from torch import nn

from lib.models.blocks import Conv
from lib.models.extras import EXTRAS
from lib.utils.lookup import build

Features = Mapping[str, torch.Tensor]


class Taps(NamedTuple):
    """What a neck reads of a backbone.

    Attributes:
        names: taps that become maps, finest first.
        source: the tap from which the extra layers start.
        channels: tap -> its channels, for each of them.
    """

    names: Sequence[str]
    source: str
    channels: Mapping[str, int]

    @property
    def inputs(self) -> tuple[str, ...]:
        """The single taps that the backbone has to give."""
        return tuple(dict.fromkeys(part for tap in (*self.names, self.source) for part in tap.split("+")))


def read_tap(features: Features, tap: str) -> torch.Tensor:
    """The tap's map, its parts joined: (B, C, h, w)."""
    parts = [features[part] for part in tap.split("+")]
    return parts[0] if len(parts) == 1 else torch.cat(parts, dim=1)


def extra_layers(
    in_channels: int, extras: Sequence[Sequence[int] | Mapping], default: Mapping
) -> tuple[nn.ModuleList, list[int]]:
    """Extra layers, each on the output of the one before.

    Args:
        extras: ``[channels, stride]``, ``[channels, stride, padding]``, or a mapping with ``channels`` and any
            option of its block.
        default: ``{type, options}`` of those that do not say otherwise.

    Returns:
        The layers, and the channels of each one's output.
    """
    layers, channels = nn.ModuleList(), []
    for index, extra in enumerate(extras):
        own = (
            dict(extra)
            if isinstance(extra, Mapping)
            else dict(zip(("channels", "stride", "padding"), extra, strict=False))
        )
        is_other_type = own.get("type", default["type"]) != default["type"]
        options = own if is_other_type else {**default, **own}
        where = f"model.neck.extras[{index}]"
        if "channels" not in options:
            raise ValueError(f"{where} must say how many channels it has; got {extra}")
        out_channels = options.pop("channels")
        layers.append(build(EXTRAS, options, where, in_channels, out_channels, options.pop("stride", 1)))
        channels.append(out_channels)
        in_channels = out_channels
    return layers, channels


class ExtraLayers(nn.Module):
    """SSD's pyramid: the taps, the first one normalised, then extra layers that go on halving the map.

    Args:
        taps: what is read.
        extras, default: see ``extra_layers``.
        norm: called with channels in and out, makes what the first map goes through; None: nothing.
        refine: the same for each other tap; where the extra layers start from it, they start from its output.

    Attributes:
        inputs: every tap that is needed, for the backbone.
        out_channels: channels of each map.
    """

    def __init__(
        self,
        taps: Taps,
        extras: Sequence,
        default: Mapping[str, Any],
        norm: Callable[[int, int], nn.Module] | None = None,
        refine: Callable[[int, int], nn.Module] | None = None,
    ):
        super().__init__()
        self.taps, self.source, self.inputs = list(taps.names), taps.source, taps.inputs
        widths = [taps.channels[tap] for tap in taps.names]
        self.norm = norm(widths[0], widths[0]) if norm else nn.Identity()
        self.refine = nn.ModuleList(refine(width, width) for width in widths[1:]) if refine else None
        self.extras, channels = extra_layers(taps.channels[taps.source], extras, default)
        self.out_channels = widths + channels

    def forward(self, features: Features) -> list[torch.Tensor]:
        """tap name -> (B, C, h, w) becomes [(B, C_l, h_l, w_l)], finest first."""
        maps = [read_tap(features, tap) for tap in self.taps]
        x = read_tap(features, self.source)
        if self.refine is not None:
            maps[1:] = [block(y) for block, y in zip(self.refine, maps[1:], strict=True)]
            x = maps[-1] if self.source == self.taps[-1] else x
        maps[0] = self.norm(maps[0])
        for extra in self.extras:
            x = extra(x)
            maps.append(x)
        return maps


class Fusion(nn.Module):
    """FSSD's pyramid: taps and extra levels brought to the finest map's size, joined, and halved anew
    (Li & Zhou 2017, section 3).

    Args:
        taps, extras, default: the levels that are joined, as of ``ExtraLayers``.
        pyramid: ``[channels, stride]`` of each map; a first one of stride 1 keeps the size.
        width: channels of each level before they are joined; None: half those of the coarsest.
    """

    def __init__(
        self,
        taps: Taps,
        extras: Sequence,
        default: Mapping[str, Any],
        pyramid: Sequence[Sequence[int]],
        width: int | None = None,
    ):
        super().__init__()
        levels = ExtraLayers(taps, extras, default)
        self.taps, self.source, self.inputs, self.extras = (
            levels.taps,
            levels.source,
            levels.inputs,
            levels.extras,
        )
        width = width or levels.out_channels[-1] // 2
        self.transforms = nn.ModuleList(
            Conv(channels, width, kernel=1, norm=False) for channels in levels.out_channels
        )
        self.pyramids = nn.ModuleList()
        in_channels = width * len(levels.out_channels)
        self.norm = nn.BatchNorm2d(in_channels)
        for channels, stride in pyramid:
            padding = 0 if stride == 1 and len(self.pyramids) else 1
            self.pyramids.append(Conv(in_channels, channels, stride, padding=padding, norm=False))
            in_channels = channels
        self.out_channels = [channels for channels, _ in pyramid]

    def forward(self, features: Features) -> list[torch.Tensor]:
        """tap name -> (B, C, h, w) becomes [(B, C_l, h_l, w_l)], finest first."""
        levels, x = [read_tap(features, tap) for tap in self.taps], read_tap(features, self.source)
        for extra in self.extras:
            x = extra(x)
            levels.append(x)
        size = levels[0].shape[-2:]
        first, *others = (transform(y) for transform, y in zip(self.transforms, levels, strict=True))
        resized = [F.interpolate(y, size=size, mode="bilinear") for y in others]
        x, maps = self.norm(torch.cat([first, *resized], dim=1)), []
        for conv in self.pyramids:
            x = conv(x)
            maps.append(x)
        return maps


class FeaturePyramid(nn.Module):
    """A light feature pyramid: coarse maps, enlarged, are added to finer ones (Lin et al. 2017, section 3).

    Each tap goes through a 1x1 convolution to ``width`` channels, takes the next coarser level enlarged by
    nearest pixels, and is smoothed by a separable 3x3 convolution. The extra layers start from the coarsest
    smoothed level.

    Args:
        taps: what is read; the extra layers do not start from ``taps.source`` but from the pyramid.
        extras, default: see ``extra_layers``.
        width: channels of the levels.
    """

    def __init__(self, taps: Taps, extras: Sequence, default: Mapping[str, Any], width: int = 128):
        super().__init__()
        self.taps, self.inputs = list(taps.names), taps._replace(source=taps.names[-1]).inputs
        self.lateral = nn.ModuleList(Conv(taps.channels[tap], width, kernel=1, act=None) for tap in self.taps)
        separable = (EXTRAS["sandglass"], {"hidden": width, "last": False})
        self.smooth = nn.ModuleList(separable[0](width, width, **separable[1]) for _ in self.taps)
        self.extras, channels = extra_layers(width, extras, default)
        self.out_channels = [width] * len(self.taps) + channels

    def forward(self, features: Features) -> list[torch.Tensor]:
        """tap name -> (B, C, h, w) becomes [(B, C_l, h_l, w_l)], finest first."""
        levels = [
            lateral(read_tap(features, tap)) for lateral, tap in zip(self.lateral, self.taps, strict=True)
        ]
        for level in range(len(levels) - 1, 0, -1):
            enlarged = F.interpolate(levels[level], size=levels[level - 1].shape[-2:], mode="nearest")
            levels[level - 1] = levels[level - 1] + enlarged
        maps = [smooth(x) for smooth, x in zip(self.smooth, levels, strict=True)]
        for extra in self.extras:
            maps.append(extra(maps[-1]))
        return maps
