"""How the weights of a neck and a head start: torch's way, or as other works' recipes have it."""

import math
from collections.abc import Callable
from functools import partial

import torch
from torch import nn

from lib.utils.lookup import lookup

# model.init -> what fills a convolution's weights; None leaves weights and biases as torch made them
INITS: dict[str, Callable[[torch.Tensor], object] | None] = {
    "torch": None,
    "xavier": nn.init.xavier_uniform_,  # SSD300 and the predictors of SSDLite in lufficc's code; torchvision's SSD300
    "normal": partial(nn.init.normal_, std=0.03),  # torchvision's SSDLite
}


def initialize_(module: nn.Module, kind: str) -> None:
    """Fills the weights of all convolutions inside ``module`` by the row ``kind`` of INITS, and their biases with 0."""
    fill = lookup(INITS, kind, "model.init")
    for layer in module.modules():
        if fill and isinstance(layer, nn.Conv2d):
            fill(layer.weight)
            if layer.bias is not None:
                nn.init.zeros_(layer.bias)


def set_initial_score_(classifier: nn.Module, score: float, outputs: set[int]) -> None:
    """Has the sigmoid of every class start near ``score``, so that the many negatives of a focal loss do not drown the
    objects (RetinaNet, section 4.1): by the biases of the ``classifier``'s convolutions of so many ``outputs``.
    """
    if not 0 < score < 1:
        raise ValueError(f"model.head.initial_score must be above 0 and below 1; got {score}")
    for layer in classifier.modules():
        if isinstance(layer, nn.Conv2d) and layer.bias is not None and layer.out_channels in outputs:
            nn.init.constant_(layer.bias, math.log(score / (1 - score)))
