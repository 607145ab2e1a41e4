"""Dual path: the same layers, with the same weights, on two resolutions (BMVC 2019, section 3)."""

import copy
from collections.abc import Mapping, Sequence
from typing import Literal

import torch
import torch.nn.functional as F
from torch import nn
from torch.func import functional_call

from lib.models.backbones.base import Backbone, run_rows
from lib.models.blocks import MaxPool
from lib.models.taps import Tap

Pool = Literal["subsample", "max"]
COARSE = "coarse_"  # prefix of the names of the coarse path's statistics


class DualPath(Backbone):
    """Runs a backbone's rows up to ``split`` once, and the later ones on that output and on a coarser copy.

    The fine path finds small objects at the resolution that stride surgery kept; the coarse path sees what the
    unmodified backbone saw. Where row ``split`` is a convolution whose stride 2 was taken out, the coarse taps
    equal the unmodified backbone's taps in eval mode, for any image size.

    Both paths update the same BatchNorm statistics, which after training are a blend of both resolutions, as in
    the published code; see ``SeparateNorms`` for the alternative.

    Args:
        backbone: its rows are shared, not copied: parameter names stay ``layers.<row>....``.
        split: the last row that runs once, as a rule the row whose stride was taken out.
        pool: how the coarse copy is made: ``subsample`` takes every second row and column (the published code's),
            as a pool of 1x1, which is the same to the bit and which all converters take;
            ``max`` takes the maximum of 2x2, which restores the law where row ``split`` was a 2x2 max pool; a last,
            incomplete window counts if it does there.
    """

    has_coarse_path = True

    def __init__(self, backbone: Backbone, /, split: int = 0, pool: Pool = "subsample"):
        super().__init__(())  # the rows are the backbone's
        self.layers, self.channels, self.reductions = backbone.layers, backbone.channels, backbone.reductions
        if not 0 <= split < len(self.layers) - 1:
            raise ValueError(f"model.dual_path.split must be a row from 0 to {len(self.layers) - 2}; got {split}")
        self.pool, pooled = pool, self.layers[split]
        self.ceil = pool == "max" and isinstance(pooled, MaxPool) and pooled.pool.ceil_mode
        self.early, self.late = range(split + 1), range(split + 1, len(self.layers))

    def forward(self, images: torch.Tensor, taps: Sequence[Tap]) -> dict[Tap, torch.Tensor]:
        """(B, 3, H, W) normalized images -> {tap: (B, C, h, w)}; the early rows' taps count as fine ones."""
        x, early = run_rows(self.layers, images, self.early, taps)
        fine = run_rows(self.layers, x, self.late, taps)[1]
        coarser = F.max_pool2d(x, 1 if self.pool == "subsample" else 2, 2, ceil_mode=self.ceil)  # (B, C, h', w')
        return early | fine | self.run_coarse(coarser, taps)

    def tap_channels(self, tap: Tap) -> int:
        """Channels of a tap's map; ValueError if there is no such map, as of an early row on the coarse path."""
        if tap.is_coarse and not tap.joined and tap.row in self.early:
            raise ValueError(
                f"{str(tap)!r} of model.neck must be of a row after {self.early[-1]}, model.dual_path.split, where the "
                f"coarse path begins: choose such as coarse.{self.late[0]}, or {tap.row}"
            )
        return super().tap_channels(tap)

    def run_coarse(self, x: torch.Tensor, taps: Sequence[Tap]) -> dict[Tap, torch.Tensor]:
        """The coarse path from its input on: {tap: (B, C, h, w)}."""
        return run_rows(self.layers, x, self.late, taps, is_coarse=True)[1]


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


def make_dual_path(
    backbone: Backbone, /, split: int = 0, pool: Pool = "subsample", norm: Literal["shared", "separate"] = "shared"
) -> DualPath:
    """``DualPath(backbone, split, pool)``, or with ``norm: separate`` a ``SeparateNorms`` of the same arguments."""
    return (SeparateNorms if norm == "separate" else DualPath)(backbone, split, pool)


def with_coarse_statistics(given: Mapping[str, torch.Tensor], model: nn.Module) -> dict[str, torch.Tensor]:
    """A detector's state dict with the coarse path's statistics, each a copy of the shared one if it lacks it."""
    prefix = f"backbone.{COARSE}"
    shared = {
        f"{prefix}{name.removeprefix('backbone.layers.').replace('.', '_')}": value for name, value in given.items()
    }
    return {**{name: shared[name] for name in model.state_dict() if name in shared}, **given}
