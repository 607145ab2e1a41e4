"""From images to raw predictions as one module, which is run or exported as a whole."""

import copy
from collections.abc import Mapping
from typing import Any

import torch
from torch import nn
from torch.nn.utils.fusion import fuse_conv_bn_eval

from lib.build import build_normalizer
from lib.models.detector import Normalizer
from lib.models.dual_path import SeparateNorms
from lib.models.head import Shared
from lib.structures import Predictions


def fold_norms(model: nn.Module) -> nn.Module:
    """A copy in evaluation mode, of the same output up to rounding, with each BatchNorm that follows a convolution
    directly in a block folded into it.
    """
    folded = copy.deepcopy(model).eval()
    for name, module in list(folded.named_modules()):
        if isinstance(module, SeparateNorms):
            module.unshare_()
        elif isinstance(module, Shared):
            folded.set_submodule(name, module.unshared())
    for block in list(folded.modules()):
        children = list(block.named_children())
        for (name, layer), (next_name, norm) in zip(children, children[1:], strict=False):
            if isinstance(layer, nn.Conv2d) and isinstance(norm, nn.BatchNorm2d):
                setattr(block, name, fuse_conv_bn_eval(layer, norm))
                setattr(block, next_name, nn.Identity())
    return folded.requires_grad_(False)


class Network(nn.Module):
    """Images as OpenCV has them -> Predictions: order of channels, mean and scale, and a copy of the detector.

    ``dtype`` is that of weights and maps, and so of logits and deltas.
    """

    mean: torch.Tensor

    def __init__(self, cfg: Mapping[str, Any], detector: nn.Module, dtype: torch.dtype = torch.float32):
        super().__init__()
        self.detector, self.dtype = fold_norms(detector), dtype
        mean = fold_input(self.detector, build_normalizer(cfg), cfg["input"]["channels"] == "rgb")
        self.register_buffer("mean", mean, persistent=False)
        self.detector.to(dtype, memory_format=torch.channels_last)  # type: ignore[call-overload] # missing in the stub

    def forward(self, images: torch.Tensor) -> Predictions:
        """(B, H, W, 3) uint8 BGR images of the network's size -> Predictions."""
        predictions: Predictions = self.detector(self.normalize(images))
        return predictions

    def normalize(self, images: torch.Tensor) -> torch.Tensor:
        """(B, H, W, 3) uint8 BGR images -> what the detector's folded first convolution reads, (B, 3, H, W)."""
        planes = images.permute(0, 3, 1, 2)  # (B, 3, H, W), in memory as channels_last wants it
        return (planes.float() - self.mean).to(self.dtype)


def fold_input(detector: nn.Module, normalizer: Normalizer, is_rgb: bool) -> torch.Tensor:
    """Folds the scale of the input and the order of its channels into the first convolution, in place.

    The mean, which is returned as (3, 1, 1) of BGR, cannot be folded in: a convolution pads with zeros after it.
    """
    backbone = detector.get_submodule("backbone")
    first = next(layer for layer in backbone.modules() if isinstance(layer, nn.Conv2d))
    assert first.in_channels == 3, f"the first convolution must see the image; got {first.in_channels} channels"
    normalizer = normalizer.to(first.weight.device)
    weight, mean = first.weight.data / normalizer.std, normalizer.mean
    first.weight.data = weight.flip(1) if is_rgb else weight
    return (mean.flip(0) if is_rgb else mean).clone()
