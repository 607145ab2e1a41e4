"""Dual path: the same layers, with the same weights, on two resolutions (BMVC 2019, section 3)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import torch
import torch.nn.functional as F
from torch import nn

from lib.models.backbones.base import Backbone, run_rows


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
    """

    def __init__(
        self, backbone: Backbone, /, split: int = 0, pool: Literal["subsample", "max"] = "subsample"
    ):
        super().__init__()
        if not 0 <= split < len(backbone.layers) - 1:
            raise ValueError(
                f"model.dual_path.split must be a row from 0 to {len(backbone.layers) - 2}; got {split}"
            )
        self.layers, self.channels, self.reductions = backbone.layers, backbone.channels, backbone.reductions
        self.split, self.pool = split, pool

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
        return shared | fine | run_rows(self.layers, y, rest, taps, "coarse.")[1]
