"""Dual path: the same layers, with the same weights, on two resolutions (BMVC 2019, section 3)."""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from typing import Literal

import torch
import torch.nn.functional as F
from torch import nn
from torch.func import functional_call

from lib.models.backbones.base import Backbone, run_rows

COARSE = "coarse_"  # prefix of the separate statistics' names


class DualPath(nn.Module):
    """Runs a backbone's rows up to ``split`` once, and the later ones on that output and on a coarser copy.

    The fine path finds small objects at the resolution that stride surgery kept; the coarse path sees what the
    unmodified backbone saw: where row ``split`` is a convolution whose stride 2 was taken out, the coarse taps
    equal the unmodified backbone's taps in eval mode, for any image size.

    Args:
        backbone: its rows are shared, not copied: parameter names stay ``layers.<row>....``.
        split: the last row that runs once, as a rule the row whose stride was taken out.
        pool: how the coarse copy is made: ``subsample`` takes every second row and column (the ancestor's);
            ``max`` takes the maximum of 2x2, which restores the law where row ``split`` was a 2x2 max pool.
        norm: whether BatchNorm's running statistics are ``shared``, a blend of both resolutions after
            training as in the ancestor, or ``separate``: the coarse path keeps its own, as ``coarse_<name>``.
    """

    def __init__(
        self,
        backbone: Backbone,
        /,
        split: int = 0,
        pool: Literal["subsample", "max"] = "subsample",
        norm: Literal["shared", "separate"] = "shared",
    ):
        super().__init__()
        if not 0 <= split < len(backbone.layers) - 1:
            raise ValueError(
                f"model.dual_path.split must be a row from 0 to {len(backbone.layers) - 2}; got {split}"
            )
        self.layers, self.channels, self.reductions = backbone.layers, backbone.channels, backbone.reductions
        self.split, self.pool = split, pool
        self._coarse = {
            name: f"{COARSE}{name.replace('.', '_')}"
            for name, _ in self.layers.named_buffers()
            if norm == "separate" and int(name.partition(".")[0]) > split
        }
        for name, own in self._coarse.items():
            self.register_buffer(own, self.layers.get_buffer(name).clone())
        self.coarse_layers: nn.ModuleList | None = None

    def forward(self, images: torch.Tensor, taps: Sequence[str]) -> dict[str, torch.Tensor]:
        """Runs both paths.

        Args:
            images: (B, 3, H, W) normalised.
            taps: names of rows of the fine path (``"11"``) and of the coarse one (``"coarse.13"``).

        Returns:
            tap name -> (B, C, h, w).
        """
        rest = range(self.split + 1, len(self.layers))
        x, shared = run_rows(self.layers, images, range(self.split + 1), taps)
        y = x[..., ::2, ::2] if self.pool == "subsample" else F.max_pool2d(x, 2)
        fine = run_rows(self.layers, x, rest, taps)[1]
        if not self._coarse:
            return shared | fine | run_rows(self.coarse_layers or self.layers, y, rest, taps, "coarse.")[1]
        statistics = {f"layers.{name}": self.get_buffer(own) for name, own in self._coarse.items()}
        return shared | fine | functional_call(_Rows(self.layers), statistics, (y, rest, taps))

    def unshare_(self) -> None:
        """Gives the coarse path layers of its own if its statistics are, so that they can be folded into them."""
        if self._coarse:
            layers = copy.deepcopy(self.layers)
            layers.load_state_dict(
                {name: self.get_buffer(own) for name, own in self._coarse.items()}, strict=False
            )
            self.coarse_layers, self._coarse = layers, {}


def with_coarse_statistics(given: Mapping[str, torch.Tensor], model: nn.Module) -> dict[str, torch.Tensor]:
    """A detector's state dict with the coarse path's statistics, each a copy of the shared one if it lacks it."""
    prefix = f"backbone.{COARSE}"
    shared = {
        f"{prefix}{name.removeprefix('backbone.layers.').replace('.', '_')}": value
        for name, value in given.items()
    }
    return {**{name: shared[name] for name in model.state_dict() if name in shared}, **given}


class _Rows(nn.Module):
    """The rows of the coarse path as a module, for ``functional_call`` to exchange the statistics of."""

    def __init__(self, layers: nn.ModuleList):
        super().__init__()
        self.layers = layers

    def forward(self, x: torch.Tensor, rows: range, taps: Sequence[str]) -> dict[str, torch.Tensor]:
        return run_rows(self.layers, x, rows, taps, "coarse.")[1]
