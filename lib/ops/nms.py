"""Non-maximum suppression of one class, or of several."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch

from lib.ops import cuda, kernels, reference
from lib.ops.checks import check_fraction, check_scored_boxes
from lib.ops.kernels import Values
from lib.utils.lookup import lookup

_MODES = {"iou": False, "iof": True}


def nms(boxes: Values, scores: Values, iou_threshold: float, mode: str = "iou") -> Values:
    """Indices of the boxes that greedy non-maximum suppression keeps, by falling score.

    Of two boxes whose overlap is greater than the threshold the lower score goes; of equal scores the higher
    index. Boxes of no area overlap nothing. A box whose score or coordinates are not all finite is dropped.

    Args:
        boxes: (N, 4) xyxy of any floating type.
        scores: (N,) of any floating type and range.
        iou_threshold: 0 .. 1, taken in the boxes' type.
        mode: ``iou``; or ``iof``, where the overlap is the share of the lower box that the higher one covers.

    Returns:
        (M,) int64, on the boxes' device; an array if the boxes are an array.
    """
    return _run(boxes, scores, None, iou_threshold, mode)


def batched_nms(boxes: Values, scores: Values, labels: Values, iou_threshold: float, mode: str = "iou") -> Values:
    """``nms`` where only boxes of the same label suppress each other.

    Args:
        labels: (N,) integers.
        boxes, scores, iou_threshold, mode: as for ``nms``.

    Returns:
        (M,) int64, by falling score over all labels.
    """
    return _run(boxes, scores, labels, iou_threshold, mode)


def _run(boxes: Values, scores: Values, labels: Values | None, threshold: float, mode: str) -> Values:
    lookup(_MODES, mode, "mode")
    check_fraction(threshold, "iou_threshold")
    given = check_scored_boxes(boxes, scores, labels)
    return kernels.as_given(_nms(*given, threshold, mode), boxes)


def _fake_nms(boxes: torch.Tensor, *_: Any) -> torch.Tensor:
    return boxes.new_empty(kernels.unknown_size(), dtype=torch.int64)


@kernels.operator(_fake_nms)
def _nms(
    boxes: torch.Tensor, scores: torch.Tensor, labels: torch.Tensor | None, threshold: float, mode: str
) -> torch.Tensor:
    dtype = kernels.kernel_dtype(boxes, scores)
    if core := kernels.for_cuda(boxes):
        return cuda.nms(core, boxes.to(dtype), scores.to(dtype), labels, threshold, _MODES[mode])
    core = kernels.for_cpu("_nms", boxes)
    if core is None:
        return reference.nms(boxes.to(dtype), scores.to(dtype), labels, threshold, mode)
    keep = np.empty(len(boxes), dtype=np.int64)
    count = core.nms["double" if dtype == torch.float64 else "float"](
        kernels.as_input(boxes, dtype),
        kernels.as_input(scores, dtype),
        None if labels is None else kernels.as_input(labels, torch.int64),
        threshold,
        _MODES[mode],
        keep,
    )
    return torch.from_numpy(keep[:count].copy())
