"""The peer of tools/bench_predictor.py; torchvision is no requirement of this project."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torchvision.models.detection import ssdlite320_mobilenet_v3_large


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
