"""Box fusion: boxes of one object become their mean. On the CPU, by way of which tensors of other devices go."""

from typing import Any, Generic, Literal, NamedTuple

import torch

from lib.ops import kernels, reference
from lib.ops.checks import check_fraction, check_integers, check_one_each, check_positive, check_scored_boxes
from lib.ops.kernels import Values
from lib.ops.reference import Clusters
from lib.utils.lookup import lookup

_MODES = {"iou": False, "ios": True}


class FusedBoxes(NamedTuple, Generic[Values]):
    """(M, 4) float32 ``boxes``, (M,) float32 ``scores`` and (M,) int64 ``labels``, by falling score."""

    boxes: Values
    scores: Values
    labels: Values


def fuse_boxes(
    boxes: torch.Tensor,
    weights: torch.Tensor,
    labels: torch.Tensor,
    sources: torch.Tensor,
    threshold: float,
    mode: Literal["iou", "ios"] = "iou",
) -> Clusters:
    """Clusters of boxes of one object, and the mean of each: what all kinds of box fusion share.

    In the order given each box joins the cluster of its label whose mean box it overlaps most, if by more than
    the threshold; of equal ones the older. Else it founds one. Sums are kept in float64, all else is float32.

    Args:
        boxes: (N, 4) float32 xyxy on the CPU, best first.
        weights: (N,) float32, 0 or more; a cluster whose weights are all 0 has its founder's box.
        labels: (N,) int64.
        sources: (N,) int64: a box does not join a cluster that a box of its own source founded.
        threshold: 0 .. 1.
        mode: the overlap: ``iou``, or ``ios``, the intersection over the area of the smaller box.
    """
    lookup(_MODES, mode, "mode")
    check_fraction(threshold, "threshold")
    check_scored_boxes(boxes, weights, labels)
    check_integers(sources=sources)
    check_one_each(boxes, sources=sources)
    core = kernels.load("_fusion")
    if core is None:
        return reference.fuse_boxes(boxes, weights, labels, sources, threshold, mode)
    members, founders = torch.empty(2, len(boxes), dtype=torch.int64)
    fused = torch.empty(len(boxes), 4)
    floats = (kernels.as_input(boxes), kernels.as_input(weights))
    integers = (kernels.as_input(labels, torch.int64), kernels.as_input(sources, torch.int64))
    out = (members.numpy(), founders.numpy(), fused.numpy())
    count = core.fuse_boxes(*floats, *integers, threshold, _MODES[mode], *out)
    return Clusters(members, founders[:count], fused[:count])


def weighted_box_fusion(
    boxes: Values, scores: Values, labels: Values | None = None, iou_threshold: float = 0.55, num_sources: int = 1
) -> FusedBoxes[Values]:
    """Weighted box fusion (Solovyev et al. 2021) of several detectors or views: boxes of one object become their
    mean, weighted by score.

    ``fuse_boxes`` says which. A cluster's score is the mean of its scores, times the share of the sources that see
    it. A box that is not finite, or whose score is not positive, is dropped.

    Args:
        boxes, scores: see ``nms``.
        labels: (N,) integers, or None for one class, 0.
        iou_threshold: 0 .. 1.
        num_sources: how many detectors or views could have seen each object; 1 leaves the mean scores alone.
    """
    given = kernels.as_tensor(boxes, "boxes"), kernels.as_tensor(scores, "scores")
    classes = None if labels is None else kernels.as_tensor(labels, "labels")
    result = _weighted_box_fusion(*given, classes, iou_threshold, num_sources)
    return FusedBoxes(*(kernels.as_given(value, boxes) for value in result))


def _check(
    boxes: torch.Tensor, scores: torch.Tensor, labels: torch.Tensor | None, iou_threshold: float, num_sources: int
) -> None:
    check_fraction(iou_threshold, "iou_threshold")
    check_positive(num_sources, "num_sources")
    check_scored_boxes(boxes, scores, labels)


def _fake(boxes: torch.Tensor, *_: Any) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    count = kernels.unknown_size()
    fused, scores = (boxes.new_empty(count, *size, dtype=torch.float32) for size in ((4,), ()))
    return fused, scores, boxes.new_empty(count, dtype=torch.int64)


@kernels.operator(_check, _fake)
def _weighted_box_fusion(
    boxes: torch.Tensor, scores: torch.Tensor, labels: torch.Tensor | None, iou_threshold: float, num_sources: int
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    device, boxes, scores = boxes.device, boxes.float().cpu(), scores.float().cpu()
    labels = torch.zeros(len(boxes), dtype=torch.int64) if labels is None else labels.long().cpu()
    is_valid = scores.isfinite() & (scores > 0) & boxes.isfinite().all(-1)
    rank = scores.argsort(descending=True, stable=True)
    rank = rank[is_valid[rank]]
    boxes, scores, labels = boxes[rank], scores[rank], labels[rank]
    clusters = fuse_boxes(boxes, scores, labels, rank, iou_threshold)
    zeros = torch.zeros(len(clusters.founders), dtype=torch.float64)
    sums = zeros.index_add(0, clusters.members, scores.double())
    sizes = zeros.index_add(0, clusters.members, torch.ones_like(scores, dtype=torch.float64))
    means = (sums / sizes * (sizes.clamp(max=num_sources) / num_sources)).float()
    order = means.argsort(descending=True, stable=True)
    fused = clusters.boxes[order], means[order], labels[clusters.founders][order]
    return fused[0].to(device), fused[1].to(device), fused[2].to(device)
