"""Non-maximum suppression of one class, or of several: hard, and soft, which lowers scores."""

from typing import Any, Generic, Literal, NamedTuple

import numpy as np
import torch

from lib.ops import cuda, kernels, reference
from lib.ops.checks import check_fraction, check_positive, check_scored_boxes, check_sigma
from lib.ops.kernels import Values
from lib.utils.lookup import lookup

_MODES = {"iou": False, "iof": True}
_METHODS = {"linear": False, "gaussian": True}


def nms(boxes: Values, scores: Values, iou_threshold: float, mode: str = "iou") -> Values:
    """(M,) int64 indices of the boxes that greedy non-maximum suppression keeps, by falling score, on the boxes'
    device; an array if the boxes are an array.

    Of two boxes whose overlap is greater than the threshold the lower score goes; of equal scores the higher
    index. Boxes of no area overlap nothing. A box whose score or coordinates are not all finite is dropped.

    Args:
        boxes: (N, 4) xyxy of any floating type.
        scores: (N,) of any floating type and range.
        iou_threshold: 0 .. 1, taken in the boxes' type.
        mode: ``iou``; or ``iof``, where the overlap is the share of the lower box that the higher one covers.
    """
    return batched_nms(boxes, scores, None, iou_threshold, mode)


def batched_nms(
    boxes: Values, scores: Values, labels: Values | None, iou_threshold: float, mode: str = "iou"
) -> Values:
    """``nms`` where only boxes of the same label suppress each other; by falling score over all labels.

    Args:
        labels: (N,) integers; None: all boxes have the same one. For the others see ``nms``.
    """
    given = kernels.as_tensor(boxes, "boxes"), kernels.as_tensor(scores, "scores"), _optional(labels)
    return kernels.as_given(_nms(*given, iou_threshold, mode), boxes)


def _optional(labels: torch.Tensor | kernels.Array | None) -> torch.Tensor | None:
    return None if labels is None else kernels.as_tensor(labels, "labels")


def _check_nms(
    boxes: torch.Tensor, scores: torch.Tensor, labels: torch.Tensor | None, threshold: float, mode: str
) -> None:
    lookup(_MODES, mode, "mode")
    check_fraction(threshold, "iou_threshold")
    check_scored_boxes(boxes, scores, labels)


@kernels.operator(_check_nms, lambda boxes, *_: boxes.new_empty(kernels.unknown_size(), dtype=torch.int64))
def _nms(
    boxes: torch.Tensor, scores: torch.Tensor, labels: torch.Tensor | None, threshold: float, mode: str
) -> torch.Tensor:
    dtype = kernels.kernel_dtype(boxes, scores)
    if core := kernels.for_cuda(boxes):
        return cuda.nms(core, boxes.to(dtype), scores.to(dtype), labels, threshold, _MODES[mode])
    device, core = boxes.device, kernels.load("_nms")
    boxes, scores = boxes.to("cpu", dtype), scores.to("cpu", dtype)
    labels = None if labels is None else labels.cpu()
    if core is None:
        return reference.nms(boxes, scores, labels, threshold, mode).to(device)
    keep = np.empty(len(boxes), dtype=np.int64)
    inputs = (kernels.as_input(boxes, dtype), kernels.as_input(scores, dtype), _label_input(labels))
    count = core.nms["double" if dtype == torch.float64 else "float"](*inputs, threshold, _MODES[mode], keep)
    return torch.from_numpy(keep[:count].copy()).to(device)


def _label_input(labels: torch.Tensor | None) -> kernels.Array | None:
    return None if labels is None else kernels.as_input(labels, torch.int64)


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
    max_detections: int | None = None,
) -> LoweredScores[Values]:
    """Soft-NMS (Bodla et al. 2017): overlapping boxes are not removed, their scores are lowered.

    The best box is taken, of equal ones the first; the others' scores are multiplied by ``1 - IoU`` where the
    IoU with it is greater than the threshold (linear), or by ``exp(-IoU^2 / sigma)`` (gaussian); and so on. A box
    that is not finite is dropped. Computed in float32.

    Args:
        boxes, scores: see ``nms``.
        labels: (N,) integers: only boxes of one label lower each other's scores. None: all do.
        iou_threshold: 0 .. 1, of the linear method.
        sigma: above 0, of the gaussian method.
        score_threshold: a box is dropped once its score is not greater.
        max_detections: how many of the best stay; None: all that are not dropped.
    """
    given = kernels.as_tensor(boxes, "boxes"), kernels.as_tensor(scores, "scores"), _optional(labels)
    result = _soft_nms(*given, method, iou_threshold, sigma, score_threshold, max_detections)
    return LoweredScores(*(kernels.as_given(value, boxes) for value in result))


def _check_soft_nms(
    boxes: torch.Tensor,
    scores: torch.Tensor,
    labels: torch.Tensor | None,
    method: str,
    iou_threshold: float,
    sigma: float,
    score_threshold: float,
    max_detections: int | None = None,
) -> None:
    lookup(_METHODS, method, "method")
    check_fraction(iou_threshold, "iou_threshold")
    check_sigma(sigma, "sigma")
    if max_detections is not None:
        check_positive(max_detections, "max_detections")
    check_scored_boxes(boxes, scores, labels)


def _fake_soft_nms(boxes: torch.Tensor, *_: Any) -> tuple[torch.Tensor, torch.Tensor]:
    count = kernels.unknown_size()
    return boxes.new_empty(count, dtype=torch.int64), boxes.new_empty(count, dtype=torch.float32)


@kernels.operator(_check_soft_nms, _fake_soft_nms)
def _soft_nms(
    boxes: torch.Tensor,
    scores: torch.Tensor,
    labels: torch.Tensor | None,
    method: str,
    iou_threshold: float,
    sigma: float,
    score_threshold: float,
    max_detections: int | None = None,
) -> tuple[torch.Tensor, torch.Tensor]:
    device, core = boxes.device, kernels.load("_fusion")
    boxes, scores = boxes.float().cpu(), scores.float().cpu()
    labels = None if labels is None else labels.long().cpu()
    limit = len(boxes) if max_detections is None else max_detections
    if core is None:
        keep, lowered = reference.soft_nms(boxes, scores, labels, method, iou_threshold, sigma, score_threshold, limit)
        return keep.to(device), lowered.to(device)
    keep, lowered = torch.empty(len(boxes), dtype=torch.int64), torch.empty(len(boxes))
    inputs = (kernels.as_input(boxes), kernels.as_input(scores), _label_input(labels))
    options = (_METHODS[method], iou_threshold, sigma, score_threshold, limit)
    count = core.soft_nms(*inputs, *options, keep.numpy(), lowered.numpy())
    return keep[:count].to(device, copy=True), lowered[:count].to(device, copy=True)
