"""The five values that travel through the project, and nothing else.

Dimensions: B batch, H W image, G ground truths, P priors, K classes with background at 0, D detections.
Every box is float32 ``xyxy`` in continuous pixels of the image that it travels with; sizes are (height, width).
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import torch

BACKGROUND = 0  # label of the background class, and of the padding rows of a Target
IGNORE = -1  # label of a region where neither an object nor its absence may be learned (a COCO crowd)


class Sample(NamedTuple):
    """One image with its boxes, in NumPy, on its way through the transforms.

    Geometric transforms leave the pixels alone: they move the boxes at once, and note in ``matrix`` and ``canvas``
    where the pixels have to go, until ``resize`` resamples them once and for all.

    Attributes:
        image: (H, W, 3) uint8, BGR.
        boxes: (G, 4) float32 xyxy in pixels of the canvas; of ``image`` where nothing is pending.
        labels: (G,) int64, 1 .. K-1, or IGNORE.
        image_id: the data set's own id of the image.
        size: (height, width) of the image as it was read from the file.
        matrix: (2, 3) float64, pending map from pixels of ``image`` to pixels of the canvas; None: the identity.
        canvas: (height, width) of the pending canvas, maybe fractional; None: that of ``image``.
        content: (left, top, right, bottom) in pixels of the canvas, outside of which is nothing but filling;
            whole numbers where nothing is pending. None: all of it shows the image.
    """

    image: np.ndarray
    boxes: np.ndarray
    labels: np.ndarray
    image_id: int
    size: tuple[int, int]
    matrix: np.ndarray | None = None
    canvas: tuple[float, float] | None = None
    content: tuple[float, float, float, float] | None = None


class Target(NamedTuple):
    """The ground truth of a batch, padded to the image with the most boxes.

    Attributes:
        boxes: (B, G, 4) float32 xyxy in pixels of the network's input; zeros where padded.
        labels: (B, G) int64, 1 .. K-1, IGNORE, or BACKGROUND where padded.
    """

    boxes: torch.Tensor
    labels: torch.Tensor

    def to(self, device: torch.device | str) -> Target:
        """The same target on another device."""
        return Target(*(value.to(device, non_blocking=True) for value in self))


class Batch(NamedTuple):
    """What the loader yields.

    Attributes:
        images: (B, 3, H, W) uint8 in the channel order of the config; the model's normaliser makes it float.
        target: the padded ground truth.
        image_ids: (B,) int64.
        sizes: (B, 2) int64, (height, width) of each original image.
    """

    images: torch.Tensor
    target: Target
    image_ids: torch.Tensor
    sizes: torch.Tensor


class Predictions(NamedTuple):
    """Raw output of a detector: the same type in training and in evaluation.

    Attributes:
        logits: (B, P, K) class scores before softmax or sigmoid.
        deltas: (B, P, 4) box offsets in the coder's units.
        priors: (P, 4) float32 xyxy in pixels of the network's input.
        image_size: (height, width) of the network's input.
    """

    logits: torch.Tensor
    deltas: torch.Tensor
    priors: torch.Tensor
    image_size: tuple[int, int]


class Detections(NamedTuple):
    """The objects found in one image, by falling score.

    Attributes:
        boxes: (D, 4) float32 xyxy in pixels of the original image.
        scores: (D,) float32 in 0 .. 1.
        labels: (D,) int64, 1 .. K-1.
    """

    boxes: torch.Tensor
    scores: torch.Tensor
    labels: torch.Tensor
