"""Boxes to offsets and back. Offsets ("deltas") exist only between ``encode`` and ``decode``."""

from dataclasses import dataclass

import torch

from lib.ops.boxes import decode_boxes, xyxy_to_cxcywh
from lib.ops.checks import check_sigma


@dataclass(frozen=True)
class BoxCoder:
    """The offset code of SSD (Liu et al. 2016, eq. 2, and the variances of its published code).

    Args:
        variances: scale of the center's offsets, and of the logarithms of the sizes.
    """

    variances: tuple[float, float] = (0.1, 0.2)

    def __post_init__(self) -> None:
        if len(self.variances) != 2 or not all(isinstance(value, (int, float)) for value in self.variances):
            raise ValueError(f"model.variances must be two numbers, of center and size; got {list(self.variances)}")
        for variance in self.variances:
            check_sigma(variance, "model.variances")

    def encode(self, boxes: torch.Tensor, priors: torch.Tensor) -> torch.Tensor:
        """Offsets that lead from priors (..., 4) to boxes (..., 4) of positive width and height, both float32 xyxy in
        one frame: (..., 4) float32, center x, center y, log width, log height.
        """
        box, prior = xyxy_to_cxcywh(boxes.float()), xyxy_to_cxcywh(priors)
        centers = (box[..., :2] - prior[..., :2]) / (prior[..., 2:] * self.variances[0])
        return torch.cat([centers, torch.log(box[..., 2:] / prior[..., 2:]) / self.variances[1]], dim=-1)

    def decode(self, deltas: torch.Tensor, priors: torch.Tensor) -> torch.Tensor:
        """Boxes (..., 4) xyxy to which offsets as ``encode`` gives them lead from priors (..., 4) float32 xyxy, in
        the priors' frame but not clipped to it; float32 whatever the deltas' precision.
        """
        return decode_boxes(deltas, priors, self.variances)
