"""From raw predictions to the detections of each image."""

from __future__ import annotations

from typing import Literal

import torch

from lib.multibox.coder import MAX_LOG_RATIO, BoxCoder
from lib.ops import PaddedDetections, fused, multiclass_nms
from lib.ops.boxes import clip_boxes, scale_boxes
from lib.ops.checks import check_fraction, check_positive
from lib.structures import BACKGROUND, Detections, Predictions
from lib.utils.lookup import lookup

ACTIVATIONS = {"softmax": lambda logits: logits.softmax(-1), "sigmoid": torch.sigmoid}


class PostProcess:
    """Scores, decodes and selects: threshold, best candidates a class, NMS within each class, best of the image.

    Boxes are cut to the network's frame before NMS, so that IoU is measured on what can be seen. Both
    activations take logits of K columns; column 0, the background, is never detected, and a sigmoid ignores it.
    What is not finite is dropped: scores, and boxes with a coordinate that is NaN.

    On the CPU all of it is one compiled pass; elsewhere the steps are queued on the device one after another.

    Args:
        coder: turns deltas into boxes.
        score_threshold: a detection's score is greater; 0 .. 1.
        iou_threshold: of two boxes of a class whose IoU is greater, the lower score goes; 0 .. 1.
        max_candidates: best scores of a class that take part, an image.
        max_detections: most detections of an image.
        activation: ``softmax`` or ``sigmoid``.
    """

    def __init__(
        self,
        coder: BoxCoder,
        score_threshold: float = 0.01,
        iou_threshold: float = 0.45,
        max_candidates: int = 400,
        max_detections: int = 100,
        activation: Literal["softmax", "sigmoid"] = "softmax",
    ):
        lookup(ACTIVATIONS, activation, "activation")
        check_fraction(score_threshold, "score_threshold")
        check_fraction(iou_threshold, "iou_threshold")
        check_positive(max_candidates, "max_candidates")
        check_positive(max_detections, "max_detections")
        self.coder = coder
        self.activation = activation
        self.is_fused = fused.is_built()
        self.limits = (score_threshold, iou_threshold, max_candidates, max_detections)

    def __call__(self, predictions: Predictions, sizes: torch.Tensor) -> list[Detections]:
        """The detections of each image, by falling score; waits for the device once.

        Args:
            predictions: raw output of a detector for B images.
            sizes: (B, 2) int64, (height, width) of each original image.
        """
        boxes, scores, labels, counts = self.padded(predictions, sizes)
        return [
            Detections(boxes[image, :count], scores[image, :count], labels[image, :count])
            for image, count in enumerate(counts.tolist())
        ]

    def padded(self, predictions: Predictions, sizes: torch.Tensor) -> PaddedDetections:
        """The same in fixed shapes, boxes in the frames of the original images; nothing waits for the device.

        This is what torch.compile and torch.export go through.
        """
        logits, deltas, priors, image_size = predictions
        if not (self.is_fused and logits.is_cpu):
            return self.stepwise(predictions, sizes)
        is_sigmoid = self.activation == "sigmoid"
        decoding = (list(image_size), list(self.coder.variances), MAX_LOG_RATIO, is_sigmoid)
        return fused.postprocess(logits, deltas, priors, sizes, *decoding, *self.limits)

    def stepwise(self, predictions: Predictions, sizes: torch.Tensor) -> PaddedDetections:
        """The same as ``padded``, an operation at a time: for the GPU, and the oracle of the compiled pass."""
        boxes = clip_boxes(self.coder.decode(predictions.deltas, predictions.priors), predictions.image_size)
        scores = ACTIVATIONS[self.activation](predictions.logits.float())  # (B, P, K)
        found = multiclass_nms(boxes, scores, *self.limits, BACKGROUND)
        sizes = sizes[:, None]  # (B, 1, 2)
        boxes = scale_boxes(found.boxes, predictions.image_size, sizes)
        return found._replace(boxes=clip_boxes(boxes, sizes))
