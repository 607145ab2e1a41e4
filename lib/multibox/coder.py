"""Boxes to offsets and back. Offsets ("deltas") exist only between ``encode`` and ``decode``."""

from __future__ import annotations

import math

import torch

from lib.ops.boxes import cxcywh_to_xyxy, xyxy_to_cxcywh

MAX_LOG_RATIO = math.log(1000 / 16)  # a box is at most 62.5 times as wide as its prior: exp cannot overflow


class BoxCoder:
    """The offset code of SSD (Liu et al. 2016, eq. 2, and the variances of its published code).

    Args:
        variances: scale of the centre's offsets, and of the logarithms of the sizes.
    """

    def __init__(self, variances: tuple[float, float] = (0.1, 0.2)):
        self.variances = tuple(variances)

    def encode(self, boxes: torch.Tensor, priors: torch.Tensor) -> torch.Tensor:
        """Offsets that lead from the priors to the boxes.

        Args:
            boxes: (..., 4) float32 xyxy, of positive width and height.
            priors: (..., 4) float32 xyxy in the same frame.

        Returns:
            (..., 4) float32: centre x, centre y, log width, log height.
        """
        box, prior = xyxy_to_cxcywh(boxes.float()), xyxy_to_cxcywh(priors)
        centres = (box[..., :2] - prior[..., :2]) / (prior[..., 2:] * self.variances[0])
        return torch.cat([centres, torch.log(box[..., 2:] / prior[..., 2:]) / self.variances[1]], dim=-1)

    def decode(self, deltas: torch.Tensor, priors: torch.Tensor) -> torch.Tensor:
        """Boxes that the offsets lead to, in float32 whatever the deltas' precision.

        Args:
            deltas: (..., 4) offsets as ``encode`` gives them.
            priors: (..., 4) float32 xyxy.

        Returns:
            (..., 4) float32 xyxy in the priors' frame, not clipped to it.
        """
        deltas, prior = deltas.float(), xyxy_to_cxcywh(priors)
        centres = prior[..., :2] + deltas[..., :2] * self.variances[0] * prior[..., 2:]
        sizes = prior[..., 2:] * torch.exp((deltas[..., 2:] * self.variances[1]).clamp(max=MAX_LOG_RATIO))
        return cxcywh_to_xyxy(torch.cat([centres, sizes], dim=-1))
