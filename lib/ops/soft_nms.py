"""Soft-NMS, on the CPU, by way of which tensors of other devices go."""

from __future__ import annotations

from typing import Any, Generic, Literal, NamedTuple

import torch

from lib.ops import kernels, reference
from lib.ops.checks import check_fraction, check_scored_boxes, check_sigma
from lib.ops.kernels import Values
from lib.utils.lookup import lookup

_METHODS = {"linear": False, "gaussian": True}


class LoweredScores(NamedTuple, Generic[Values]):
    """(M,) int64 ``indices`` of the boxes that stay and their (M,) float32 ``scores``, by falling score."""

    indices: Values
    scores: Values


def soft_nms(
    boxes: Values,
    scores: Values,
    labels: Values | None = None,
    method: Literal["linear", "gaussian"] = "gaussian",
    iou_threshold: float = 0.3,
    sigma: float = 0.5,
    score_threshold: float = 0.001,
) -> LoweredScores[Values]:
    """Soft-NMS (Bodla et al. 2017): overlapping boxes are not removed, their scores are lowered.

    The best box is taken, of equal ones the first; the others' scores are multiplied by ``1 - IoU`` where the
    IoU with it is greater than the threshold (linear), or by ``exp(-IoU^2 / sigma)`` (gaussian); and so on. A box
    that is not finite is dropped. Computed in float32.

    Args:
        boxes: (N, 4) xyxy of any floating type.
        scores: (N,) of any floating type.
        labels: (N,) integers: only boxes of one label lower each other's scores. None: all do.
        method: ``linear`` or ``gaussian``.
        iou_threshold: 0 .. 1, of the linear method.
        sigma: above 0, of the gaussian method.
        score_threshold: a box is dropped once its score is not greater.
    """
    lookup(_METHODS, method, "method")
    check_fraction(iou_threshold, "iou_threshold")
    check_sigma(sigma, "sigma")
    given = check_scored_boxes(boxes, scores, labels)
    result = _soft_nms(*given, method, iou_threshold, sigma, score_threshold)
    return LoweredScores(*(kernels.as_given(value, boxes) for value in result))


def _fake_soft_nms(boxes: torch.Tensor, *_: Any) -> tuple[torch.Tensor, torch.Tensor]:
    count = kernels.unknown_size()
    return boxes.new_empty(count, dtype=torch.int64), boxes.new_empty(count, dtype=torch.float32)


@kernels.operator(_fake_soft_nms)
def _soft_nms(
    boxes: torch.Tensor,
    scores: torch.Tensor,
    labels: torch.Tensor | None,
    method: str,
    iou_threshold: float,
    sigma: float,
    score_threshold: float,
) -> tuple[torch.Tensor, torch.Tensor]:
    device, core = boxes.device, kernels.load("_fusion")
    boxes, scores = boxes.float().cpu(), scores.float().cpu()
    labels = None if labels is None else labels.long().cpu()
    if core is None:
        keep, lowered = reference.soft_nms(boxes, scores, labels, method, iou_threshold, sigma, score_threshold)
        return keep.to(device), lowered.to(device)
    keep, lowered = torch.empty(len(boxes), dtype=torch.int64), torch.empty(len(boxes))
    count = core.soft_nms(
        kernels.as_input(boxes, torch.float32),
        kernels.as_input(scores, torch.float32),
        None if labels is None else kernels.as_input(labels, torch.int64),
        _METHODS[method],
        iou_threshold,
        sigma,
        score_threshold,
        keep.numpy(),
        lowered.numpy(),
    )
    return keep[:count].to(device, copy=True), lowered[:count].to(device, copy=True)
