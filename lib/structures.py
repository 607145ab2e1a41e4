"""The values that travel through the project, and nothing else.

Dimensions: B batch, H W image, G ground truths, P priors, K classes with background at 0, D detections.
Every box is float32 ``xyxy`` in continuous pixels of the image that it travels with; sizes are (height, width).
"""

import importlib
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import torch

BACKGROUND = 0  # label of the background class, and of the padding rows of a Target
IGNORE = -1  # label of a region where neither an object nor its absence may be learned (a COCO crowd)


class Layer(NamedTuple):
    """A picture that has its place on a sample's canvas, but is not drawn there yet."""

    image: Any  # (H, W, 3) uint8 BGR, or a ``StoredImage`` (lib/data/image.py), which is decoded when it is drawn
    matrix: np.ndarray  # (2, 3) float64, map from pixels of ``image`` to pixels of the canvas
    content: tuple[float, float, float, float]  # (left, top, right, bottom) of what is shown, in pixels of the canvas
    opacity: float = 1.0  # 0 .. 1, over the layers below
    # (left, top, right, bottom) on the canvas, at which the picture starts to fade in towards its inside; None: it does
    # not fade
    frame: tuple[float, float, float, float] | None = None


class Sample(NamedTuple):
    """One image with its boxes, in NumPy, on its way through the transforms.

    Geometric transforms move the boxes at once and leave the pixels alone: ``layers`` and ``canvas`` note where the
    pixels of one or several images belong, until ``resize`` resamples each image once.
    """

    image: Any  # (H, W, 3) uint8, BGR; while anything is pending, that of the file, which may be a ``StoredImage``
    boxes: np.ndarray  # (G, 4) float32 xyxy in pixels of the canvas; of ``image`` where nothing is pending
    labels: np.ndarray  # (G,) int64, 1 .. K-1, or IGNORE
    image_id: int  # the data set's id of the image
    size: tuple[int, int]  # (height, width) of the image as it was read from the file
    # (height, width) of the pending canvas, which may be fractional; None: nothing is pending
    canvas: tuple[float, float] | None = None
    layers: tuple[Layer, ...] = ()  # what is pending, from the bottom up
    # (left, top, right, bottom) of what is not fill, in pixels of ``image``; None: all of it
    content: tuple[int, int, int, int] | None = None


class Target(NamedTuple):
    """The ground truth of a batch, padded to the image with the most boxes."""

    boxes: torch.Tensor  # (B, G, 4) float32 xyxy in pixels of the network's input; zeros where padded
    labels: torch.Tensor  # (B, G) int64, 1 .. K-1, IGNORE, or BACKGROUND where padded

    def to(self, device: torch.device | str) -> "Target":
        """The same target on another device."""
        return Target(*(value.to(device, non_blocking=True) for value in self))


class Batch(NamedTuple):
    """What the loader yields."""

    images: torch.Tensor  # (B, 3, H, W) uint8 in the channel order of the config; the model's normalizer makes it float
    target: Target  # the padded ground truth
    image_ids: torch.Tensor  # (B,) int64


class Predictions(NamedTuple):
    """Raw output of a detector: the same type in training and in evaluation."""

    logits: torch.Tensor  # (B, P, K) class scores before softmax or sigmoid
    deltas: torch.Tensor  # (B, P, 4) box offsets in the coder's units
    priors: torch.Tensor  # (P, 4) float32 xyxy in pixels of the network's input
    image_size: tuple[int, int]  # (height, width) of the network's input


class Detections(NamedTuple):
    """The objects found in one image, by falling score."""

    boxes: torch.Tensor  # (D, 4) float32 xyxy in pixels of the original image
    scores: torch.Tensor  # (D,) float32 in 0 .. 1
    labels: torch.Tensor  # (D,) int64, 1 .. K-1

    def to_supervision(self, names: Sequence[str] = ()) -> Any:
        """The same as ``supervision.Detections``: arrays xyxy, confidence, class_id from 0; with ``names`` of label
        1, 2, ... also data["class_name"].

        Raises:
            ValueError: the package supervision, which this alone needs, is not installed.
        """
        try:
            package = importlib.import_module("supervision")
        except ImportError as error:
            raise ValueError(
                f"Detections.to_supervision needs the package supervision, which is not usable here ({error}): "
                "pip install supervision"
            ) from None
        boxes, scores, labels = (value.detach().cpu().numpy() for value in self)
        data = {"class_name": np.array([names[label - 1] for label in labels], dtype=str)} if names else {}
        return package.Detections(xyxy=boxes, confidence=scores, class_id=labels - 1, data=data)
