"""Box losses: how far a predicted box is from the one that it should be.

Every function takes predicted and wanted offsets (..., 4), or boxes (..., 4) xyxy, and gives a loss for each pair,
(...) float32, whose gradient is finite where both are the same box.
None waits for a GPU; ``prod``, for one, would in its gradient.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
import torch.nn.functional as F

from lib.multibox.coder import BoxCoder
from lib.ops.boxes import box_area
from lib.ops.checks import check_sigma, check_weight
from lib.ops.loss_sums import sum_over_positives
from lib.ops.matching import Matches
from lib.ops.reference import NWD_CONSTANT
from lib.structures import BACKGROUND, Predictions
from lib.utils.lookup import lookup

TINY = 1e-7


def smooth_l1(deltas: torch.Tensor, wanted: torch.Tensor, beta: float = 1.0) -> torch.Tensor:
    """Quadratic up to ``beta``, then linear (Fast R-CNN, eq. 3)."""
    return F.smooth_l1_loss(deltas, wanted, reduction="none", beta=beta).sum(-1)


def balanced_l1(
    deltas: torch.Tensor, wanted: torch.Tensor, beta: float = 1.0, alpha: float = 0.5, gamma: float = 1.5
) -> torch.Tensor:
    """Inliers weigh more than with SmoothL1 (Libra R-CNN, section 3.3, eq. 10): its gradient is
    ``alpha * log(b * |x| / beta + 1)``, and ``gamma`` from ``beta`` on, where b makes the two meet.
    """
    b = math.expm1(gamma / alpha)
    x = (deltas - wanted).abs()
    inside = alpha / b * (b * x + beta) * torch.log1p(b * x / beta) - alpha * x
    outside = gamma * (x - beta) + alpha / b * (b + 1) * beta * math.log1p(b) - alpha * beta
    return torch.where(x < beta, inside, outside).sum(-1)


def _iou(boxes: torch.Tensor, wanted: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """IoU and union (...), and the smallest box around both (..., 4)."""
    low = torch.minimum(boxes[..., :2], wanted[..., :2]), torch.maximum(boxes[..., :2], wanted[..., :2])
    high = torch.maximum(boxes[..., 2:], wanted[..., 2:]), torch.minimum(boxes[..., 2:], wanted[..., 2:])
    hull, common = (torch.cat(corners, dim=-1) for corners in zip(low, high, strict=True))
    shared = box_area(common)
    union = box_area(boxes) + box_area(wanted) - shared
    return shared / union.clamp(min=TINY), union, hull


def iou(boxes: torch.Tensor, wanted: torch.Tensor) -> torch.Tensor:
    """IoU of each pair."""
    return _iou(boxes, wanted)[0]


def giou(boxes: torch.Tensor, wanted: torch.Tensor) -> torch.Tensor:
    """1 - IoU, and the share of the surrounding box that neither fills (Rezatofighi et al. 2019, algorithm 1)."""
    overlap, union, hull = _iou(boxes, wanted)
    area = box_area(hull).clamp(min=TINY)
    return 1 - overlap + (area - union) / area


def diou(boxes: torch.Tensor, wanted: torch.Tensor) -> torch.Tensor:
    """1 - IoU, and the centers' distance by the surrounding box's diagonal, squared (Zheng et al. 2020, eq. 7)."""
    overlap, _, hull = _iou(boxes, wanted)
    apart = (boxes[..., :2] + boxes[..., 2:] - wanted[..., :2] - wanted[..., 2:]) / 2
    diagonal = hull[..., 2:] - hull[..., :2]
    return 1 - overlap + apart.square().sum(-1) / diagonal.square().sum(-1).clamp(min=TINY)


def ciou(boxes: torch.Tensor, wanted: torch.Tensor) -> torch.Tensor:
    """DIoU, and how much the aspect ratios differ (Zheng et al. 2020, eq. 8 to 11)."""
    sides = ((b[..., 2:] - b[..., :2]).unbind(-1) for b in (boxes, wanted))
    angles = [torch.atan(width / height.clamp(min=TINY)) for width, height in sides]
    v = 4 / math.pi**2 * (angles[1] - angles[0]).square()
    with torch.no_grad():
        weight = v / (1 - _iou(boxes, wanted)[0] + v).clamp(min=TINY)
    return diou(boxes, wanted) + weight * v


def nwd(boxes: torch.Tensor, wanted: torch.Tensor) -> torch.Tensor:
    """1 - the normalized Wasserstein distance of the boxes as Gaussians (Wang et al. 2021, eq. 7 to 9): it still
    tells near from far where tiny boxes do not overlap.
    """
    low, high = boxes[..., :2] - wanted[..., :2], boxes[..., 2:] - wanted[..., 2:]
    squared = ((low + high) / 2).square().sum(-1) + ((high - low) / 2).square().sum(-1)
    return 1 - torch.exp(-torch.sqrt(squared.clamp(min=TINY)) / NWD_CONSTANT)


ON_OFFSETS: dict[str, Callable[..., torch.Tensor]] = {"smooth_l1": smooth_l1, "balanced_l1": balanced_l1}
ON_BOXES: dict[str, Callable[..., torch.Tensor]] = {"giou": giou, "diou": diou, "ciou": ciou, "nwd": nwd}
BOX_LOSSES = ON_OFFSETS | ON_BOXES


@dataclass
class BoxLoss:
    """The box loss of a batch: one of the functions above, over the positives.

    Args:
        box: a name of BOX_LOSSES.
        box_weight: weight of the loss beside the class loss.
        beta: where smooth_l1 and balanced_l1 turn linear; None: 1. The other functions have none.
    """

    box: str = "smooth_l1"
    box_weight: float = 1.0
    beta: float | None = None

    def __post_init__(self) -> None:
        lookup(BOX_LOSSES, self.box, "loss.box")
        check_weight(self.box_weight, "loss.box_weight")
        if self.beta is not None:
            check_sigma(self.beta, "loss.beta")
        if self.beta is not None and self.box not in ON_OFFSETS:
            raise ValueError(f"loss.beta must be null for loss.box={self.box}, which has none; got {self.beta}")

    def __call__(self, predictions: Predictions, matches: Matches, coder: BoxCoder) -> torch.Tensor:
        """The weighted sum () over the positives of the batch."""

        def loss(deltas: torch.Tensor, boxes: torch.Tensor, priors: torch.Tensor) -> torch.Tensor:
            if self.box in ON_BOXES:
                return ON_BOXES[self.box](coder.decode(deltas, priors), boxes)
            options = {} if self.beta is None else {"beta": self.beta}
            return ON_OFFSETS[self.box](deltas, coder.encode(boxes, priors), **options)

        is_positive = matches.labels > BACKGROUND
        return self.box_weight * sum_over_positives(
            loss, is_positive, predictions.deltas, matches.boxes, predictions.priors
        )
