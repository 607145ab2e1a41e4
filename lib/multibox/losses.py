"""The training criterion: what the predictions should have been, and by how much they were not."""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal

import torch
import torch.nn.functional as F

from lib.multibox.box_losses import BOX_LOSSES, iou
from lib.multibox.coder import BoxCoder
from lib.multibox.matcher import Matches
from lib.ops import training
from lib.structures import BACKGROUND, IGNORE, Predictions, Target
from lib.utils.lookup import lookup

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
    rank = torch.empty_like(order).scatter_(
        1, order, torch.arange(labels.shape[1], device=labels.device).expand_as(order)
    )
    return (rank < wanted) & (labels == BACKGROUND)


class Criterion:
    """What all losses share: matching, the box loss on the positives, and division by their number.

    Both parts are sums over the batch, divided by the number of its positives, or by one if there is none.

    Args:
        matcher: gives each prior its label and box.
        coder: turns boxes into offsets and back.
        box: a name of BOX_LOSSES.
        box_weight: weight of the box loss.
        beta: where SmoothL1 and balanced L1 turn linear; None: 1. The other box losses have none.

    Attributes:
        activation: what turns the logits that it trains into scores.
    """

    activation = "softmax"

    def __init__(
        self,
        matcher: Matcher,
        coder: BoxCoder,
        /,
        box: str = "smooth_l1",
        box_weight: float = 1.0,
        beta: float | None = None,
    ):
        self.matcher, self.coder, self.box_weight = matcher, coder, box_weight
        self.box = lookup(BOX_LOSSES, box, "loss.box")
        if beta is not None and not self.box.on_offsets:
            raise ValueError(f"loss.beta must be null for loss.box={box}, which has none; got {beta}")
        self.options = {} if beta is None else {"beta": beta}

    def __call__(self, predictions: Predictions, target: Target) -> dict[str, torch.Tensor]:
        """``{"loss_cls": (), "loss_box": ()}`` float32, on the predictions' device, whatever their precision.

        Args:
            predictions: raw output for B images.
            target: boxes (B, G, 4) in pixels of the network's input, and labels (B, G).
        """
        sums, num_positives = self.sums(predictions, target)
        return {name: value / num_positives.clamp(min=1) for name, value in sums.items()}

    def sums(self, predictions: Predictions, target: Target) -> tuple[dict[str, torch.Tensor], torch.Tensor]:
        """The two losses as weighted sums over the batch, and its number of positives (), which may be 0.

        A step whose batch is in parts, or on several devices, divides by the positives of all of them.
        """
        labels, boxes = self.matcher(predictions.priors, target)  # (B, P), (B, P, 4)
        positive = labels > BACKGROUND
        loss_cls = self.classify(predictions, labels, boxes)
        loss_box = self.box_weight * self._locate(predictions, positive, boxes)
        return {"loss_cls": loss_cls, "loss_box": loss_box}, positive.sum()

    def _locate(self, predictions: Predictions, positive: torch.Tensor, boxes: torch.Tensor) -> torch.Tensor:
        """The box loss of the positives (B, P) of a batch, a sum: boxes (B, P, 4) from the matcher -> ()."""
        _, deltas, priors, _ = predictions
        if training.serves(deltas):
            image, prior = positive.nonzero(as_tuple=True)
            return self.regress(deltas[image, prior].float(), boxes[image, prior], priors[prior]).sum()
        # To gather the positives would be to wait for a GPU to count them. The others count as predicted right.
        deltas = deltas.float().where(positive[..., None], 0)
        return self.regress(deltas, boxes, priors.expand_as(boxes)).where(positive, 0).sum()

    def regress(self, deltas: torch.Tensor, boxes: torch.Tensor, priors: torch.Tensor) -> torch.Tensor:
        """The box loss of each prior: deltas, boxes and priors (..., 4) -> (...)."""
        if self.box.on_offsets:
            return self.box.function(deltas, self.coder.encode(boxes, priors), **self.options)
        return self.box.function(self.coder.decode(deltas, priors), boxes)

    def classify(self, predictions: Predictions, labels: torch.Tensor, boxes: torch.Tensor) -> torch.Tensor:
        """The class loss of the batch, a sum: labels (B, P) and boxes (B, P, 4) from the matcher -> ()."""
        raise NotImplementedError


