"""What the kernels compute, in obvious torch: their oracle in tests, and the fallback where they are not built.

Shared rules. Boxes are xyxy; an area is 0 where a side is not positive; an overlap is 0 where what it divides by
is 0 or overflows. Ranks fall by score, equal scores rise by index. A box with a coordinate or score that is NaN or
infinite is dropped before anything else: it is never returned and suppresses nothing.
"""

from __future__ import annotations

import torch

NWD_CONSTANT = (
    12.8  # pixels: the mean object size of AI-TOD, after Wang et al. 2021, "A Normalized Gaussian ..."
)
LOWEST = {"iou": 0.0, "iof": 0.0, "giou": -1.0, "nwd": 0.0}  # overlap with a box that is not finite


def _areas(boxes: torch.Tensor) -> torch.Tensor:
    return (boxes[..., 2] - boxes[..., 0]).clamp(min=0) * (boxes[..., 3] - boxes[..., 1]).clamp(min=0)


def _divide(part: torch.Tensor, whole: torch.Tensor) -> torch.Tensor:
    """part / whole; 0 where the whole is 0 or overflows. Its gradient is finite there, too."""
    defined = (whole > 0) & whole.isfinite()
    return torch.where(defined, part.clamp(min=0) / torch.where(defined, whole, 1), 0)


def _nwd(first: torch.Tensor, second: torch.Tensor) -> torch.Tensor:
    """exp(-distance / constant) of boxes taken as Gaussians: their centres and half sides, one point in 4-D
    each."""
    centre = (first[..., :2] + first[..., 2:] - second[..., :2] - second[..., 2:]) / 2
    half = (first[..., 2:] - first[..., :2] - second[..., 2:] + second[..., :2]) / 2
    x, y, w, h = centre[..., 0], centre[..., 1], half[..., 0], half[..., 1]
    return torch.exp(-torch.sqrt(x * x + y * y + w * w + h * h) / NWD_CONSTANT)


def pairwise(first: torch.Tensor, second: torch.Tensor, mode: str = "iou") -> torch.Tensor:
    """Overlaps of boxes (..., 4) that broadcast against each other -> (...), in the boxes' type."""
    if mode == "nwd":
        return _nwd(first, second)
    corner = torch.maximum(first[..., :2], second[..., :2])
    sides = (torch.minimum(first[..., 2:], second[..., 2:]) - corner).clamp(min=0)
    intersection = sides[..., 0] * sides[..., 1]
    if mode == "iof":
        return _divide(intersection, _areas(first).expand_as(intersection))
    union = _areas(first) + _areas(second) - intersection
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
    boxes: torch.Tensor,
    scores: torch.Tensor,
    labels: torch.Tensor | None,
    iou_threshold: float,
    mode: str = "iou",
) -> torch.Tensor:
    """Greedy NMS of boxes (N, 4) with scores (N,), within each label (N,) if given -> (M,) int64 by falling
    score.

    A box goes if its overlap with a better one that stays exceeds the threshold. For mode ``iof`` the overlap
    is the share of the box itself that the better one covers.
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
    boxes: torch.Tensor,
    scores: torch.Tensor,
    score_threshold: float,
    iou_threshold: float,
    max_candidates: int,
    max_detections: int,
    background: int | None,
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor, torch.Tensor]:
    """See ``lib.ops.multiclass_nms``: the same values, an image and a class at a time."""
    images = []
    for image_boxes, image_scores in zip(boxes, scores, strict=True):
        rows, labels = [], []
        for label in range(scores.shape[2]):
            column = image_scores[:, label]
            order = column.argsort(descending=True, stable=True)
            passed = ((column > score_threshold) & column.isfinite())[order]
            if label != background:
                rows.append(order[passed][:max_candidates])
                labels.append(torch.full_like(rows[-1], label))
        images.append(_best(image_boxes, image_scores, rows, labels, iou_threshold, max_detections))
    return _stack(images, boxes, max_detections)


def _best(boxes, scores, rows, labels, iou_threshold: float, max_detections: int):
    """NMS within each label of the candidates of one image -> boxes (D, 4), scores (D,), labels (D,)."""
    empty = torch.zeros(0, dtype=torch.int64, device=boxes.device)
    rows, labels = torch.cat([empty, *rows]), torch.cat([empty, *labels])
    boxes, scores = boxes[rows], scores[rows, labels]
    keep = nms(boxes, scores, labels, iou_threshold)[:max_detections]
    return boxes[keep], scores[keep], labels[keep]


def _stack(images, boxes: torch.Tensor, max_detections: int):
    """Pads each image's detections to (B, max_detections, ...)."""
    size = (len(images), max_detections)
    padded = boxes.new_zeros(*size, 4), boxes.new_zeros(size), boxes.new_full(size, -1, dtype=torch.int64)
    counts = boxes.new_zeros(len(images), dtype=torch.int64)
    for image, found in enumerate(images):
        counts[image] = len(found[0])
        for whole, part in zip(padded, found, strict=True):
            whole[image, : len(part)] = part
    return *padded, counts


def soft_nms(
    boxes: torch.Tensor,
    scores: torch.Tensor,
    labels: torch.Tensor | None,
    method: str,
    iou_threshold: float,
    sigma: float,
    score_threshold: float,
) -> tuple[torch.Tensor, torch.Tensor]:
    """See ``lib.ops.soft_nms``; boxes and scores are float32."""
    scores = torch.where(boxes.isfinite().all(-1) & scores.isfinite(), scores, -torch.inf)
    variance = torch.tensor(sigma, dtype=torch.float32).double()
    keep, new_scores = [], []
    while len(scores) and scores.max() > score_threshold:
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


def weighted_box_fusion(
    boxes: torch.Tensor,
    scores: torch.Tensor,
    labels: torch.Tensor | None,
    iou_threshold: float,
    num_sources: int,
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """See ``lib.ops.weighted_box_fusion``; boxes and scores are float32."""
    labels = torch.zeros(len(boxes), dtype=torch.int64) if labels is None else labels
    finite = boxes.isfinite().all(-1) & scores.isfinite() & (scores > 0)
    order = scores.argsort(descending=True, stable=True)
    clusters: list[list[int]] = []  # of indices
    fused = boxes.new_zeros(len(boxes), 4)  # the mean box of each cluster
    for i in order[finite[order]].tolist():
        iou = pairwise(fused[: len(clusters)], boxes[i])
        same = [bool(labels[members[0]] == labels[i]) for members in clusters]
        iou = torch.where(torch.tensor(same, dtype=torch.bool), iou, 0)
        nearest = int(iou.argmax()) if clusters and iou.max() > iou_threshold else len(clusters)
        clusters[nearest:] = clusters[nearest:] or [[]]
        clusters[nearest].append(i)
        weights = scores[clusters[nearest]].double()
        sums = (weights[:, None] * boxes[clusters[nearest]].double()).cumsum(0)[-1]  # one after another
        fused[nearest] = (sums / weights.cumsum(0)[-1]).float()
    new_scores = torch.zeros(len(clusters))
    for i, members in enumerate(clusters):
        mean = scores[members].double().cumsum(0)[-1] / len(members)
        new_scores[i] = float(mean * (min(len(members), num_sources) / num_sources))
    new_labels = labels[[members[0] for members in clusters]]
    rank = new_scores.argsort(descending=True, stable=True)
    return fused[: len(clusters)][rank], new_scores[rank], new_labels[rank]
