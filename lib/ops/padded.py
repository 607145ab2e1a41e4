"""The detections of a batch in tensors of fixed shapes, and how they are selected."""

from collections.abc import Sequence
from typing import Generic, NamedTuple

import torch

from lib.ops.checks import check_fraction, check_positive, check_sigma
from lib.ops.kernels import Values
from lib.structures import Detections
from lib.utils.lookup import lookup

SUPPRESSIONS = dict.fromkeys(("nms", "soft", "fusion"))


class Selection(NamedTuple):
    """Which boxes become detections, and how many."""

    score_threshold: float = 0.01  # 0 .. 1; a detection's score is greater
    iou_threshold: float = 0.45  # 0 .. 1; boxes of a class whose IoU is greater are taken for one object
    max_candidates: int = 400  # best scores of a class and image that take part
    max_detections: int = 100  # D, best detections of an image that come out
    # what becomes of the boxes of one object. ``nms``: the best stays; ``soft``: all stay, with lowered scores, by
    # Soft-NMS; ``fusion``: their mean, weighted by score, with the score of the best
    suppression: str = "nms"
    # of ``soft``: width of the Gaussian by which scores are lowered, whatever the threshold; None: they are lowered
    # linearly, above ``iou_threshold``
    soft_sigma: float | None = None


def check_selection(selection: Selection, where: str = "") -> None:
    """Raises ValueError for what is out of range or not used; ``where`` stands before the names."""
    check_fraction(selection.iou_threshold, f"{where}iou_threshold")
    check_positive(selection.max_candidates, f"{where}max_candidates")
    check_positive(selection.max_detections, f"{where}max_detections")
    lookup(SUPPRESSIONS, selection.suppression, "postprocess.suppression")
    if selection.soft_sigma is None:
        return
    if selection.suppression != "soft":
        got = f"{selection.soft_sigma} for {selection.suppression}"
        raise ValueError(f"postprocess.soft_sigma must be null unless postprocess.suppression is soft; got {got}")
    check_sigma(selection.soft_sigma, "postprocess.soft_sigma")


class PaddedDetections(NamedTuple, Generic[Values]):
    """The detections of a batch in fixed shapes, each image's by falling score."""

    boxes: Values  # (B, D, 4) float32, in the frame of the input; zeros where padded
    scores: Values  # (B, D) float32; 0 where padded
    labels: Values  # (B, D) int64, the column of the score; -1 where padded
    counts: Values  # (B,) int64, how many of the D are detections


def empty_detections(boxes: torch.Tensor, max_detections: int) -> PaddedDetections[torch.Tensor]:
    """Memory for the detections of the images of ``boxes`` (B, ...); what it holds is undefined."""
    size = (boxes.shape[0], max_detections)
    return PaddedDetections(
        boxes.new_empty(*size, 4, dtype=torch.float32),
        boxes.new_empty(size, dtype=torch.float32),
        boxes.new_empty(size, dtype=torch.int64),
        boxes.new_empty(size[0], dtype=torch.int64),
    )


def pad_detections(
    images: Sequence[Detections], boxes: torch.Tensor, max_detections: int
) -> PaddedDetections[torch.Tensor]:
    """The first ``max_detections`` of each image, on the device of ``boxes`` (B, ...)."""
    padded = empty_detections(boxes, max_detections)
    for value, filler in zip(padded, (0, 0, -1, 0), strict=True):
        value.fill_(filler)
    for image, detections in enumerate(images):
        padded.counts[image] = count = min(len(detections.scores), max_detections)
        for whole, part in zip(padded, detections, strict=False):
            whole[image, :count] = part[:count]
    return padded
