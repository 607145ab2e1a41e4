"""Two gentler ways than NMS to merge boxes, for tiles, scales or several detectors. Both run on the CPU."""

from __future__ import annotations

from typing import Literal

import numpy as np
import torch

from lib.ops import kernels, reference
from lib.ops.checks import check_fraction, check_positive, check_scored_boxes
from lib.utils.lookup import lookup

_SOFT, _FUSION = f"{kernels.NAMESPACE}::soft_nms", f"{kernels.NAMESPACE}::weighted_box_fusion"
torch.library.define(
    _SOFT,
    "(Tensor boxes, Tensor scores, Tensor? labels, str method, float iou_threshold, float sigma, "
    "float score_threshold) -> (Tensor, Tensor)",
)
torch.library.define(
    _FUSION,
    "(Tensor boxes, Tensor scores, Tensor? labels, float iou_threshold, int num_sources) -> "
    "(Tensor, Tensor, Tensor)",
)
_METHODS = {"linear": False, "gaussian": True}
Values = torch.Tensor | np.ndarray


def soft_nms(
    boxes: Values,
    scores: Values,
    labels: Values | None = None,
    method: Literal["linear", "gaussian"] = "gaussian",
    iou_threshold: float = 0.3,
    sigma: float = 0.5,
    score_threshold: float = 0.001,
) -> tuple[Values, Values]:
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

    Returns:
        (M,) int64 indices and (M,) float32 lowered scores, by falling lowered score.
    """
    lookup(_METHODS, method, "method")
    check_fraction(iou_threshold, "iou_threshold")
    if not sigma > 0:
        raise ValueError(f"sigma must be greater than 0; got {sigma}")
    tensors = kernels.as_tensors(boxes, scores, labels)
    check_scored_boxes(*tensors)
    found = torch.ops.multibox.soft_nms(*tensors, method, iou_threshold, sigma, score_threshold)
    return kernels.as_given(found, boxes)


def weighted_box_fusion(
    boxes: Values,
    scores: Values,
    labels: Values | None = None,
    iou_threshold: float = 0.55,
    num_sources: int = 1,
) -> tuple[Values, Values, Values]:
    """Weighted box fusion (Solovyev et al. 2021): boxes of one object become their mean, weighted by score.

    By falling score each box joins the cluster of its label whose mean box it overlaps most, if by more than the
    threshold; of equal ones the older. A cluster's score is the mean of its scores, times the share of the
    sources that see it. A box that is not finite, or whose score is not positive, is dropped. Sums are kept in
    float64, all else is float32.

    Args:
        boxes: (N, 4) xyxy of any floating type.
        scores: (N,) of any floating type.
        labels: (N,) integers, or None for one class.
        iou_threshold: 0 .. 1.
        num_sources: how many detectors or views could have seen each object; 1 leaves the mean scores alone.

    Returns:
        (M, 4) float32 boxes, (M,) float32 scores and (M,) int64 labels (0 without labels), by falling score.
    """
    check_fraction(iou_threshold, "iou_threshold")
    check_positive(num_sources, "num_sources")
    tensors = kernels.as_tensors(boxes, scores, labels)
    check_scored_boxes(*tensors)
    found = torch.ops.multibox.weighted_box_fusion(*tensors, iou_threshold, num_sources)
    return kernels.as_given(found, boxes)


def _on_cpu(
    boxes: torch.Tensor, scores: torch.Tensor, labels: torch.Tensor | None
) -> list[torch.Tensor | None]:
    return [boxes.float().cpu(), scores.float().cpu(), None if labels is None else labels.long().cpu()]


def _arrays(tensors: list[torch.Tensor | None]) -> list[np.ndarray | None]:
    return [None if tensor is None else kernels.as_input(tensor, tensor.dtype) for tensor in tensors]


@torch.library.impl(_SOFT, "default")
def _soft_nms(boxes, scores, labels, method: str, iou_threshold: float, sigma: float, score_threshold: float):
    tensors, core = _on_cpu(boxes, scores, labels), kernels.load("_fusion")
    if core is None:
        found = reference.soft_nms(*tensors, method, iou_threshold, sigma, score_threshold)
    else:
        keep, new_scores = np.empty(len(boxes), np.int64), np.empty(len(boxes), np.float32)
        arguments = (_METHODS[method], iou_threshold, sigma, score_threshold, keep, new_scores)
        count = core.soft_nms(*_arrays(tensors), *arguments)
        found = [torch.from_numpy(values[:count].copy()) for values in (keep, new_scores)]
    return tuple(value.to(boxes.device) for value in found)


@torch.library.impl(_FUSION, "default")
def _weighted_box_fusion(boxes, scores, labels, iou_threshold: float, num_sources: int):
    tensors, core = _on_cpu(boxes, scores, labels), kernels.load("_fusion")
    if core is None:
        found = reference.weighted_box_fusion(*tensors, iou_threshold, num_sources)
    else:
        count = len(boxes)
        out = np.empty((count, 4), np.float32), np.empty(count, np.float32), np.empty(count, np.int64)
        count = core.weighted_box_fusion(*_arrays(tensors), iou_threshold, num_sources, *out)
        found = [torch.from_numpy(values[:count].copy()) for values in out]
    return tuple(value.to(boxes.device) for value in found)


@torch.library.register_fake(_SOFT)
def _(boxes, scores, labels, method, iou_threshold, sigma, score_threshold):
    count = torch.library.get_ctx().new_dynamic_size()
    return boxes.new_empty(count, dtype=torch.int64), boxes.new_empty(count, dtype=torch.float32)


@torch.library.register_fake(_FUSION)
def _(boxes, scores, labels, iou_threshold, num_sources):
    count = torch.library.get_ctx().new_dynamic_size()
    return (
        boxes.new_empty(count, 4, dtype=torch.float32),
        boxes.new_empty(count, dtype=torch.float32),
        boxes.new_empty(count, dtype=torch.int64),
    )
