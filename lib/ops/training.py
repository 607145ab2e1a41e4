"""SSD's matching and mined cross-entropy as compiled operators on the CPU, where the torch versions in lib/multibox
would go through the priors many times.
"""

from __future__ import annotations

import numpy as np
import torch

from lib.ops import kernels

_MATCH, _LOSS, _GRADIENT = (
    f"{kernels.NAMESPACE}::{name}" for name in ("match", "mined_loss", "mined_loss_gradient")
)
torch.library.define(
    _MATCH,
    "(Tensor priors, Tensor boxes, Tensor labels, float threshold, float negative_threshold, "
    "float ignore_overlap, bool best_prior) -> (Tensor, Tensor)",
)
torch.library.define(
    _LOSS, "(Tensor logits, Tensor labels, float ratio, int min_negatives) -> (Tensor, Tensor)"
)
torch.library.define(_GRADIENT, "(Tensor scale, Tensor logits, Tensor labels, Tensor chosen) -> Tensor")


def serves(tensor: torch.Tensor) -> bool:
    """Whether the operators are built and take ``tensor``: one on the CPU, where rows may be counted at no cost."""
    return tensor.is_cpu and kernels.load("_training") is not None


def match(
    priors: torch.Tensor, boxes: torch.Tensor, labels: torch.Tensor, *rule: float
) -> tuple[torch.Tensor, torch.Tensor]:
    """The labels (B, P) and boxes (B, P, 4) that priors (P, 4) are to find.

    Args:
        boxes, labels: (B, G, 4) and (B, G) of a Target.
        *rule: threshold, negative_threshold, ignore_overlap and best_prior of ``IoUMatcher``.
    """
    return torch.ops.multibox.match(priors, boxes, labels, *rule)


def mined_loss(
    logits: torch.Tensor, labels: torch.Tensor, ratio: float, min_negatives: int
) -> tuple[torch.Tensor, torch.Tensor]:
    """The summed cross-entropy () of positives and hard negatives, and which priors these are, (B, P) bool.

    Args:
        logits: (B, P, K) of any floating type; its gradient is of the same.
        labels: (B, P) int64 below K; negative where ignored.
        ratio, min_negatives: of ``lib.multibox.losses.hard_negatives``.
    """
    if labels.numel() and int(labels.max()) >= logits.shape[-1]:
        raise ValueError(
            f"labels must be below the logits' {logits.shape[-1]} classes, background among them; got "
            f"{int(labels.max())}: set model.num_classes to what the data has"
        )
    return torch.ops.multibox.mined_loss(logits, labels, ratio, min_negatives)


@torch.library.impl(_MATCH, "cpu")
def _match(
    priors: torch.Tensor, boxes: torch.Tensor, labels: torch.Tensor, *rule: float
) -> tuple[torch.Tensor, torch.Tensor]:
    found = labels.new_zeros(len(labels), len(priors))
    if not labels.numel() or not len(priors):
        return found, priors.repeat(len(labels), 1, 1)
    matched = priors.new_empty(*found.shape, 4)
    kernels.load("_training").match(
        kernels.as_input(priors, torch.float32),
        kernels.as_input(boxes, torch.float32),
        kernels.as_input(labels, torch.int64),
        *rule,
        torch.get_num_threads(),
        found.numpy(),
        matched.numpy(),
    )
    return found, matched


@torch.library.register_fake(_MATCH)
def _(priors, boxes, labels, *rule):
    return labels.new_empty(len(labels), len(priors)), boxes.new_empty(len(labels), len(priors), 4)


@torch.library.impl(_LOSS, "cpu")
def _mined_loss(
    logits: torch.Tensor, labels: torch.Tensor, ratio: float, min_negatives: int
) -> tuple[torch.Tensor, torch.Tensor]:
    sums, chosen = np.zeros(len(logits)), torch.zeros_like(labels, dtype=torch.bool)
    if labels.numel():
        kernels.load("_training").mined_losses(
            kernels.as_input(logits, torch.float32),
            kernels.as_input(labels, torch.int64),
            ratio,
            min_negatives,
            torch.get_num_threads(),
            chosen.numpy().view(np.uint8),
            sums,
        )
    return torch.tensor(sums.sum(), dtype=torch.float32), chosen


@torch.library.register_fake(_LOSS)
def _(logits, labels, ratio, min_negatives):
    return logits.new_empty((), dtype=torch.float32), torch.empty_like(labels, dtype=torch.bool)


@torch.library.impl(_GRADIENT, "cpu")
def _mined_loss_gradient(
    scale: torch.Tensor, logits: torch.Tensor, labels: torch.Tensor, chosen: torch.Tensor
) -> torch.Tensor:
    gradient = torch.zeros(logits.shape)
    if labels.numel():
        kernels.load("_training").mined_gradient(
            kernels.as_input(logits, torch.float32),
            kernels.as_input(labels, torch.int64),
            kernels.as_input(chosen, torch.bool).view(np.uint8),
            float(scale),
            gradient.numpy(),
        )
    return gradient.to(logits.dtype)


@torch.library.register_fake(_GRADIENT)
def _(scale, logits, labels, chosen):
    return torch.empty_like(logits, memory_format=torch.contiguous_format)


def _save(ctx, inputs, output) -> None:
    ctx.save_for_backward(*inputs[:2], output[1])


def _backward(ctx, scale: torch.Tensor, _) -> tuple:
    return torch.ops.multibox.mined_loss_gradient(scale, *ctx.saved_tensors), None, None, None


torch.library.register_autograd(_LOSS, _backward, setup_context=_save)
