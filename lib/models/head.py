"""One MultiBox head, and the recipes that make it SSD, SSDLite, ...: a variant is a row, not a class."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

import torch
from torch import nn

from lib.models.blocks import ExtraConv, ExtraSeparable, dense_predictor, separable_predictor


class Recipe(NamedTuple):
    """What a head's name stands for.

    Attributes:
        extra: block of the neck's extra layers.
        predictor: name of the default predictor.
    """

    extra: Callable[..., nn.Module]
    predictor: str = "dense"


HEADS = {"ssd": Recipe(ExtraConv), "ssd_lite": Recipe(ExtraSeparable)}
PREDICTORS = {"dense": dense_predictor, "separable": separable_predictor}


class MultiBoxHead(nn.Module):
    """Class scores and box offsets for each prior of each map (SSD, section 2.1).

    Args:
        in_channels: channels of each map.
        boxes_per_cell: priors of a cell, for each map.
        num_classes: K, with background at 0.
        predictor: called as ``predictor(in_channels, out_channels)``.
    """

    def __init__(
        self,
        in_channels: Sequence[int],
        boxes_per_cell: Sequence[int],
        num_classes: int,
        predictor: Callable[[int, int], nn.Module] = dense_predictor,
    ):
        super().__init__()
        levels = list(zip(in_channels, boxes_per_cell, strict=True))
        self.num_classes = num_classes
        self.box = nn.ModuleList(predictor(channels, boxes * 4) for channels, boxes in levels)
        self.cls = nn.ModuleList(predictor(channels, boxes * num_classes) for channels, boxes in levels)

    def forward(self, maps: Sequence[torch.Tensor]) -> tuple[torch.Tensor, torch.Tensor]:
        """[(B, C_l, h_l, w_l)] -> logits (B, P, K), deltas (B, P, 4); priors by map, row, column, box."""
        logits = self._gather(self.cls, maps, self.num_classes)  # (B, P, K)
        return logits, self._gather(self.box, maps, 4)  # (B, P, 4)

    @staticmethod
    def _gather(predictors: nn.ModuleList, maps: Sequence[torch.Tensor], values: int) -> torch.Tensor:
        levels = [predict(x).permute(0, 2, 3, 1).flatten(1) for predict, x in zip(predictors, maps, strict=True)]
        return torch.cat(levels, dim=1).unflatten(1, (-1, values))
