"""The peers of tools/bench/predictor.py, input.py and training.py; we do not require torchvision."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
from torchvision.io import ImageReadMode, read_image
from torchvision.models.detection import ssd300_vgg16, ssdlite320_mobilenet_v3_large
from torchvision.models.detection.image_list import ImageList
from torchvision.models.detection.transform import GeneralizedRCNNTransform
from torchvision.ops import box_iou
from torchvision.transforms import v2
from torchvision.tv_tensors import BoundingBoxes, Image

from lib.structures import Batch


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


TRAINED = {"ssdlite320": ssdlite320_mobilenet_v3_large, "ssd300": ssd300_vgg16}


class TrainingPeer:
    """Torchvision's detector in training, all of its layers learning.

    Args:
        name: of TRAINED.
        batch: ours: images (B, 3, H, W) uint8 and a target without padding.
        dtype: of the network by autocast; the loss too, as torchvision has it.
    """

    def __init__(self, name: str, batch: Batch, device: torch.device, dtype: torch.dtype):
        build = TRAINED[name]
        self.autocast = torch.autocast(device.type, dtype, enabled=dtype != torch.float32)
        self.model = build(weights=None, weights_backbone=None, num_classes=91).to(device).train()
        self.optimizer = torch.optim.SGD(self.model.parameters(), 1e-3, momentum=0.9, weight_decay=4e-5)
        self.images = list((batch.images.to(device) / 255).unbind())
        pairs = zip(*batch.target.to(device), strict=True)
        self.targets = [{"boxes": boxes, "labels": labels} for boxes, labels in pairs]

    def step(self) -> None:
        """Forward, loss, backward, update."""
        with self.autocast:
            losses = self.model(self.images, self.targets)
        self.optimizer.zero_grad()
        sum(losses.values()).backward()
        self.optimizer.step()

    def loss_step(self) -> Callable[[], None]:
        """Matching, loss, and its gradient to outputs of the head, which are random."""
        images = torch.stack(self.images)
        with torch.no_grad():
            features = list(self.model.backbone(images).values())
            given = self.model.head(features)
        sizes = [tuple(image.shape[-2:]) for image in images]
        anchors = self.model.anchor_generator(ImageList(images, sizes), features)
        outputs = {name: torch.randn_like(value).requires_grad_() for name, value in given.items()}

        def step() -> None:
            matched = [
                self.model.proposal_matcher(box_iou(target["boxes"], boxes))
                for target, boxes in zip(self.targets, anchors, strict=True)
            ]
            losses = self.model.compute_loss(self.targets, outputs, anchors, matched)
            torch.autograd.grad(sum(losses.values()), list(outputs.values()))

        return step
