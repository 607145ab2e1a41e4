"""Many-class NMS of a batch in fixed shapes, for the GPU: every step is queued, none waits for the device."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch.nn.functional import pad

from lib.ops.padded import PaddedDetections, Selection

GroupNms = Callable[[torch.Tensor, torch.Tensor, float], torch.Tensor]


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
