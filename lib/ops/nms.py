"""Non-maximum suppression: one class, several classes, and a whole batch of them."""

from __future__ import annotations

from functools import partial
from typing import NamedTuple

import numpy as np
import torch

from lib.ops import cuda, kernels, ranked, reference
from lib.ops.checks import check_fraction, check_positive, check_scored_boxes, check_tensors
from lib.utils.lookup import lookup

_NMS, _MULTICLASS = f"{kernels.NAMESPACE}::nms", f"{kernels.NAMESPACE}::multiclass_nms"
torch.library.define(
    _NMS, "(Tensor boxes, Tensor scores, Tensor? labels, float threshold, str mode) -> Tensor"
)
torch.library.define(
    _MULTICLASS,
    "(Tensor boxes, Tensor scores, float score_threshold, float iou_threshold, int max_candidates, "
    "int max_detections, int? background) -> (Tensor, Tensor, Tensor, Tensor)",
)
_MODES = {"iou": False, "iof": True}


class PaddedDetections(NamedTuple):
    """The detections of a batch in fixed shapes, each image's by falling score.

    Attributes:
        boxes: (B, D, 4) float32, in the frame of the input; zeros where padded.
        scores: (B, D) float32; 0 where padded.
        labels: (B, D) int64, the column of the score; -1 where padded.
        counts: (B,) int64, how many of the D are detections.
    """

    boxes: torch.Tensor
    scores: torch.Tensor
    labels: torch.Tensor
    counts: torch.Tensor


def nms(
    boxes: torch.Tensor | np.ndarray,
    scores: torch.Tensor | np.ndarray,
    iou_threshold: float,
    mode: str = "iou",
) -> torch.Tensor | np.ndarray:
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


def batched_nms(
    boxes: torch.Tensor | np.ndarray,
    scores: torch.Tensor | np.ndarray,
    labels: torch.Tensor | np.ndarray,
    iou_threshold: float,
    mode: str = "iou",
) -> torch.Tensor | np.ndarray:
    """``nms`` where only boxes of the same label suppress each other.

    Args:
        labels: (N,) integers.
        boxes, scores, iou_threshold, mode: as for ``nms``.

    Returns:
        (M,) int64, by falling score over all labels.
    """
    return _run(boxes, scores, labels, iou_threshold, mode)


def _run(boxes, scores, labels, threshold: float, mode: str) -> torch.Tensor | np.ndarray:
    lookup(_MODES, mode, "mode")
    check_fraction(threshold, "iou_threshold")
    tensors = kernels.as_tensors(boxes, scores, labels)
    check_scored_boxes(*tensors)
    (keep,) = kernels.as_given([torch.ops.multibox.nms(*tensors, threshold, mode)], boxes)
    return keep


@torch.library.impl(_NMS, "default")
def _nms(
    boxes: torch.Tensor, scores: torch.Tensor, labels: torch.Tensor | None, threshold: float, mode: str
) -> torch.Tensor:
    dtype = kernels.kernel_dtype(boxes, scores)
    if boxes.is_cuda and (core := kernels.load("_cuda")):
        return cuda.nms(core, boxes.to(dtype), scores.to(dtype), labels, threshold, _MODES[mode])
    core = kernels.load("_nms") if boxes.is_cpu else None
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


@torch.library.register_fake(_NMS)
def _(boxes: torch.Tensor, scores: torch.Tensor, labels: torch.Tensor | None, threshold: float, mode: str):
    return boxes.new_empty(torch.library.get_ctx().new_dynamic_size(), dtype=torch.int64)


def multiclass_nms(
    boxes: torch.Tensor | np.ndarray,
    scores: torch.Tensor | np.ndarray,
    score_threshold: float,
    iou_threshold: float,
    max_candidates: int = 400,
    max_detections: int = 100,
    background: int | None = 0,
) -> PaddedDetections:
    """The detections of a batch: threshold, best candidates a class, NMS within each class, best of the
    image.

    Equal scores go by the lower class, then the lower box. Scores that are not finite do not pass the
    threshold; a candidate whose box is not finite counts as a candidate and is then dropped. Computed in
    float32.

    Args:
        boxes: (B, P, 4) xyxy of any floating type, shared by the classes.
        scores: (B, P, K) of any floating type.
        score_threshold: a score must be greater.
        iou_threshold: 0 .. 1; a box whose IoU with a better one of its class is greater goes.
        max_candidates: best scores of a class and image that take part.
        max_detections: D, best detections of an image that come out.
        background: a column of the scores that is no object, or None.

    Returns:
        PaddedDetections, on the boxes' device; of arrays if the boxes are an array.
    """
    check_fraction(iou_threshold, "iou_threshold")
    check_positive(max_candidates, "max_candidates")
    check_positive(max_detections, "max_detections")
    tensors = kernels.as_tensors(boxes, scores)
    check_tensors(boxes=tensors[0], scores=tensors[1])
    if boxes.ndim != 3 or scores.ndim != 3 or boxes.shape != (*scores.shape[:2], 4):
        shapes = f"{tuple(boxes.shape)} and {tuple(scores.shape)}"
        raise ValueError(f"boxes and scores must have the shapes (B, P, 4) and (B, P, K); got {shapes}")
    limits = (score_threshold, iou_threshold, max_candidates, max_detections, background)
    found = torch.ops.multibox.multiclass_nms(*tensors, *limits)
    return PaddedDetections(*kernels.as_given(found, boxes))


@torch.library.impl(_MULTICLASS, "default")
def _multiclass_nms(
    boxes: torch.Tensor,
    scores: torch.Tensor,
    score_threshold: float,
    iou_threshold: float,
    max_candidates: int,
    max_detections: int,
    background: int | None,
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor, torch.Tensor]:
    limits = (score_threshold, iou_threshold, max_candidates, max_detections, background)
    if boxes.is_cuda and (core := kernels.load("_cuda")):
        return ranked.multiclass_nms(partial(cuda.group_nms, core), boxes.float(), scores.float(), *limits)
    core = kernels.load("_nms") if boxes.is_cpu else None
    if core is None:
        return reference.multiclass_nms(boxes.float(), scores.float(), *limits)
    out = empty_detections(boxes, max_detections)
    core.multiclass_nms(
        kernels.as_input(boxes, torch.float32),
        kernels.as_input(scores, torch.float32),
        score_threshold,
        iou_threshold,
        max_candidates,
        -1 if background is None else background,
        *(value.numpy() for value in out),
    )
    return tuple(out)


@torch.library.register_fake(_MULTICLASS)
def _(boxes, scores, score_threshold, iou_threshold, max_candidates, max_detections, background):
    return tuple(empty_detections(boxes, max_detections))


def empty_detections(boxes: torch.Tensor, max_detections: int) -> PaddedDetections:
    """Memory for the detections of the images of ``boxes`` (B, ...)."""
    size = (boxes.shape[0], max_detections)
    return PaddedDetections(
        boxes.new_empty(*size, 4, dtype=torch.float32),
        boxes.new_empty(size, dtype=torch.float32),
        boxes.new_empty(size, dtype=torch.int64),
        boxes.new_empty(size[0], dtype=torch.int64),
    )
