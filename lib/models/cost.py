"""Parameters and multiply-accumulates of a network, counted on its real forward pass."""

import copy
import math
from typing import Any, NamedTuple, TypeVar

import torch
from torch import nn

from lib.models.backbones.base import Backbone
from lib.models.detector import Detector
from lib.models.necks import Neck

M = TypeVar("M", bound=nn.Module)
KEEP_SHAPE = (nn.BatchNorm2d, nn.ReLU, nn.ReLU6, nn.Hardswish, nn.SiLU, nn.Hardsigmoid, nn.Sigmoid)


def count_parameters(module: nn.Module) -> int:
    """Learnable values of a module."""
    return sum(parameter.numel() for parameter in module.parameters())


def count_macs(model: nn.Module, image_size: tuple[int, int]) -> dict[str, int]:
    """Name of each convolution or linear layer -> multiply-accumulates for one image of (height, width), biases not
    counted; 1 MAC = 2 FLOPs.

    A layer that runs twice (dual path) counts twice. Nothing is computed, and the model is left as it was.
    """
    model = meta_copy(model)
    macs: dict[str, int] = {}
    names = {layer: name for name, layer in model.named_modules()}

    def count(layer: nn.Module, _: object, output: torch.Tensor) -> None:
        per_output = math.prod(layer.get_parameter("weight").shape[1:])
        macs[names[layer]] = macs.get(names[layer], 0) + per_output * output.numel()

    for layer in names:
        if isinstance(layer, (nn.Conv2d, nn.Linear)):
            layer.register_forward_hook(count)
    with torch.no_grad():
        model(torch.empty(1, 3, *image_size, device="meta"))
    return macs


def map_sizes(detector: Detector, image_size: tuple[int, int]) -> list[tuple[int, int]]:
    """(height, width) of each map that the detector's head reads, for an input of that size."""
    return neck_map_sizes(detector.backbone, detector.neck, image_size)


def neck_map_sizes(backbone: Backbone, neck: Neck, image_size: tuple[int, int]) -> list[tuple[int, int]]:
    """(height, width) of each map that the neck gives, for an input of that size."""
    with torch.no_grad():
        maps = meta_copy(neck)(meta_copy(backbone)(torch.empty(1, 3, *image_size, device="meta"), neck.inputs))
    return [(x.shape[-2], x.shape[-1]) for x in maps]


def largest_stride(detector: Detector, image_size: tuple[int, int]) -> int:
    """Pixels between the cells of the coarsest map, to a power of two, told by an input of that size."""
    height, width = image_size
    strides = (min(height / rows, width / columns) for rows, columns in map_sizes(detector, image_size))
    return int(2 ** round(math.log2(max(strides))))


def meta_copy(model: M) -> M:
    """A copy on the meta device for evaluation, where a forward pass gives shapes and computes nothing.

    Norms and activations, which keep shapes and would take most of the time, are left out. Weights are not copied.
    """
    memo: dict[int, Any] = {id(value): value.to("meta") for value in model.buffers()}
    memo |= {id(value): nn.Parameter(value.to("meta"), value.requires_grad) for value in model.parameters()}
    result = copy.deepcopy(model, memo).eval()
    for name in [name for name, module in result.named_modules() if isinstance(module, KEEP_SHAPE)]:
        result.set_submodule(name, nn.Identity())
    return result


class Cost(NamedTuple):
    """What a detector costs on one image: (height, width) of each map that the head reads, number of priors,
    multiply-accumulates, and learnable values.
    """

    maps: list[tuple[int, int]]
    num_priors: int
    macs: int
    parameters: int


def cost_of(detector: Detector, image_size: tuple[int, int]) -> Cost:
    """Counts a detector for an input of (height, width)."""
    maps, macs = map_sizes(detector, image_size), sum(count_macs(detector, image_size).values())
    priors = detector.priors(maps, image_size, torch.device("meta"))
    return Cost(maps, len(priors), macs, count_parameters(detector))


def row_lines(detector: Detector, image_size: tuple[int, int]) -> list[str]:
    """A table of the backbone's rows and the detector's other parts, to print."""
    macs, backbone, cost = count_macs(detector, image_size), detector.backbone, cost_of(detector, image_size)
    pairs = zip([1, *backbone.reductions], backbone.reductions, strict=False)
    strides = [reduction // before for before, reduction in pairs]

    def line(name: str, module: nn.Module, about: str = "") -> str:
        mine = sum(value for layer, value in macs.items() if f"{layer}.".startswith(f"{name}."))
        counts = f"{count_parameters(module):14,}{mine / 1e6:12.2f}"
        return f"{name:20}{type(module).__name__:20}{about:26}{counts}"

    lines = [f"{'part':20}{'block':20}{'stride':>8}{'in all':>8}{'channels':>10}{'parameters':>14}{'10^6 MAC':>12}"]
    for row, layer in enumerate(backbone.layers):
        about = f"{strides[row]:8}{backbone.reductions[row]:8}{backbone.channels[row]:10}"
        lines.append(line(f"backbone.layers.{row}", layer, about))
    parts = {"neck": detector.neck, "head.box": detector.head.box, "head.cls": detector.head.cls}
    lines += [line(name, part) for name, part in parts.items()]
    strided = ", ".join(str(row) for row, stride in enumerate(strides) if stride > 1)
    maps = ", ".join(f"{h}x{w}" for h, w in cost.maps)
    return [
        *lines,
        f"{'all':66}{cost.parameters:14,}{cost.macs / 1e6:12.2f}",
        f"maps {maps}; {cost.num_priors:,} priors; 1 MAC = 2 FLOPs, biases not counted",
        f"rows with a stride to take out (model.backbone.strides={{row: 1}}): {strided or 'none'}",
    ]
