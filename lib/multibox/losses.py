"""The training criterion: what the predictions should have been, and by how much they were not."""

from __future__ import annotations

from collections.abc import Callable

import torch
import torch.nn.functional as F

from lib.multibox.coder import BoxCoder
from lib.multibox.matcher import Matches
from lib.structures import BACKGROUND, IGNORE, Predictions, Target

Matcher = Callable[[torch.Tensor, Target], Matches]


def hard_negatives(
    background_loss: torch.Tensor, labels: torch.Tensor, ratio: float, min_negatives: int
) -> torch.Tensor:
    """The background priors of each image that look least like background (SSD, section 2.2).

    Args:
        background_loss: (B, P) float32, the loss of each prior as background.
        labels: (B, P) int64 from the matcher.
        ratio: negatives per positive of the image.
        min_negatives: negatives of an image with fewer positives, so that images without objects teach too.

    Returns:
        (B, P) bool. Ties keep the lower index.
    """
    num_positives = (labels > BACKGROUND).sum(dim=1, keepdim=True)  # (B, 1)
    wanted = (num_positives * ratio).clamp(min=min_negatives)
    loss = background_loss.masked_fill(labels != BACKGROUND, -torch.inf)
    order = loss.argsort(dim=1, descending=True, stable=True)
    rank = torch.empty_like(order).scatter_(1, order, torch.arange(labels.shape[1], device=labels.device).expand_as(order))
    return (rank < wanted) & (labels == BACKGROUND)


class MultiBoxLoss:
    """Softmax cross-entropy with hard negatives, and SmoothL1 on the offsets of the positives (SSD, eq. 1 to 3).

    Both are sums divided by the number of positives of the batch, or by one if there is none.

    Args:
        matcher: gives each prior its label and box.
        coder: turns boxes into offsets.
        negative_ratio: negatives mined per positive of an image.
        min_negatives: negatives mined in an image with fewer positives than would give as many. 0 is SSD's
            rule, by which an image without objects teaches nothing.
        box_weight: weight of the box loss.
        beta: where SmoothL1 turns from quadratic to linear.
    """

    def __init__(
        self,
        matcher: Matcher,
        coder: BoxCoder,
        /,
        negative_ratio: float = 3.0,
        min_negatives: int = 3,
        box_weight: float = 1.0,
        beta: float = 1.0,
    ):
        self.matcher, self.coder = matcher, coder
        self.negative_ratio, self.min_negatives = negative_ratio, min_negatives
        self.box_weight, self.beta = box_weight, beta

    def __call__(self, predictions: Predictions, target: Target) -> dict[str, torch.Tensor]:
        """``{"loss_cls": (), "loss_box": ()}`` float32, on the predictions' device, whatever their precision.

        Args:
            predictions: raw output for B images.
            target: boxes (B, G, 4) in pixels of the network's input, and labels (B, G).
        """
        labels, boxes = self.matcher(predictions.priors, target)  # (B, P), (B, P, 4)
        log_probs = F.log_softmax(predictions.logits.float(), dim=-1)  # (B, P, K)
        with torch.no_grad():
            negative = hard_negatives(
                -log_probs[..., BACKGROUND], labels, self.negative_ratio, self.min_negatives
            )
        positive = (labels != BACKGROUND) & (labels != IGNORE)
        counted = positive | negative
        loss_cls = F.nll_loss(log_probs[counted], labels[counted], reduction="sum")
        priors = predictions.priors.expand_as(boxes)
        offsets = self.coder.encode(boxes[positive], priors[positive])
        deltas = predictions.deltas[positive].float()
        loss_box = F.smooth_l1_loss(deltas, offsets, reduction="sum", beta=self.beta)
        num_positives = positive.sum().clamp(min=1)
        return {"loss_cls": loss_cls / num_positives, "loss_box": self.box_weight * loss_box / num_positives}


LOSSES = {"multibox": MultiBoxLoss}
