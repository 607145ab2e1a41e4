"""Torchvision's detectors and transforms as peers; we do not require torchvision."""

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

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

DETECTORS = {"ssdlite320": ssdlite320_mobilenet_v3_large, "ssd300": ssd300_vgg16}


def build(name: str) -> Any:
    """A detector of 91 classes with random weights."""
    return DETECTORS[name](weights=None, weights_backbone=None, num_classes=91)


class Prepared(NamedTuple):
    """torchvision's batch, and the sizes (height, width) of its images."""

    images: Any
    sizes: list[tuple[int, int]]


class PredictorPeer:
    """SSDLite320 in eager mode, in the stages of Predictor."""

    def __init__(self) -> None:
        self.model = build("ssdlite320").eval()

    def prepare(self, images: Sequence[np.ndarray]) -> Prepared:
        """The batch for images (H, W, 3) uint8 BGR."""
        tensors = [torch.from_numpy(image[..., ::-1].copy()).permute(2, 0, 1) / 255 for image in images]
        return Prepared(self.model.transform(tensors)[0], [image.shape[:2] for image in images])

    @torch.inference_mode()
    def forward(self, prepared: Any) -> tuple:
        """The batch with its maps and raw predictions."""
        features = list(self.model.backbone(prepared.tensors).values())
        return prepared, features, self.model.head(features)

    @torch.inference_mode()
    def select(self, output: tuple, batch: Prepared) -> list[dict[str, torch.Tensor]]:
        """Detections in the frames of the images."""
        prepared, features, heads = output
        anchors = self.model.anchor_generator(prepared, features)
        detections = self.model.postprocess_detections(heads, anchors, prepared.image_sizes)
        return self.model.transform.postprocess(detections, prepared.image_sizes, batch.sizes)


def input_peer(size: tuple[int, int]) -> Callable[[str, np.ndarray, np.ndarray], Any]:
    """The steps of torchvision's ``ssd`` preset, v2 transforms on tensors, and its resizing to (height, width).

    The call takes a JPEG file, boxes (G, 4) xyxy and labels (G,); it gives the image (3, H, W) float32 0 .. 1 and its
    target.
    """
    distort, crop, flip = v2.RandomPhotometricDistort(), v2.RandomIoUCrop(), v2.RandomHorizontalFlip(p=0.5)
    zoom_out = v2.RandomZoomOut(fill={Image: (123.0, 117.0, 104.0), "others": 0})
    to_float, clean = v2.ToDtype(torch.float32, scale=True), v2.SanitizeBoundingBoxes()
    augment = v2.Compose([distort, zoom_out, crop, flip, to_float, clean, v2.ToPureTensor()])
    transform = GeneralizedRCNNTransform(1, 1, [0.0] * 3, [1.0] * 3, fixed_size=size[::-1])

    def prepare(file: str, boxes: np.ndarray, labels: np.ndarray) -> tuple[torch.Tensor, dict]:
        image = Image(read_image(file, ImageReadMode.RGB))
        given = BoundingBoxes(boxes, format="XYXY", canvas_size=image.shape[-2:])
        return transform.resize(*augment(image, {"boxes": given, "labels": torch.from_numpy(labels)}))

    return prepare


class TrainingPeer:
    """A detector in training, all of its layers learning.

    Args:
        name: of DETECTORS.
        batch: images (B, 3, H, W) uint8 and a target without padding.
        dtype: of the network by autocast; of the loss too, as torchvision has it.
    """

    def __init__(self, name: str, batch: Batch, device: torch.device, dtype: torch.dtype):
        self.autocast = torch.autocast(device.type, dtype, enabled=dtype != torch.float32)
        self.model = build(name).to(device).train()
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
        """A call for matching, loss, and its gradient to random outputs of the head."""
        images = torch.stack(self.images)
        with torch.no_grad():
            features = list(self.model.backbone(images).values())
            given = self.model.head(features)
        anchors = self.model.anchor_generator(ImageList(images, [images.shape[-2:]] * len(images)), features)
        outputs = {name: torch.randn_like(value).requires_grad_() for name, value in given.items()}

        def step() -> None:
            pairs = zip(self.targets, anchors, strict=True)
            matched = [self.model.proposal_matcher(box_iou(one["boxes"], boxes)) for one, boxes in pairs]
            losses = self.model.compute_loss(self.targets, outputs, anchors, matched)
            torch.autograd.grad(sum(losses.values()), list(outputs.values()))

        return step
