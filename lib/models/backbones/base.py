"""A backbone is a table of rows; stride surgery is one pure function on tables."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, NamedTuple

import torch
from torch import nn

from lib.models.blocks import Chain, Conv
from lib.utils.lookup import lookup


class Layer(NamedTuple):
    """One row of a backbone's table.

    Attributes:
        block: class or function called as ``block(in_channels, channels, stride, **options)``.
        channels: output channels; None keeps those of the row above (a pool).
        stride: the row's own stride.
        options: further keyword arguments of the block.
    """

    block: Callable[..., nn.Module]
    channels: int | None
    stride: int = 1
    options: Mapping[str, Any] = {}


Table = tuple[Layer, ...]


def with_strides(table: Table, strides: Mapping[int | str, int]) -> Table:
    """The table with other strides in some rows ("stride surgery", BMVC 2019, section 3).

    No parameter's name or shape depends on a stride, so a checkpoint of one variant loads into every other.

    Args:
        table: a backbone's rows.
        strides: row -> its new stride; ``{0: 1}`` takes the first row's stride out (S1L0).
    """
    rows = list(table)
    for row, stride in strides.items():
        if not str(row).isdigit() or int(row) >= len(rows):
            strided = ", ".join(
                f"{i} (stride {layer.stride})" for i, layer in enumerate(table) if layer.stride > 1
            )
            raise ValueError(
                f"model.backbone.strides must name rows 0 to {len(rows) - 1}; got {row!r}; "
                f"rows with a stride: {strided}"
            )
        if not isinstance(stride, int) or stride < 1:
            raise ValueError(f"model.backbone.strides[{row}] must be a whole number from 1; got {stride!r}")
        rows[int(row)] = rows[int(row)]._replace(stride=stride)
    return tuple(rows)


def run_rows(
    layers: nn.ModuleList, x: torch.Tensor, rows: range, taps: Iterable[str], prefix: str = ""
) -> tuple[torch.Tensor, dict[str, torch.Tensor]]:
    """Sends ``x`` through some rows and keeps what ``taps`` names: outputs of rows as ``prefix + row``, and of
    stages inside them as ``prefix + row.stage``.

    Returns:
        The last row's output, and tap name -> (B, C, h, w).
    """
    kept = {}
    for row in rows:
        name = f"{prefix}{row}"
        stages = {tap.removeprefix(f"{name}."): tap for tap in taps if tap.startswith(f"{name}.")}
        if stages:
            x, inside = layers[row].run(x, stages)
            kept |= {stages[stage]: y for stage, y in inside.items()}
        else:
            x = layers[row](x)
        if name in taps:
            kept[name] = x
    return x, kept


class Backbone(nn.Module):
    """A table's rows, built and run in order.

    Attributes:
        layers: one block a row, so parameter names are ``layers.<row>....`` in every variant.
        channels: output channels of each row.
        reductions: cumulative stride of each row's output.
    """

    def __init__(self, table: Table):
        super().__init__()
        self.layers, self.channels, self.reductions = nn.ModuleList(), [], []
        channels, reduction = 3, 1
        for layer in table:
            out_channels = layer.channels or channels
            self.layers.append(layer.block(channels, out_channels, layer.stride, **layer.options))
            channels, reduction = out_channels, reduction * layer.stride
            self.channels.append(channels)
            self.reductions.append(reduction)

    def forward(self, images: torch.Tensor, taps: Sequence[str]) -> dict[str, torch.Tensor]:
        """Runs all rows.

        Args:
            images: (B, 3, H, W) normalised.
            taps: names of the rows whose outputs are wanted, such as ``("11", "13")``.

        Returns:
            tap name -> (B, C, h, w).
        """
        return run_rows(self.layers, images, range(len(self.layers)), taps)[1]


def tap_row(tap: str) -> int:
    """The row of a single tap's name: ``"13"``, ``"coarse.13"`` and ``"13.expand"`` are row 13."""
    return int(tap.removeprefix("coarse.").partition(".")[0])


def tap_channels(layers: nn.ModuleList, channels: Sequence[int], tap: str) -> int:
    """Channels of a single tap: a row's, or those of a stage inside it.

    Raises:
        ValueError: the row has no such stage.
    """
    row = tap_row(tap)
    stage = tap.removeprefix("coarse.").partition(".")[2]
    if not stage:
        return channels[row]
    stages = (
        {
            name: child.conv.out_channels
            for name, child in layers[row].named_children()
            if isinstance(child, Conv)
        }
        if isinstance(layers[row], Chain)
        else {}
    )
    return lookup(stages, stage, f"the stage of row {row} in the tap {tap!r}")
