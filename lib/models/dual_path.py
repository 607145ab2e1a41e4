"""Dual path: the same layers, with the same weights, on two resolutions (BMVC 2019, section 3)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import torch
import torch.nn.functional as F

from lib.models.backbones.base import Backbone, run_rows
from lib.models.taps import Tap

Pool = Literal["subsample", "max"]


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
        pool: how the coarse copy is made: ``subsample`` takes every second row and column (the published code's);
            ``max`` takes the maximum of 2x2, which restores the law where row ``split`` was a 2x2 max pool.
    """

    has_coarse_path = True

    def __init__(self, backbone: Backbone, /, split: int = 0, pool: Pool = "subsample"):
        super().__init__(())  # the rows are the backbone's
        self.layers, self.channels, self.reductions = backbone.layers, backbone.channels, backbone.reductions
        if not 0 <= split < len(self.layers) - 1:
            raise ValueError(f"model.dual_path.split must be a row from 0 to {len(self.layers) - 2}; got {split}")
        self.pool = pool
        self.early, self.late = range(split + 1), range(split + 1, len(self.layers))

    def forward(self, images: torch.Tensor, taps: Sequence[Tap]) -> dict[Tap, torch.Tensor]:
        """(B, 3, H, W) normalized images -> {tap: (B, C, h, w)}; the early rows' taps count as fine ones."""
        x, early = run_rows(self.layers, images, self.early, taps)
        fine = run_rows(self.layers, x, self.late, taps)[1]
        coarse = self.run_coarse(self.coarsen(x), taps)
        return early | fine | coarse

    def coarsen(self, x: torch.Tensor) -> torch.Tensor:
        """(B, C, h, w) -> (B, C, h', w') of half the size."""
        return x[..., ::2, ::2] if self.pool == "subsample" else F.max_pool2d(x, 2)

    def run_coarse(self, x: torch.Tensor, taps: Sequence[Tap]) -> dict[Tap, torch.Tensor]:
        """The coarse path from its input on: {tap: (B, C, h, w)}."""
        return run_rows(self.layers, x, self.late, taps, is_coarse=True)[1]
