"""From raw predictions to the detections of each image."""

import torch

from lib.multibox.coder import BoxCoder
from lib.ops import PaddedDetections
from lib.ops.checks import check_fraction
from lib.ops.detections import ACTIVATIONS, detect_stepwise, postprocess
from lib.ops.padded import Selection, check_selection
from lib.structures import Detections, Predictions
from lib.utils.lookup import lookup

DEFAULT = Selection()


class PostProcess:
    """Scores, decodes and selects: threshold, best candidates a class, suppression within each class, best of image.

    Boxes are clipped to the network's frame first, so that IoU is measured on what can be seen. Both
    activations take logits of K columns; column 0, the background, is never detected, and a sigmoid ignores it.
    What is not finite is dropped: scores, and boxes with a coordinate that is NaN.

    Args:
        activation: ``softmax`` or ``sigmoid``, from logits to scores.
    """

    def __init__(self, coder: BoxCoder, selection: Selection = DEFAULT, activation: str = "softmax"):
        lookup(ACTIVATIONS, activation, "activation")
        check_fraction(selection.score_threshold, "score_threshold")
        check_selection(selection)
        self.coder, self.selection, self.activation = coder, selection, activation

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

    def padded(self, predictions: Predictions, sizes: torch.Tensor) -> PaddedDetections[torch.Tensor]:
        """The same in fixed shapes, boxes in the frames of the original images: what torch.compile and torch.export
        go through. With ``nms`` nothing waits for the device.
        """
        logits, deltas, priors, image_size = predictions
        options = (image_size, self.coder.variances, self.activation, *self.selection)
        return PaddedDetections(*postprocess(logits, deltas, priors, sizes, *options))

    def stepwise(self, predictions: Predictions, sizes: torch.Tensor) -> PaddedDetections[torch.Tensor]:
        """The same as ``padded``, an operation at a time, for exporters that must translate each."""
        return detect_stepwise(predictions, sizes, self.coder.variances, self.activation, self.selection)
