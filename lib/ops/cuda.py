"""Prepares tensors on a GPU for the CUDA kernels. All work is queued on the caller's stream and device."""

from collections.abc import Callable
from types import ModuleType

import torch
from torch.nn.functional import pad

from lib.ops import reference
from lib.ops.padded import PaddedDetections, Selection

GroupNms = Callable[[torch.Tensor, torch.Tensor, float], torch.Tensor]


def _stream(tensor: torch.Tensor) -> int:
    return torch.cuda.current_stream(tensor.device).cuda_stream


def bbox_overlaps(core: ModuleType, boxes1: torch.Tensor, boxes2: torch.Tensor, mode: str) -> torch.Tensor:
    """(N, 4) and (M, 4) of one type, float32 or float64 -> (N, M) float32."""
    boxes1, boxes2 = boxes1.contiguous(), boxes2.contiguous()
    out = boxes1.new_empty(len(boxes1), len(boxes2), dtype=torch.float32)
    with torch.cuda.device(boxes1.device):
        inputs = (boxes1.data_ptr(), len(boxes1), boxes2.data_ptr(), len(boxes2))
        options = (core.MODES[mode], reference.NWD_CONSTANT)
        core.bbox_overlaps(*inputs, *options, out.data_ptr(), boxes1.dtype == torch.float64, _stream(boxes1))
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
        inputs = (boxes.data_ptr(), 0 if labels is None else labels.data_ptr(), len(boxes))
        out = (mask.data_ptr(), stays.data_ptr())
        core.nms(*inputs, threshold, is_iof, *out, boxes.dtype == torch.float64, _stream(boxes))
    return order[stays]


def group_nms(core: ModuleType, boxes: torch.Tensor, part: torch.Tensor, threshold: float) -> torch.Tensor:
    """Boxes (G, C, 4) float32 by rank, of which ``part`` (G, C) bool takes part -> which stay (G, C) bool."""
    boxes, stays = boxes.contiguous(), part.clone(memory_format=torch.contiguous_format)
    with torch.cuda.device(boxes.device):
        core.group_nms(boxes.data_ptr(), *part.shape, threshold, stays.data_ptr(), _stream(boxes))
    return stays


def _rank_keys(scores: torch.Tensor, valid: torch.Tensor) -> torch.Tensor:
    """(..., N) float32 -> int64 keys, all different, that fall as the score falls and then as the index rises; -1
    where not valid.

    ``topk`` promises no order of equal values, so there must be none.
    """
    bits = (scores + 0.0).view(torch.int32)  # + 0: -0 equals 0
    ordered = torch.where(bits < 0, -1 - (bits & 0x7FFFFFFF), bits).long() + 2**31  # 0 .. 2**32
    last = scores.shape[-1] - 1
    places = last - torch.arange(last + 1, device=scores.device)
    return torch.where(valid, (ordered << 31) + places, -1)


def multiclass_nms(
    group_nms: GroupNms, boxes: torch.Tensor, scores: torch.Tensor, selection: Selection, background: int | None
) -> PaddedDetections[torch.Tensor]:
    """See ``lib.ops.multiclass_nms``; boxes and scores are float32.

    Args:
        group_nms: boxes (G, C, 4) by rank, which take part (G, C) bool, threshold -> which stay (G, C) bool.
    """
    columns = scores.transpose(1, 2)  # (B, K, P)
    batch, classes, count = columns.shape
    valid = (columns > selection.score_threshold) & columns.isfinite()
    if background is not None:
        valid = valid & (torch.arange(classes, device=scores.device) != background)[:, None]
    keys, rows = _rank_keys(columns, valid).topk(min(selection.max_candidates, count), dim=2)  # (B, K, C)
    images = torch.arange(batch, device=boxes.device)[:, None, None]
    candidates = boxes[images, rows]  # (B, K, C, 4)
    part = (keys >= 0) & candidates.isfinite().all(-1)
    stays = group_nms(candidates.flatten(0, 1), part.flatten(0, 1), selection.iou_threshold).view_as(part)
    return _best(candidates, columns.gather(2, rows), stays, selection.max_detections)


def _best(
    candidates: torch.Tensor, scores: torch.Tensor, stays: torch.Tensor, max_detections: int
) -> PaddedDetections[torch.Tensor]:
    """The best over all classes of candidates (B, K, C, 4), scores and stays (B, K, C)."""
    width = scores.shape[2]
    candidates, scores, stays = (value.flatten(1, 2) for value in (candidates, scores, stays))
    keys, places = _rank_keys(scores, stays).topk(min(max_detections, scores.shape[1]), dim=1)  # (B, D)
    is_detection = keys >= 0
    boxes = candidates.gather(1, places[..., None].expand(-1, -1, 4)).where(is_detection[..., None], 0)
    scores, labels = (scores.gather(1, places).where(is_detection, 0), (places // width).where(is_detection, -1))
    missing = max_detections - keys.shape[1]
    boxes, scores = pad(boxes, (0, 0, 0, missing)), pad(scores, (0, missing))
    return PaddedDetections(boxes, scores, pad(labels, (0, missing), value=-1), is_detection.sum(1))
