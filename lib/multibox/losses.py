"""The training criterion: a matcher says what each prior should have predicted, a class loss and a box loss how far
it is from that.
"""

import inspect
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, ClassVar, Literal, NamedTuple

import torch
import torch.nn.functional as F

from lib.multibox.box_losses import BoxLoss, iou
from lib.multibox.coder import BoxCoder
from lib.ops.checks import check_count, check_fraction, check_weight
from lib.ops.loss_sums import mined_loss
from lib.ops.matching import Matches
from lib.structures import BACKGROUND, IGNORE, Predictions, Target

Matcher = Callable[[torch.Tensor, Target], Matches]


@dataclass
class MinedSoftmaxLoss:
    """Softmax cross-entropy on the positives and on hard negatives (SSD, eq. 1 to 3).

    Args:
        negative_ratio: negatives mined per positive of an image.
        min_negatives: negatives mined in an image with fewer positives than would give as many. 0 is SSD's
            rule, by which an image without objects teaches nothing.
    """

    activation: ClassVar[str] = "softmax"
    negative_ratio: float = 3.0
    min_negatives: int = 3

    def __post_init__(self) -> None:
        check_weight(self.negative_ratio, "loss.negative_ratio")
        check_count(self.min_negatives, "loss.min_negatives")

    def __call__(self, predictions: Predictions, matches: Matches, coder: BoxCoder) -> torch.Tensor:
        """The sum () over the positives and the mined negatives of the batch."""
        return mined_loss(predictions.logits, matches.labels, self.negative_ratio, self.min_negatives).loss


@dataclass
class FocalLoss:
    """A sigmoid a class, easy priors weighed down (RetinaNet, section 3, eq. 5). Column 0 is not used.

    Args:
        alpha: weight of a prior's own class; of all others 1 - alpha.
        gamma: how much easy priors are weighed down; 0 is plain cross-entropy.
        cls_weight: weight of the loss beside the box loss.
    """

    activation: ClassVar[str] = "sigmoid"
    alpha: float = 0.25
    gamma: float = 2.0
    cls_weight: float = 1.0

    def __post_init__(self) -> None:
        check_fraction(self.alpha, "loss.alpha")
        check_weight(self.gamma, "loss.gamma")
        check_weight(self.cls_weight, "loss.cls_weight")

    def __call__(self, predictions: Predictions, matches: Matches, coder: BoxCoder) -> torch.Tensor:
        """The weighted sum () over the priors of the batch that are not ignored."""
        quality = self.quality(predictions, matches, coder)  # (B, P)
        logits = predictions.logits[..., BACKGROUND + 1 :].float()  # (B, P, K - 1)
        classes = torch.arange(BACKGROUND + 1, predictions.logits.shape[-1], device=logits.device)
        is_class = matches.labels[..., None] == classes
        wanted = torch.where(is_class, quality[..., None], 0)
        weight = torch.where(is_class, self.alpha, 1 - self.alpha)
        distance = (wanted - logits.sigmoid()).abs()
        if 0 < self.gamma < 1:  # at a distance of 0 the gradient of its power would be infinite, and NaN times 0
            distance = distance.clamp(min=torch.finfo(distance.dtype).tiny)
        entropy = F.binary_cross_entropy_with_logits(logits, wanted, reduction="none")
        loss = weight * distance**self.gamma * entropy * (matches.labels != IGNORE)[..., None]
        return self.cls_weight * loss.sum()

    def quality(self, predictions: Predictions, matches: Matches, coder: BoxCoder) -> torch.Tensor:
        """The score that each positive's own class should have: (B, P), 0 .. 1."""
        return torch.ones_like(matches.boxes[..., 0])


@dataclass
class QualityFocalLoss(FocalLoss):
    """A focal loss whose wanted score is the box's IoU with its object (Li et al. 2020, section 3.1, eq. 2).

    Args:
        of: whose IoU it is: the ``prediction``'s, as in the paper, or the ``prior``'s.
        alpha, gamma, cls_weight: see ``FocalLoss``.
    """

    alpha: float = 0.5
    of: Literal["prediction", "prior"] = "prediction"

    @torch.no_grad()
    def quality(self, predictions: Predictions, matches: Matches, coder: BoxCoder) -> torch.Tensor:
        """See ``FocalLoss``."""
        priors = predictions.priors.expand_as(matches.boxes)
        return iou(priors if self.of == "prior" else coder.decode(predictions.deltas, priors), matches.boxes)


# Each has the ``activation`` that turns the logits it trains into scores, a name of lib.ops.detections.ACTIVATIONS.
ClassLoss = MinedSoftmaxLoss | FocalLoss
CLASS_LOSSES: dict[str, type[ClassLoss]] = {
    "multibox": MinedSoftmaxLoss,
    "focal": FocalLoss,
    "quality_focal": QualityFocalLoss,
}


class LossSums(NamedTuple):
    """Losses of a batch before the division: ``losses`` {name: ()}, and ``num_positives`` (), which may be 0."""

    losses: dict[str, torch.Tensor]
    num_positives: torch.Tensor


class Criterion:
    """Matching, both losses, and division by the number of positives of the batch, or by one if there is none."""

    def __init__(self, matcher: Matcher, coder: BoxCoder, class_loss: ClassLoss, box_loss: BoxLoss):
        self.matcher, self.coder, self.class_loss, self.box_loss = matcher, coder, class_loss, box_loss

    def __call__(self, predictions: Predictions, target: Target) -> dict[str, torch.Tensor]:
        """``{"loss_cls": (), "loss_box": ()}`` float32, on the predictions' device, whatever their precision."""
        losses, num_positives = self.sums(predictions, target)
        return {name: value / num_positives.clamp(min=1) for name, value in losses.items()}

    def sums(self, predictions: Predictions, target: Target) -> LossSums:
        """The two losses as weighted sums over the batch.

        A step whose batch is in parts, or on several devices, divides by the positives of all of them.
        """
        matches = self.matcher(predictions.priors, target)
        losses = {
            "loss_cls": self.class_loss(predictions, matches, self.coder),
            "loss_box": self.box_loss(predictions, matches, self.coder),
        }
        return LossSums(losses, (matches.labels > BACKGROUND).sum())


def _recipe(class_loss: type[ClassLoss]) -> Callable[..., Criterion]:
    """What builds a criterion with a class loss of one kind. Its signature, by which a config is checked, has the
    options of both losses.
    """
    for_class, for_box = (dict(inspect.signature(part, eval_str=True).parameters) for part in (class_loss, BoxLoss))

    def make(matcher: Matcher, coder: BoxCoder, /, **options: Any) -> Criterion:
        box_loss = BoxLoss(**{name: options.pop(name) for name in for_box if name in options})
        return Criterion(matcher, coder, class_loss(**options), box_loss)

    parameters = [value.replace(kind=value.KEYWORD_ONLY) for value in (for_class | for_box).values()]
    vars(make)["__signature__"] = inspect.Signature(parameters)
    return make


# Each class loss with a box loss: a config's ``loss.type`` names one, its other keys are options of either.
LOSSES = {name: _recipe(class_loss) for name, class_loss in CLASS_LOSSES.items()}
