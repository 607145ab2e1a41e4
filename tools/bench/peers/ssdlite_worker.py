"""Trains torchvision's SSDLite320 over EfficientNet-Lite0 for a job of tools/bench/real.py: needs torchvision, timm.

Network, priors, augmentation (``ssdlite``) and optimizer are those of torchvision's reference for MobileNetV3, with
its learning rate scaled to the batch; the cosine runs over the CPU time instead of 660 epochs. The backbone is
timm's, from the ImageNet weights in ``job.weights``, whose tensors stand in timm's order.
"""

import math
from functools import partial
from typing import Any

import numpy as np
import timm
import torch
import torchvision
from job import Budget, Found, Split, answer, read_job, read_split
from PIL import Image
from torch import nn
from torchvision.models.detection.anchor_utils import DefaultBoxGenerator
from torchvision.models.detection.ssd import SSD
from torchvision.models.detection.ssdlite import SSDLiteHead, _extra_block, _normal_init
from torchvision.transforms import v2
from torchvision.tv_tensors import BoundingBoxes

SIZE = (320, 320)
DEFAULTS = {"batch": 8, "lr": 0.15, "lr_batch": 192, "weight_decay": 4e-5, "warmup_steps": 1000}


class Features(nn.Module):
    """Six maps: the expansion of the last block of stride 16, as in torchvision, the last layer, four extra ones."""

    def __init__(self, weights: str):
        super().__init__()
        norm = partial(nn.BatchNorm2d, eps=0.001, momentum=0.03)
        net = timm.create_model("tf_efficientnet_lite0", pretrained=False)
        tensors = torch.load(weights, map_location="cpu", weights_only=True).values()
        net.load_state_dict(dict(zip(net.state_dict(), tensors, strict=True)))
        for module in net.modules():
            if isinstance(module, nn.BatchNorm2d):
                module.momentum = 0.03
        first = net.blocks[5][0]
        fine = nn.Sequential(net.conv_stem, net.bn1, *net.blocks[:5], first.conv_pw, first.bn1)
        rest = (first.conv_dw, first.bn2, first.conv_pwl, first.bn3, *net.blocks[5][1:], net.blocks[6])
        coarse = nn.Sequential(*rest, net.conv_head, net.bn2)
        channels = ((net.conv_head.out_channels, 512), (512, 256), (256, 256), (256, 128))
        extras = [_extra_block(*pair, norm) for pair in channels]
        for extra in extras:
            _normal_init(extra)
        self.parts = nn.ModuleList([fine, coarse, *extras])
        self.channels = [first.conv_pw.out_channels, net.conv_head.out_channels, 512, 256, 256, 128]

    def forward(self, x: torch.Tensor) -> dict[str, torch.Tensor]:
        """Maps by their names, finest first."""
        maps = {}
        for index, part in enumerate(self.parts):
            x = part(x)
            maps[str(index)] = x
        return maps


def build(weights: str, num_classes: int) -> SSD:
    """The detector; ``num_classes`` without background."""
    features, priors = Features(weights), DefaultBoxGenerator([[2, 3]] * 6, min_ratio=0.2, max_ratio=0.95)
    norm = partial(nn.BatchNorm2d, eps=0.001, momentum=0.03)
    head = SSDLiteHead(features.channels, priors.num_anchors_per_location(), num_classes + 1, norm)
    options: dict[str, Any] = {"score_thresh": 0.001, "nms_thresh": 0.55, "detections_per_img": 300}
    options |= {"topk_candidates": 300, "image_mean": [127 / 255] * 3, "image_std": [128 / 255] * 3}
    return SSD(features, priors, SIZE, num_classes + 1, head=head, **options)


def train(model: SSD, split: Split, job: Any, settings: dict[str, float]) -> dict[str, Any]:
    """Trains for the job's CPU time; the figures of the training."""
    batch, budget = int(settings["batch"]), Budget(job.seconds)
    rate = settings["lr"] * batch / settings["lr_batch"]
    optimizer = torch.optim.SGD(model.parameters(), rate, momentum=0.9, weight_decay=settings["weight_decay"])
    to_tensor = [v2.PILToTensor(), v2.ToDtype(torch.float32, scale=True), v2.SanitizeBoundingBoxes(), v2.ToPureTensor()]
    augment = v2.Compose([v2.RandomIoUCrop(), v2.RandomHorizontalFlip(), *to_tensor])
    warmup = min(settings["warmup_steps"], len(split.pictures) // batch - 1)
    step = 0
    waiting: list[Any] = []
    model.train()
    while budget.share < 1:
        waiting = waiting[batch:]
        if len(waiting) < batch:
            waiting = torch.randperm(len(split.pictures)).tolist()
        images, targets = zip(*(load(split.pictures[index], augment) for index in waiting[:batch]), strict=True)
        loss = sum(model(list(images), list(targets)).values())
        if not torch.isfinite(loss):
            raise RuntimeError(f"the loss is {loss.item()} after {step} steps; choose a lower lr")
        optimizer.zero_grad()
        loss.backward()
        rise = min(0.001 + 0.999 * step / max(warmup, 1), 1.0)
        optimizer.param_groups[0]["lr"] = rate * rise * 0.5 * (1 + math.cos(math.pi * budget.share))
        optimizer.step()
        step += 1
        if step % 20 == 0:
            print(f"step {step} loss {loss.item():.3f} cpu_s {budget.used:.0f}", flush=True)
    return {"cpu_seconds": budget.used, "steps": step, "epochs": step * batch / len(split.pictures)}


def load(picture: Any, augment: v2.Compose) -> tuple[torch.Tensor, dict[str, torch.Tensor]]:
    """An image and its target as the detector takes them, augmented."""
    boxes = torch.tensor(picture.boxes, dtype=torch.float32).reshape(-1, 4)
    image = Image.open(picture.file).convert("RGB")
    target = {"boxes": BoundingBoxes(boxes, format="XYXY", canvas_size=image.size[::-1])}
    target["labels"] = torch.tensor(picture.classes, dtype=torch.int64) + 1
    return augment(image, target)


def main(job: Any) -> None:
    """Trains, detects, answers."""
    torch.set_num_threads(1)
    torch.manual_seed(job.seed)
    settings = {**DEFAULTS, **job.settings}
    split = read_split(job.train, job.train_images)
    model = build(job.weights, len(split.names)).to(memory_format=torch.channels_last)  # faster on CPUs
    figures = train(model, split, job, settings)
    model.eval()

    @torch.inference_mode()
    def detect(image: np.ndarray) -> Found:
        tensor = torch.from_numpy(image[..., ::-1].copy()).permute(2, 0, 1) / 255
        found = model([tensor])[0]
        return found["boxes"].numpy(), found["scores"].numpy(), found["labels"].numpy() - 1

    versions = {module.__name__: module.__version__ for module in (torch, torchvision, timm)}
    parameters = sum(parameter.numel() for parameter in model.parameters())
    figures |= {"settings": settings, "parameters": parameters, "versions": versions}
    answer(job, read_split(job.val, job.val_images), detect, figures)


if __name__ == "__main__":
    main(read_job())
