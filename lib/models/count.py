"""Parameters and multiply-accumulates of a network, counted on its real forward pass."""

from __future__ import annotations

import copy
import math

import torch
from torch import nn


def count_parameters(module: nn.Module) -> int:
    """Learnable values of a module."""
    return sum(parameter.numel() for parameter in module.parameters())


def count_macs(model: nn.Module, image_size: tuple[int, int]) -> dict[str, int]:
    """Multiply-accumulates of the convolutions and linear layers for one image, biases not counted.

    A layer that runs twice (dual path) counts twice. Nothing is computed: the pass runs on the meta device.

    Args:
        model: a detector; it is left as it was.
        image_size: (height, width) of the input.

    Returns:
        name of each convolution or linear layer -> multiply-accumulates. 1 MAC = 2 FLOPs.
    """
    model = _shadow(model)
    macs: dict[str, int] = {}

    def counter(name: str):
        def count(layer: nn.Module, _: tuple, output: torch.Tensor) -> None:
            per_output = math.prod(layer.weight.shape[1:])
            macs[name] = macs.get(name, 0) + per_output * output.numel()

        return count

    for name, layer in model.named_modules():
        if isinstance(layer, (nn.Conv2d, nn.Linear)):
            layer.register_forward_hook(counter(name))
    with torch.no_grad():
        model(torch.empty(1, 3, *image_size, device="meta"))
    return macs


def map_sizes(detector: nn.Module, image_size: tuple[int, int]) -> list[tuple[int, int]]:
    """(height, width) of each map that the detector's head reads, for an input of that size."""
    with torch.no_grad():
        maps = _shadow(detector).maps(torch.empty(1, 3, *image_size, device="meta"))
    return [(x.shape[-2], x.shape[-1]) for x in maps]


def _shadow(model: nn.Module) -> nn.Module:
    """A copy on the meta device, where a forward pass gives shapes and computes nothing."""
    return copy.deepcopy(model).to("meta").eval()
