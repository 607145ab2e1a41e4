"""From images to raw predictions as one module: the part of a detector that runs, or is exported, as a whole."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from typing import Any

import torch
from torch import nn
from torch.nn.utils.fusion import fuse_conv_bn_eval

from lib.build import build_normalizer
from lib.structures import Predictions


def fold_norms(model: nn.Module) -> nn.Module:
    """A copy in evaluation mode whose BatchNorm layers are folded into the convolutions before them.

    Folded is what stands side by side in a block, convolution then BatchNorm; any other stays as it is. The
    output is the same up to rounding.
    """
    folded = copy.deepcopy(model).eval()
    for block in list(folded.modules()):
        children = list(block.named_children())
        for (name, layer), (next_name, norm) in zip(children, children[1:], strict=False):
            if isinstance(layer, nn.Conv2d) and isinstance(norm, nn.BatchNorm2d):
                setattr(block, name, fuse_conv_bn_eval(layer, norm))
                setattr(block, next_name, nn.Identity())
    return folded.requires_grad_(False)


class Network(nn.Module):
    """Images as OpenCV has them -> Predictions: order of channels, mean and scale, detector.

    Args:
        cfg: the resolved config.
        detector: of that config, with its weights; it is copied.
        dtype: of weights and maps; logits and deltas come in it too.
    """

    def __init__(self, cfg: Mapping[str, Any], detector: nn.Module, dtype: torch.dtype = torch.float32):
        super().__init__()
        self.is_rgb = cfg["input"]["channels"] == "rgb"
        self.normalizer = build_normalizer(cfg)
        self.detector = fold_norms(detector).to(dtype=dtype, memory_format=torch.channels_last)
        self.dtype = dtype

    def forward(self, images: torch.Tensor) -> Predictions:
        """(B, H, W, 3) uint8 BGR images of the network's size -> Predictions."""
        planes = images.permute(0, 3, 1, 2)  # (B, 3, H, W), in memory as channels_last wants it
        planes = planes.flip(1) if self.is_rgb else planes
        return self.detector(self.normalizer(planes).to(self.dtype))
