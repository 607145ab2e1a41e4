"""The detector: backbone, neck, head and priors behind one ``forward``."""

from collections.abc import Sequence

import torch
from torch import nn

from lib.models.backbones.base import Backbone
from lib.models.head import MultiBoxHead
from lib.models.necks import Neck
from lib.structures import Predictions


class Normalizer(nn.Module):
    """Turns uint8 images into the floats that the network was trained on: ``(x - mean) / std`` by channel, both in gray
    levels 0 .. 255 and in the images' channel order.
    """

    mean: torch.Tensor
    std: torch.Tensor

    def __init__(self, mean: Sequence[float], std: Sequence[float]):
        super().__init__()
        if not len(mean) == len(std) == 3 or min(std) <= 0:
            raise ValueError(
                f"input.mean and input.std must have three numbers each, those of std above 0; got {list(mean)} and "
                f"{list(std)}"
            )
        self.register_buffer("mean", torch.tensor(mean, dtype=torch.float32)[:, None, None], persistent=False)
        self.register_buffer("std", torch.tensor(std, dtype=torch.float32)[:, None, None], persistent=False)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """(B, 3, H, W) uint8 -> (B, 3, H, W) float32, in the layout of the images."""
        return (images.float() - self.mean) / self.std


class Detector(nn.Module):
    """An SSD-family detector: backbone, neck (taps to maps), head (maps to logits and deltas), and priors, which are
    called as ``priors(maps, image_size, device)`` with the (height, width) of each map.
    """

    def __init__(self, backbone: Backbone, neck: Neck, head: MultiBoxHead, priors: nn.Module):
        super().__init__()
        self.backbone, self.neck, self.head, self.priors = backbone, neck, head, priors

    @property
    def has_unused_weights(self) -> bool:
        """Whether taps of the last row are inside it, as 13.expand is, so that its later weights get no gradient."""
        last = len(self.backbone.layers) - 1
        return all(tap.stage for tap in self.neck.inputs if tap.row == last)

    def maps(self, images: torch.Tensor) -> list[torch.Tensor]:
        """(B, 3, H, W) normalized images -> the maps that the head reads, [(B, C_l, h_l, w_l)]."""
        maps: list[torch.Tensor] = self.neck(self.backbone(images, self.neck.inputs))
        return maps

    def forward(self, images: torch.Tensor) -> Predictions:
        """(B, 3, H, W) normalized images -> Predictions, in training and in evaluation alike."""
        maps = self.maps(images)
        logits, deltas = self.head(maps)  # (B, P, K), (B, P, 4)
        image_size = (images.shape[-2], images.shape[-1])
        priors: torch.Tensor = self.priors([(x.shape[-2], x.shape[-1]) for x in maps], image_size, images.device)
        return Predictions(logits, deltas, priors, image_size)
