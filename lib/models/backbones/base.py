"""A backbone is a table of rows; stride surgery is one pure function on tables."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, NamedTuple

import torch
from torch import nn

from lib.models.blocks import Chain
from lib.models.taps import Tap
from lib.utils.lookup import lookup


class Layer(NamedTuple):
    """One row of a backbone's table."""

    block: Callable[..., nn.Module]  # class or function called as ``block(in_channels, channels, stride, **options)``
    channels: int | None  # output channels; None: those of the row before, as in a pool
    stride: int = 1  # of this row alone
    options: Mapping[str, Any] = {}  # further keyword arguments of the block


Table = tuple[Layer, ...]


def with_strides(table: Table, strides: Mapping[int | str, int]) -> Table:
    """The table with other strides in some rows ("stride surgery", BMVC 2019, section 3).

    No parameter's name or shape depends on a stride, so a checkpoint of one variant loads into every other.
    ``strides``: row -> its new stride; ``{0: 1}`` takes the first row's stride out (S1L0).
    """
    if not isinstance(strides, Mapping):
        raise TypeError(f"model.backbone.strides must say row: stride, such as {{0: 1}}; got {strides!r}")
    rows = list(table)
    for row, stride in strides.items():
        if not str(row).isdigit() or int(row) >= len(rows):
            strided = [f"{i} (stride {layer.stride})" for i, layer in enumerate(table) if layer.stride > 1]
            raise ValueError(
                f"model.backbone.strides must name rows 0 to {len(rows) - 1}; got {row!r}; "
                f"rows with a stride: {', '.join(strided)}"
            )
        if not isinstance(stride, int) or stride < 1:
            raise ValueError(f"model.backbone.strides[{row}] must be a whole number from 1; got {stride!r}")
        rows[int(row)] = rows[int(row)]._replace(stride=stride)
    return tuple(rows)


def run_rows(
    layers: nn.ModuleList, x: torch.Tensor, rows: range, taps: Iterable[Tap], is_coarse: bool = False
) -> tuple[torch.Tensor, dict[Tap, torch.Tensor]]:
    """Sends ``x`` through some rows, as those of the coarse path if ``is_coarse``: the last row's output, and
    {single tap: (B, C, h, w)} of those ``taps`` that belong to these rows and this path.
    """
    kept: dict[Tap, torch.Tensor] = {}
    for row in rows:
        layer = layers[row]
        here = [tap for tap in taps if tap.row == row and tap.is_coarse == is_coarse]
        stages = {tap.stage for tap in here} - {""}
        x, inside = layer.run(x, stages) if isinstance(layer, Chain) and stages else (layer(x), {})
        kept |= {tap: inside[tap.stage] if tap.stage else x for tap in here}
    return x, kept


class Backbone(nn.Module):
    """A table's rows, built and run in order.

    Attributes:
        layers: one block a row, so parameter names are ``layers.<row>....`` in every variant.
        channels: output channels of each row.
        reductions: cumulative stride of each row's output.
        has_coarse_path: whether there are taps of a coarse path; see DualPath.
    """

    has_coarse_path = False

    def __init__(self, table: Table):
        super().__init__()
        self.layers = nn.ModuleList()
        self.channels: list[int] = []
        self.reductions: list[int] = []
        channels, reduction = 3, 1
        for layer in table:
            out_channels = layer.channels or channels
            self.layers.append(layer.block(channels, out_channels, layer.stride, **layer.options))
            channels, reduction = out_channels, reduction * layer.stride
            self.channels.append(channels)
            self.reductions.append(reduction)

    def forward(self, images: torch.Tensor, taps: Sequence[Tap]) -> dict[Tap, torch.Tensor]:
        """(B, 3, H, W) normalized images -> {tap: (B, C, h, w)}, the single maps that are wanted."""
        return run_rows(self.layers, images, range(len(self.layers)), taps)[1]

    def tap_channels(self, tap: Tap) -> int:
        """Channels of a tap's map; ValueError if the backbone has no such map."""
        if tap.joined:
            return sum(map(self.tap_channels, tap.parts))
        if tap.is_coarse and not self.has_coarse_path:
            raise ValueError(
                f"{str(tap)!r} of model.neck needs model.dual_path, which is null: choose such as {{split: 0}}, "
                "or a plain row"
            )
        if not tap.stage:
            return self.channels[tap.row]
        layer = self.layers[tap.row]
        stages = layer.stage_channels() if isinstance(layer, Chain) else {}
        return int(lookup(stages, tap.stage, f"the stage of row {tap.row} in the tap {str(tap)!r}"))
