"""Pairwise overlaps of two sets of boxes."""

import numpy as np
import torch

from lib.ops import cuda, kernels, reference
from lib.ops.checks import check_boxes, check_tensors
from lib.ops.kernels import Values
from lib.utils.lookup import lookup


def bbox_overlaps(boxes1: Values, boxes2: Values, mode: str = "iou") -> Values:
    """Overlap of every box of one set with every box of another: (N, M) float32, on the boxes' device; an array if
    boxes1 is an array.

    Boxes of no area overlap nothing. Where a box is not finite the overlap is the lowest of its mode. Tensors
    that need a gradient go through torch, so the result can be differentiated.

    Args:
        boxes1: (N, 4) xyxy of any floating type.
        boxes2: (M, 4) xyxy.
        mode: ``iou``, intersection over union, 0 .. 1; ``iof``, intersection over the area of the first box,
            0 .. 1; ``giou``, generalized IoU, -1 .. 1; ``nwd``, the normalized Wasserstein distance, 0 .. 1,
            which falls smoothly where tiny boxes no longer meet.
    """
    first, second = kernels.as_tensor(boxes1, "boxes1"), kernels.as_tensor(boxes2, "boxes2")
    if torch.is_grad_enabled() and (first.requires_grad or second.requires_grad):
        _check(first, second, mode)
        dtype = kernels.kernel_dtype(first, second)
        return kernels.as_given(reference.bbox_overlaps(first.to(dtype), second.to(dtype), mode), boxes1)
    return kernels.as_given(_bbox_overlaps(first, second, mode), boxes1)


def _check(boxes1: torch.Tensor, boxes2: torch.Tensor, mode: str) -> None:
    lookup(reference.LOWEST, mode, "mode")
    check_tensors(boxes1=boxes1, boxes2=boxes2)
    check_boxes(boxes1, "boxes1")
    check_boxes(boxes2, "boxes2")


@kernels.operator(
    _check, lambda boxes1, boxes2, _: boxes1.new_empty(boxes1.shape[0], boxes2.shape[0], dtype=torch.float32)
)
def _bbox_overlaps(boxes1: torch.Tensor, boxes2: torch.Tensor, mode: str) -> torch.Tensor:
    dtype = kernels.kernel_dtype(boxes1, boxes2)
    if core := kernels.for_cuda(boxes1):
        return cuda.bbox_overlaps(core, boxes1.to(dtype), boxes2.to(dtype), mode)
    core = kernels.for_cpu("_overlaps", boxes1)
    if core is None:
        return reference.bbox_overlaps(boxes1.to(dtype), boxes2.to(dtype), mode)
    out = np.empty((len(boxes1), len(boxes2)), dtype=np.float32)
    core.bbox_overlaps["double" if dtype == torch.float64 else "float"](
        kernels.as_input(boxes1, dtype), kernels.as_input(boxes2, dtype), core.MODES[mode], reference.NWD_CONSTANT, out
    )
    return torch.from_numpy(out)
