"""A dual path whose coarse path has BatchNorm statistics of its own."""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from typing import Literal

import torch
from torch import nn
from torch.func import functional_call

from lib.models.backbones.base import Backbone, run_rows
from lib.models.dual_path import DualPath, Pool
from lib.models.taps import Tap

COARSE = "coarse_"  # prefix of the names of the coarse path's statistics


def make_dual_path(
    backbone: Backbone, /, split: int = 0, pool: Pool = "subsample", norm: Literal["shared", "separate"] = "shared"
) -> DualPath:
    """``DualPath(backbone, split, pool)``, or with ``norm: separate`` a ``SeparateNorms`` of the same arguments."""
    return (SeparateNorms if norm == "separate" else DualPath)(backbone, split, pool)


class SeparateNorms(DualPath):
    """A dual path that keeps the coarse path's running statistics apart, in buffers ``coarse_<name>``."""

    def __init__(self, backbone: Backbone, /, split: int = 0, pool: Pool = "subsample"):
        super().__init__(backbone, split, pool)
        self._coarse = {
            name: f"{COARSE}{name.replace('.', '_')}"
            for name, _ in self.layers.named_buffers()
            if int(name.partition(".")[0]) in self.late
        }
        for name, separate in self._coarse.items():
            self.register_buffer(separate, self.layers.get_buffer(name).clone())
        self.coarse_layers: nn.ModuleList | None = None

    def run_coarse(self, x: torch.Tensor, taps: Sequence[Tap]) -> dict[Tap, torch.Tensor]:
        """The coarse path with its own statistics: {tap: (B, C, h, w)}."""
        if self.coarse_layers is not None:
            return run_rows(self.coarse_layers, x, self.late, taps, is_coarse=True)[1]
        statistics = {f"layers.{name}": self.get_buffer(mine) for name, mine in self._coarse.items()}
        kept: dict[Tap, torch.Tensor] = functional_call(_Rows(self.layers), statistics, (x, self.late, taps))
        return kept

    def unshare_(self) -> None:
        """Gives the coarse path a copy of the layers, so that its statistics can be folded into them."""
        if self.coarse_layers is None:
            layers = copy.deepcopy(self.layers)
            statistics = {name: self.get_buffer(mine) for name, mine in self._coarse.items()}
            layers.load_state_dict(statistics, strict=False)
            self.coarse_layers = layers


class _Rows(nn.Module):
    """The rows of the coarse path as a module, in which ``functional_call`` can exchange the statistics."""

    def __init__(self, layers: nn.ModuleList):
        super().__init__()
        self.layers = layers

    def forward(self, x: torch.Tensor, rows: range, taps: Sequence[Tap]) -> dict[Tap, torch.Tensor]:
        return run_rows(self.layers, x, rows, taps, is_coarse=True)[1]


def with_coarse_statistics(given: Mapping[str, torch.Tensor], model: nn.Module) -> dict[str, torch.Tensor]:
    """A detector's state dict with the coarse path's statistics, each a copy of the shared one if it lacks it."""
    prefix = f"backbone.{COARSE}"
    shared = {
        f"{prefix}{name.removeprefix('backbone.layers.').replace('.', '_')}": value for name, value in given.items()
    }
    return {**{name: shared[name] for name in model.state_dict() if name in shared}, **given}
