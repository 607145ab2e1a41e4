"""The peers of tools/bench_predictor.py and tools/bench_input.py; torchvision is no requirement of this project."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torchvision.io import ImageReadMode, read_image
from torchvision.models.detection import ssdlite320_mobilenet_v3_large
from torchvision.models.detection.transform import GeneralizedRCNNTransform
from torchvision.transforms import v2
from torchvision.tv_tensors import BoundingBoxes, Image


class Peer:
    """Torchvision's detector in eager mode, in the stages of Predictor."""

    def __init__(self):
        self.model = ssdlite320_mobilenet_v3_large(weights=None, weights_backbone=None, num_classes=91).eval()

    def prepare(self, images: Sequence[np.ndarray]) -> tuple[Any, list]:
        """(H, W, 3) uint8 BGR images -> torchvision's batch, and their sizes."""
        tensors = [torch.from_numpy(image[..., ::-1].copy()).permute(2, 0, 1) / 255 for image in images]
        return self.model.transform(tensors)[0], [image.shape[:2] for image in images]

    @torch.inference_mode()
    def forward(self, prepared: Any) -> tuple:
        """The batch with its maps and raw predictions."""
        features = list(self.model.backbone(prepared.tensors).values())
        return prepared, features, self.model.head(features)

    @torch.inference_mode()
    def select(self, output: tuple, sizes: list) -> list[dict[str, torch.Tensor]]:
        """Detections in the frames of the images."""
        prepared, features, heads = output
        anchors = self.model.anchor_generator(prepared, features)
        found = self.model.postprocess_detections(heads, anchors, prepared.image_sizes)
        return self.model.transform.postprocess(found, prepared.image_sizes, sizes)


class SsdInput:
    """The steps of torchvision's ``ssd`` preset for detection, v2 transforms on tensors, and its model's resizing.

    Args:
        size: (height, width) of the network's input.
    """

    def __init__(self, size: tuple[int, int]):
        self.augment = v2.Compose(
            [
                v2.RandomPhotometricDistort(),
                v2.RandomZoomOut(fill={Image: (123.0, 117.0, 104.0), "others": 0}),
                v2.RandomIoUCrop(),
                v2.RandomHorizontalFlip(p=0.5),
                v2.ToDtype(torch.float32, scale=True),
                v2.SanitizeBoundingBoxes(),
                v2.ToPureTensor(),
            ]
        )
        self.transform = GeneralizedRCNNTransform(1, 1, [0.0] * 3, [1.0] * 3, fixed_size=size[::-1])

    def __call__(self, file: str, boxes: np.ndarray, labels: np.ndarray) -> tuple[torch.Tensor, dict]:
        """A JPEG file with boxes (G, 4) xyxy and labels (G,) -> image (3, H, W) float32 0 .. 1 and its target."""
        image = Image(read_image(file, ImageReadMode.RGB))
        found = BoundingBoxes(boxes, format="XYXY", canvas_size=image.shape[-2:])
        image, target = self.augment(image, {"boxes": found, "labels": torch.from_numpy(labels)})
        return self.transform.resize(image, target)
