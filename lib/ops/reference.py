"""What the kernels compute, in obvious torch: their oracle in tests, and the fallback where they are not built.

Shared rules. Boxes are xyxy; an area is 0 where a side is not positive; an overlap is 0 where what it divides by
is 0 or overflows. Ranks fall by score, equal scores rise by index. A box with a coordinate or score that is NaN or
infinite is dropped before anything else: it is never returned and suppresses nothing.
"""

from typing import NamedTuple

import torch

from lib.ops.boxes import box_area
from lib.ops.padded import PaddedDetections, Selection, pad_detections
from lib.structures import Detections

NWD_CONSTANT = 12.8  # pixels: the mean size of AI-TOD's objects (Wang et al. 2021, section 3.2)
LOWEST = {"iou": 0.0, "iof": 0.0, "giou": -1.0, "nwd": 0.0}  # overlap with a box that is not finite


def _divide(part: torch.Tensor, whole: torch.Tensor) -> torch.Tensor:
    """part / whole; 0 where the whole is 0 or overflows. Its gradient is finite there, too."""
    defined = (whole > 0) & whole.isfinite()
    return torch.where(defined, part.clamp(min=0) / torch.where(defined, whole, 1), 0)


def _nwd(first: torch.Tensor, second: torch.Tensor) -> torch.Tensor:
    """exp(-distance / constant) of boxes taken as Gaussians: each one's center and half sides are a point in 4-D."""
    center = (first[..., :2] + first[..., 2:] - second[..., :2] - second[..., 2:]) / 2
    half = (first[..., 2:] - first[..., :2] - second[..., 2:] + second[..., :2]) / 2
    x, y, w, h = center[..., 0], center[..., 1], half[..., 0], half[..., 1]
    return torch.exp(-torch.sqrt(x * x + y * y + w * w + h * h) / NWD_CONSTANT)


def pairwise(first: torch.Tensor, second: torch.Tensor, mode: str = "iou") -> torch.Tensor:
    """Overlaps of boxes (..., 4) that broadcast against each other -> (...), in the boxes' type. Modes are those of
    ``bbox_overlaps``, and ``ios``, the intersection over the area of the smaller box.
    """
    if mode == "nwd":
        return _nwd(first, second)
    corner = torch.maximum(first[..., :2], second[..., :2])
    sides = (torch.minimum(first[..., 2:], second[..., 2:]) - corner).clamp(min=0)
    intersection = sides[..., 0] * sides[..., 1]
    area, other_area = box_area(first), box_area(second)
    if mode == "iof":
        return _divide(intersection, area.expand_as(intersection))
    if mode == "ios":
        return _divide(intersection, torch.minimum(area, other_area))
    union = area + other_area - intersection
    iou = _divide(intersection, union)
    if mode == "iou":
        return iou
    spread = torch.maximum(first[..., 2:], second[..., 2:]) - torch.minimum(first[..., :2], second[..., :2])
    hull = spread.clamp(min=0).prod(-1)
    return iou - _divide(hull - union, hull)


def bbox_overlaps(boxes1: torch.Tensor, boxes2: torch.Tensor, mode: str = "iou") -> torch.Tensor:
    """(N, 4) and (M, 4) float boxes -> (N, M) float32; ``LOWEST[mode]`` where a box is not finite."""
    values = pairwise(boxes1[:, None], boxes2[None], mode)  # (N, M)
    finite = boxes1.isfinite().all(-1)[:, None] & boxes2.isfinite().all(-1)[None]
    return torch.where(finite, values, torch.full_like(values, LOWEST[mode])).float()


def nms(
    boxes: torch.Tensor, scores: torch.Tensor, labels: torch.Tensor | None, iou_threshold: float, mode: str = "iou"
) -> torch.Tensor:
    """Greedy NMS of boxes (N, 4) with scores (N,), within each label (N,) if given -> (M,) int64 by falling score:
    see ``lib.ops.batched_nms``.
    """
    finite = boxes.isfinite().all(-1) & scores.isfinite()
    order = scores.argsort(descending=True, stable=True)
    order = order[finite[order]]
    boxes = boxes[order]
    alive = torch.ones(len(order), dtype=torch.bool, device=boxes.device)
    for i in range(len(order)):
        if alive[i]:
            over = pairwise(boxes[i + 1 :], boxes[i], mode) > iou_threshold
            if labels is not None:
                over &= labels[order[i + 1 :]] == labels[order[i]]
            alive[i + 1 :] &= ~over
    return order[alive]


