"""Losses summed over the priors that count. On the CPU these are picked out; on a GPU, which would have to be waited
for to count them, the others are made to add nothing.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
import torch

from lib.ops import kernels
from lib.ops.checks import check_count, check_integers, check_one_device, check_shapes, check_tensors, check_weight
from lib.structures import BACKGROUND


class MinedLoss(NamedTuple):
    """The summed ``loss`` (), and which priors it is of: ``chosen`` (B, P) bool."""

    loss: torch.Tensor
    chosen: torch.Tensor


def mined_loss(logits: torch.Tensor, labels: torch.Tensor, ratio: float, min_negatives: int) -> MinedLoss:
    """The softmax cross-entropy of positives and hard negatives.

    Args:
        logits: (B, P, K) of any floating type; their gradient is of the same.
        labels: (B, P) int64 below K; negative where ignored.
        ratio, min_negatives: see ``hard_negatives``.
    """
    if kernels.for_cpu("_training", logits) is None:
        _check_mined_loss(logits, labels, ratio, min_negatives)
        return _mined_loss_in_torch(logits, labels, ratio, min_negatives)
    return MinedLoss(*_mined_loss(logits, labels, ratio, min_negatives))


def _mined_loss_in_torch(logits: torch.Tensor, labels: torch.Tensor, ratio: float, min_negatives: int) -> MinedLoss:
    log_probs = logits.float().log_softmax(-1)  # (B, P, K)
    background_loss = -log_probs.detach()[..., BACKGROUND]
    chosen = (labels > BACKGROUND) | hard_negatives(background_loss, labels, ratio, min_negatives)
    of_label = log_probs.gather(2, labels.clamp(min=BACKGROUND)[..., None])[..., 0]  # (B, P)
    return MinedLoss(-of_label.where(chosen, 0).sum(), chosen)


def hard_negatives(
    background_loss: torch.Tensor, labels: torch.Tensor, ratio: float, min_negatives: int
) -> torch.Tensor:
    """(B, P) bool: the background priors of each image that look least like background (SSD, section 2.2); ties keep
    the lower index.

    Args:
        background_loss: (B, P) float32, the loss of each prior as background.
        labels: (B, P) int64 from the matcher.
        ratio: negatives per positive of the image.
        min_negatives: negatives of an image with fewer positives, so that images without objects teach too.
    """
    num_positives = (labels > BACKGROUND).sum(dim=1, keepdim=True)  # (B, 1)
    wanted = (num_positives * ratio).clamp(min=min_negatives)
    loss = background_loss.masked_fill(labels != BACKGROUND, -torch.inf)
    order = loss.argsort(dim=1, descending=True, stable=True)
    places = torch.arange(labels.shape[1], device=labels.device).expand_as(order)
    rank = torch.empty_like(order).scatter_(1, order, places)
    return (rank < wanted) & (labels == BACKGROUND)


def sum_over_positives(
    loss: Callable[[torch.Tensor, torch.Tensor, torch.Tensor], torch.Tensor],
    is_positive: torch.Tensor,
    deltas: torch.Tensor,
    boxes: torch.Tensor,
    priors: torch.Tensor,
) -> torch.Tensor:
    """The sum () of a box loss over the positives (B, P).

    Args:
        loss: deltas, boxes and priors (..., 4) -> (...).
        deltas: (B, P, 4) of any floating type. boxes: (B, P, 4), those of the priors where not positive.
        priors: (P, 4).
    """
    if kernels.is_on_host(deltas):
        image, prior = is_positive.nonzero(as_tuple=True)
        return loss(deltas[image, prior].float(), boxes[image, prior], priors[prior]).sum()
    deltas = deltas.float().where(is_positive[..., None], 0)  # the others count as predicted right
    return loss(deltas, boxes, priors.expand_as(boxes)).where(is_positive, 0).sum()


def _check_mined_loss(logits: torch.Tensor, labels: torch.Tensor, ratio: float, min_negatives: int) -> None:
    _check_labels(logits, labels)
    check_weight(ratio, "loss.negative_ratio")
    check_count(min_negatives, "loss.min_negatives")


def _check_labels(logits: torch.Tensor, labels: torch.Tensor) -> None:
    check_tensors(logits=logits)
    check_integers(labels=labels)
    check_one_device(logits, labels)
    batch, count, classes = logits.shape if logits.ndim == 3 else (-1, -1, -1)
    check_shapes(
        logits=(logits, "(B, P, K)", (batch, count, max(classes, 1))), labels=(labels, "(B, P)", (batch, count))
    )


def _check_gradient(scale: torch.Tensor, logits: torch.Tensor, labels: torch.Tensor, chosen: torch.Tensor) -> None:
    _check_labels(logits, labels)
    check_shapes(
        labels=(labels, "(B, P)", tuple(labels.shape)),
        chosen=(chosen, "(B, P)", tuple(labels.shape)),
        scale=(scale, "()", ()),
    )


@kernels.operator(
    _check_mined_loss,
    lambda logits, labels, *_: (logits.new_empty((), dtype=torch.float32), torch.empty_like(labels, dtype=torch.bool)),
)
def _mined_loss(
    logits: torch.Tensor, labels: torch.Tensor, ratio: float, min_negatives: int
) -> tuple[torch.Tensor, torch.Tensor]:
    sums, chosen = np.zeros(len(logits)), torch.zeros(labels.shape, dtype=torch.bool)
    if labels.numel():
        if int(labels.max()) >= logits.shape[-1]:
            raise ValueError(
                f"labels must be below the logits' {logits.shape[-1]} classes, background among them; got "
                f"{int(labels.max())}: set model.num_classes to what the data has"
            )
        inputs = (kernels.as_input(logits), kernels.as_input(labels, torch.int64))
        options = (ratio, min_negatives, torch.get_num_threads())
        kernels.needed("_training").mined_losses(*inputs, *options, chosen.numpy().view(np.uint8), sums)
    return torch.tensor(sums.sum(), dtype=torch.float32), chosen


@kernels.operator(
    _check_gradient, lambda _, logits, *rest: torch.empty_like(logits, memory_format=torch.contiguous_format)
)
def _mined_loss_gradient(
    scale: torch.Tensor, logits: torch.Tensor, labels: torch.Tensor, chosen: torch.Tensor
) -> torch.Tensor:
    gradient = torch.zeros(logits.shape)
    if labels.numel():
        inputs = (kernels.as_input(logits), kernels.as_input(labels, torch.int64))
        is_chosen = kernels.as_input(chosen, torch.bool).view(np.uint8)
        kernels.needed("_training").mined_gradient(*inputs, is_chosen, float(scale), gradient.numpy())
    return gradient.to(logits.dtype)


def _save(ctx: Any, inputs: tuple[Any, ...], output: tuple[torch.Tensor, torch.Tensor]) -> None:
    ctx.save_for_backward(*inputs[:2], output[1])


def _backward(ctx: Any, scale: torch.Tensor, _: None) -> tuple[torch.Tensor, None, None, None]:
    return _mined_loss_gradient(scale, *ctx.saved_tensors), None, None, None


torch.library.register_autograd("multibox::mined_loss", _backward, setup_context=_save)
