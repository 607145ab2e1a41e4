"""Prepares tensors on a GPU for the CUDA kernels. All work is queued on the caller's stream and device."""

from __future__ import annotations

from types import ModuleType

import torch

from lib.ops import reference


def _stream(tensor: torch.Tensor) -> int:
    return torch.cuda.current_stream(tensor.device).cuda_stream


def bbox_overlaps(core: ModuleType, boxes1: torch.Tensor, boxes2: torch.Tensor, mode: str) -> torch.Tensor:
    """(N, 4) and (M, 4) of one type, float32 or float64 -> (N, M) float32."""
    boxes1, boxes2 = boxes1.contiguous(), boxes2.contiguous()
    out = boxes1.new_empty(len(boxes1), len(boxes2), dtype=torch.float32)
    with torch.cuda.device(boxes1.device):
        core.bbox_overlaps(
            boxes1.data_ptr(),
            len(boxes1),
            boxes2.data_ptr(),
            len(boxes2),
            core.MODES[mode],
            reference.NWD_CONSTANT,
            out.data_ptr(),
            boxes1.dtype == torch.float64,
            _stream(boxes1),
        )
    return out


def nms(
    core: ModuleType,
    boxes: torch.Tensor,
    scores: torch.Tensor,
    labels: torch.Tensor | None,
    threshold: float,
    is_iof: bool,
) -> torch.Tensor:
    """(N, 4) and (N,) of one type, float32 or float64 -> (M,) int64. Only the result's size waits for the
    device."""
    finite = boxes.isfinite().all(-1) & scores.isfinite()
    order = torch.where(finite, scores, -torch.inf).argsort(descending=True, stable=True)
    boxes, stays = boxes[order].contiguous(), finite[order]
    labels = None if labels is None else labels[order].to(torch.int64).contiguous()
    mask = order.new_empty(core.CHUNK_SIZE, core.CHUNK_SIZE // 64)
    with torch.cuda.device(boxes.device):
        core.nms(
            boxes.data_ptr(),
            0 if labels is None else labels.data_ptr(),
            len(boxes),
            threshold,
            is_iof,
            mask.data_ptr(),
            stays.data_ptr(),
            boxes.dtype == torch.float64,
            _stream(boxes),
        )
    return order[stays]


def group_nms(core: ModuleType, boxes: torch.Tensor, part: torch.Tensor, threshold: float) -> torch.Tensor:
    """Boxes (G, C, 4) float32 by rank, of which ``part`` (G, C) bool takes part -> which stay (G, C) bool."""
    boxes, stays = boxes.contiguous(), part.clone(memory_format=torch.contiguous_format)
    with torch.cuda.device(boxes.device):
        core.group_nms(boxes.data_ptr(), *part.shape, threshold, stays.data_ptr(), _stream(boxes))
    return stays