class MultiBoxLoss(Criterion):
    """Softmax cross-entropy on the positives and on hard negatives (SSD, eq. 1 to 3).

    Args:
        negative_ratio: negatives mined per positive of an image.
        min_negatives: negatives mined in an image with fewer positives than would give as many. 0 is SSD's
            rule, by which an image without objects teaches nothing.
        box, box_weight, beta: see ``Criterion``.
    """

    def __init__(
        self,
        matcher: Matcher,
        coder: BoxCoder,
        /,
        negative_ratio: float = 3.0,
        min_negatives: int = 3,
        box: str = "smooth_l1",
        box_weight: float = 1.0,
        beta: float | None = None,
    ):
        super().__init__(matcher, coder, box, box_weight, beta)
        self.negative_ratio, self.min_negatives = negative_ratio, min_negatives

    def classify(self, predictions: Predictions, labels: torch.Tensor, boxes: torch.Tensor) -> torch.Tensor:
        if training.serves(predictions.logits):
            return training.mined_loss(predictions.logits, labels, self.negative_ratio, self.min_negatives)[0]
        log_probs = F.log_softmax(predictions.logits.float(), dim=-1)  # (B, P, K)
        background_loss = -log_probs.detach()[..., BACKGROUND]
        negative = hard_negatives(background_loss, labels, self.negative_ratio, self.min_negatives)
        own = log_probs.gather(2, labels.clamp(min=BACKGROUND)[..., None])[..., 0]  # (B, P)
        return -own.where((labels > BACKGROUND) | negative, 0).sum()


class FocalLoss(Criterion):
    """A sigmoid a class, easy priors weighed down (RetinaNet, section 3, eq. 5). Column 0 is not used.

    Args:
        alpha: weight of a prior's own class; of all others 1 - alpha.
        gamma: how much easy ones weigh down; 0 is plain cross-entropy.
        cls_weight: weight of the class loss.
        box, box_weight, beta: see ``Criterion``.
    """

    activation = "sigmoid"

    def __init__(
        self,
        matcher: Matcher,
        coder: BoxCoder,
        /,
        alpha: float = 0.25,
        gamma: float = 2.0,
        cls_weight: float = 1.0,
        box: str = "smooth_l1",
        box_weight: float = 1.0,
        beta: float | None = None,
    ):
        super().__init__(matcher, coder, box, box_weight, beta)
        self.alpha, self.gamma, self.cls_weight = alpha, gamma, cls_weight

    def classify(self, predictions: Predictions, labels: torch.Tensor, boxes: torch.Tensor) -> torch.Tensor:
        quality = self.quality(predictions.deltas, boxes, predictions.priors.expand_as(boxes))  # (B, P)
        logits = predictions.logits[..., BACKGROUND + 1 :].float()  # (B, P, K - 1)
        classes = torch.arange(BACKGROUND + 1, predictions.logits.shape[-1], device=labels.device)
        is_class = labels[..., None] == classes
        wanted = torch.where(is_class, quality[..., None], 0)
        weight = torch.where(is_class, self.alpha, 1 - self.alpha)
        distance = (wanted - logits.sigmoid()).abs()
        entropy = F.binary_cross_entropy_with_logits(logits, wanted, reduction="none")
        loss = weight * distance**self.gamma * entropy * (labels != IGNORE)[..., None]
        return self.cls_weight * loss.sum()

    def quality(self, deltas: torch.Tensor, boxes: torch.Tensor, priors: torch.Tensor) -> torch.Tensor:
        """The score that each positive's own class is to have: deltas, boxes, priors (B, P, 4) -> (B, P), 0 .. 1."""
        return torch.ones_like(boxes[..., 0])


class QualityFocalLoss(FocalLoss):
    """A focal loss whose wanted score is the box's IoU with its object (Li et al. 2020, section 3.1, eq. 2).

    Args:
        of: whose IoU it is: the ``prediction``'s, as in the paper, or the ``prior``'s.
        alpha, gamma, cls_weight, box, box_weight, beta: see ``FocalLoss``.
    """

    def __init__(
        self,
        matcher: Matcher,
        coder: BoxCoder,
        /,
        of: Literal["prediction", "prior"] = "prediction",
        alpha: float = 0.5,
        gamma: float = 2.0,
        cls_weight: float = 1.0,
        box: str = "smooth_l1",
        box_weight: float = 1.0,
        beta: float | None = None,
    ):
        super().__init__(matcher, coder, alpha, gamma, cls_weight, box, box_weight, beta)
        self.of = of

    @torch.no_grad()
    def quality(self, deltas: torch.Tensor, boxes: torch.Tensor, priors: torch.Tensor) -> torch.Tensor:
        return iou(priors if self.of == "prior" else self.coder.decode(deltas, priors), boxes)


LOSSES = {"multibox": MultiBoxLoss, "focal": FocalLoss, "quality_focal": QualityFocalLoss}