def multiclass_nms(
    boxes: torch.Tensor, scores: torch.Tensor, selection: Selection, background: int | None
) -> PaddedDetections[torch.Tensor]:
    """See ``lib.ops.multiclass_nms``: the same values, an image and a class at a time."""
    images = []
    for image_boxes, image_scores in zip(boxes, scores, strict=True):
        empty = torch.zeros(0, dtype=torch.int64, device=boxes.device)
        rows, labels = [empty], [empty]
        for label in range(scores.shape[2]):
            column = image_scores[:, label]
            order = column.argsort(descending=True, stable=True)
            passed = ((column > selection.score_threshold) & column.isfinite())[order]
            if label != background:
                rows.append(order[passed][: selection.max_candidates])
                labels.append(torch.full_like(rows[-1], label))
        row, label_of_row = torch.cat(rows), torch.cat(labels)
        candidates = Detections(image_boxes[row], image_scores[row, label_of_row], label_of_row)
        keep = nms(*candidates, selection.iou_threshold)
        images.append(Detections(*(value[keep] for value in candidates)))
    return pad_detections(images, boxes, selection.max_detections)


def soft_nms(
    boxes: torch.Tensor,
    scores: torch.Tensor,
    labels: torch.Tensor | None,
    method: str,
    iou_threshold: float,
    sigma: float,
    score_threshold: float,
    limit: int,
) -> tuple[torch.Tensor, torch.Tensor]:
    """See ``lib.ops.soft_nms``; boxes and scores are float32."""
    scores = torch.where(boxes.isfinite().all(-1) & scores.isfinite(), scores, -torch.inf)
    variance = torch.tensor(sigma, dtype=torch.float32).double()
    keep: list[int] = []
    new_scores: list[float] = []
    while len(keep) < limit and len(scores) and scores.max() > score_threshold:
        best = int(scores.argmax())  # the first of equal ones
        keep.append(best)
        new_scores.append(float(scores[best]))
        iou = pairwise(boxes, boxes[best])
        if method == "linear":
            factor = torch.where(iou > iou_threshold, 1 - iou, 1)
        else:
            factor = torch.exp(-iou.double() * iou.double() / variance).float()
        if labels is not None:
            factor = torch.where(labels == labels[best], factor, 1)
        scores = torch.where(scores > score_threshold, scores * factor, -torch.inf)
        scores[best] = -torch.inf
    return torch.tensor(keep, dtype=torch.int64), torch.tensor(new_scores, dtype=torch.float32)


class Clusters(NamedTuple):
    """Boxes that are taken for one object: ``members`` (N,) int64, the cluster of each box, -1 where it is not finite;
    ``founders`` (M,) int64, the first box of each cluster; ``boxes`` (M, 4) float32, the mean of each cluster.
    """

    members: torch.Tensor
    founders: torch.Tensor
    boxes: torch.Tensor


def fuse_boxes(
    boxes: torch.Tensor, weights: torch.Tensor, labels: torch.Tensor, sources: torch.Tensor, threshold: float, mode: str
) -> Clusters:
    """See ``lib.ops.fusion.fuse_boxes``."""
    members = torch.full((len(boxes),), -1)
    founders: list[int] = []
    fused = boxes.new_zeros(len(boxes), 4)
    for i in boxes.isfinite().all(-1).nonzero()[:, 0].tolist():
        count = len(founders)
        may_join = (labels[founders] == labels[i]) & (sources[founders] != sources[i])
        overlaps = torch.where(may_join, pairwise(fused[:count], boxes[i], mode), 0)
        is_new = not count or not overlaps.max() > threshold
        nearest = count if is_new else int(overlaps.argmax())
        if is_new:
            founders.append(i)
            fused[nearest] = boxes[i]
        members[i] = nearest
        weight = weights[members == nearest].double().cumsum(0)[-1]  # one after another
        if weight > 0:
            weighted = weights[members == nearest, None].double() * boxes[members == nearest].double()
            fused[nearest] = (weighted.cumsum(0)[-1] / weight).float()
    return Clusters(members, torch.tensor(founders, dtype=torch.int64), fused[: len(founders)])
