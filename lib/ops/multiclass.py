"""From the boxes and scores of a batch to its detections: NMS of many classes at once, or a gentler way."""

from functools import partial
from typing import Any

import torch

from lib.ops import cuda, kernels, reference
from lib.ops.checks import check_shapes, check_tensors
from lib.ops.fusion import fuse_boxes
from lib.ops.kernels import Values
from lib.ops.nms import soft_nms
from lib.ops.padded import PaddedDetections, Selection, check_selection, empty_detections, pad_detections
from lib.structures import BACKGROUND, Detections


def multiclass_nms(
    boxes: Values,
    scores: Values,
    score_threshold: float,
    iou_threshold: float,
    max_candidates: int = 400,
    max_detections: int = 100,
    background: int | None = BACKGROUND,
) -> PaddedDetections[Values]:
    """The detections of a batch: threshold, best candidates a class, NMS within each class, best of the image.

    Equal scores go by the lower class, then the lower box. Scores that are not finite do not pass the
    threshold; a candidate whose box is not finite counts as a candidate and is then dropped. Computed in
    float32, on the boxes' device; arrays if the boxes are an array.

    Args:
        boxes: (B, P, 4) xyxy of any floating type, shared by the classes.
        scores: (B, P, K) of any floating type.
        score_threshold, iou_threshold, max_candidates, max_detections: see ``lib.ops.padded.Selection``.
        background: a column of the scores that is no object, or None.
    """
    selection = Selection(score_threshold, iou_threshold, max_candidates, max_detections)
    given = kernels.as_tensor(boxes, "boxes"), kernels.as_tensor(scores, "scores")
    padded = select(*given, selection, background)
    return PaddedDetections(*(kernels.as_given(value, boxes) for value in padded))


def select(
    boxes: torch.Tensor, scores: torch.Tensor, selection: Selection, background: int | None = BACKGROUND
) -> PaddedDetections[torch.Tensor]:
    """``multiclass_nms`` of tensors with any kind of suppression; only NMS runs on a GPU, by the CUDA kernels."""
    return PaddedDetections(*_multiclass_nms(boxes, scores, *selection[:4], background, *selection[4:]))


def _check(boxes: torch.Tensor, scores: torch.Tensor, *limits: Any) -> None:
    check_selection(Selection(*limits[:4], *limits[5:]))
    check_tensors(boxes=boxes, scores=scores)
    shape = tuple(scores.shape) if scores.ndim == 3 else (-1, -1, -1)
    check_shapes(scores=(scores, "(B, P, K)", shape), boxes=(boxes, "(B, P, 4)", (*shape[:2], 4)))


@kernels.operator(_check, lambda boxes, scores, *limits: empty_detections(boxes, limits[3]))
def _multiclass_nms(
    boxes: torch.Tensor,
    scores: torch.Tensor,
    score_threshold: float,
    iou_threshold: float,
    max_candidates: int,
    max_detections: int,
    background: int | None,
    suppression: str = "nms",  # with a default, so that archives of torch.export that were made without it load
    soft_sigma: float | None = None,
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor, torch.Tensor]:
    boxes, scores = boxes.float(), scores.float()
    selection = Selection(score_threshold, iou_threshold, max_candidates, max_detections, suppression, soft_sigma)
    if suppression != "nms":
        suppress = _soften if suppression == "soft" else _fuse
        images = [
            suppress(_candidates(*image, selection, background), selection)
            for image in zip(boxes.cpu(), scores.cpu(), strict=True)
        ]
        return pad_detections(images, boxes, max_detections)
    if core := kernels.for_cuda(boxes):
        return cuda.multiclass_nms(partial(cuda.group_nms, core), boxes, scores, selection, background)
    device, core = boxes.device, kernels.load("_nms")
    boxes, scores = boxes.cpu(), scores.cpu()  # where the reference is faster, too: it reads one box after the other
    if core is None:
        out = reference.multiclass_nms(boxes, scores, selection, background)
    else:
        out = empty_detections(boxes, max_detections)
        options = (score_threshold, iou_threshold, max_candidates, -1 if background is None else background)
        core.multiclass_nms(*map(kernels.as_input, (boxes, scores)), *options, *(value.numpy() for value in out))
    return PaddedDetections(*(value.to(device) for value in out))


def _candidates(boxes: torch.Tensor, scores: torch.Tensor, selection: Selection, background: int | None) -> Detections:
    """What takes part of boxes (P, 4) and scores (P, K): by class, then by falling score."""
    passes = (scores > selection.score_threshold) & scores.isfinite()
    if background is not None:
        passes[:, background] = False
    rows, labels = passes.nonzero(as_tuple=True)
    order = scores[rows, labels].argsort(descending=True, stable=True)
    order = order[labels[order].argsort(stable=True)]
    rows, labels = rows[order], labels[order]
    place_in_class = torch.arange(len(labels)) - torch.searchsorted(labels, labels)
    rows, labels = (value[place_in_class < selection.max_candidates] for value in (rows, labels))
    return Detections(boxes[rows], scores[rows, labels], labels)


def _soften(candidates: Detections, selection: Selection) -> Detections:
    """The best candidates, with lowered scores."""
    lower = partial(
        soft_nms, *candidates, score_threshold=selection.score_threshold, max_detections=selection.max_detections
    )
    if selection.soft_sigma is None:
        keep, scores = lower(method="linear", iou_threshold=selection.iou_threshold)
    else:
        keep, scores = lower(method="gaussian", sigma=selection.soft_sigma)
    return Detections(candidates.boxes[keep], scores, candidates.labels[keep])


def _fuse(candidates: Detections, selection: Selection) -> Detections:
    """The mean of each object's candidates, weighted by score, with the score of the best."""
    boxes, scores, labels = candidates
    clusters = fuse_boxes(boxes, scores, labels, torch.arange(len(labels)), selection.iou_threshold)
    order = scores[clusters.founders].argsort(descending=True, stable=True)
    best = clusters.founders[order]
    return Detections(clusters.boxes[order], scores[best], labels[best])
