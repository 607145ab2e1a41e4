"""Whose checkpoint it is, and which of its parts is which of ours: by the names of its tensors alone."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from typing import NamedTuple

import torch

Tensors = Mapping[str, torch.Tensor]


class Family(NamedTuple):
    """One code's way to name the tensors of a checkpoint.

    Attributes:
        about: what it is, for messages.
        mark: pattern of a name that every checkpoint of the family has.
        parts: (pattern at a name's start, our part); the first that fits counts. None: a classifier's tensors,
            which a detector has no use for.
        prepare: changes the tensors first, such as fully connected layers into convolutions.
    """

    about: str
    mark: str
    parts: tuple[tuple[str, str | None], ...]
    prepare: Callable[[Tensors], Tensors] = dict

    @property
    def is_classifier(self) -> bool:
        """Whether it gives a backbone only, and may have more layers than that backbone uses."""
        return all(part in ("backbone", None) for _, part in self.parts)

    def part_of(self, name: str) -> str | None:
        """Our part that a tensor belongs to; None: to none."""
        return next((part for pattern, part in self.parts if re.match(pattern, name)), None)

    def knows(self, name: str) -> bool:
        """Whether the family has a tensor of that name at all."""
        return any(re.match(pattern, name) for pattern, _ in self.parts)


def _vgg_as_convolutions(tensors: Tensors) -> dict[str, torch.Tensor]:
    """VGG's first two fully connected layers as fc6 and fc7 of SSD: every fourth channel, and of the 7x7 inputs
    of the first every third (SSD, section 3.1, after DeepLab).
    """
    if "classifier.0.weight" not in tensors or tensors["classifier.0.weight"].shape != (4096, 512 * 49):
        return dict(tensors)
    result = {name: tensor for name, tensor in tensors.items() if not name.startswith("classifier.")}
    result["features.fc6.weight"] = tensors["classifier.0.weight"].view(4096, 512, 7, 7)[::4, :, ::3, ::3]
    result["features.fc6.bias"] = tensors["classifier.0.bias"][::4]
    result["features.fc7.weight"] = tensors["classifier.3.weight"].view(4096, 4096, 1, 1)[::4, ::4]
    result["features.fc7.bias"] = tensors["classifier.3.bias"][::4]
    return result


HEADS_OF_SSD = (
    (r"box_head\.predictor\.cls_headers\.", "head.cls"),
    (r"box_head\.predictor\.reg_headers\.", "head.box"),
)
HEADS_OF_TORCHVISION = (
    (r"head\.classification_head\.module_list\.", "head.cls"),
    (r"head\.regression_head\.module_list\.", "head.box"),
)

FAMILIES = {
    "ssds": Family(
        "the BMVC 2019 code or its parent ssds.pytorch",
        r"base\.\d",
        (
            (r"base\.", "backbone"),
            (r"norm\.[1-9]\d*\.", "neck.refine"),
            (r"norm\.", "neck.norm"),
            (r"extras\.", "neck.extras"),
            (r"transforms\.", "neck.transforms"),
            (r"pyramids\.", "neck.pyramids"),
            (r"loc\.", "head.box"),
            (r"conf\.", "head.cls"),
        ),
    ),
    "ssd": Family(
        "the SSD code of lufficc, or SSDLite with MobileNetV2 or MobileNeXt",
        r"box_head\.predictor\.",
        (
            (r"backbone\.extras\.", "neck.extras"),
            (r"backbone\.l2_norm\.", "neck.norm"),
            (r"backbone\.(vgg|features|_conv_stem|_bn0|_blocks)\.", "backbone"),
            *HEADS_OF_SSD,
        ),
    ),
    "torchvision_ssd": Family(
        "torchvision's SSD300",
        r"backbone\.scale_weight$",
        (
            (r"backbone\.scale_weight$", "neck.norm"),
            (r"backbone\.(features|extra\.0)\.", "backbone"),
            (r"backbone\.extra\.", "neck.extras"),
            *HEADS_OF_TORCHVISION,
        ),
    ),
    "torchvision_ssdlite": Family(
        "torchvision's SSDLite320",
        r"head\.classification_head\.",
        ((r"backbone\.features\.", "backbone"), (r"backbone\.extra\.", "neck.extras"), *HEADS_OF_TORCHVISION),
    ),
    "resnet": Family(
        "a ResNet classifier of torchvision or timm",
        r"layer4\.",
        ((r"(conv1|bn1|layer[1-4])\.", "backbone"), (r"fc\.", None)),
    ),
    "timm": Family(
        "a classifier of timm",
        r"conv_stem\.",
        (
            (r"(conv_stem|bn1|blocks)\.", "backbone"),
            (r"(conv_head|bn2)\.", "backbone"),
            (r"classifier\.", None),
        ),
    ),
    "efficientnet": Family(
        "an EfficientNet classifier of lukemelas",
        r"_conv_stem\.",
        ((r"(_conv_stem|_bn0|_blocks)\.", "backbone"), (r"(_conv_head|_bn1|_fc)\.", None)),
    ),
    "torchvision": Family(
        "a classifier of torchvision, or of the MobileNeXt authors",
        r"features\.",
        ((r"features\.", "backbone"), (r"(classifier|conv)\.", None)),
        _vgg_as_convolutions,
    ),
    "mobilenet_v1": Family(
        "a MobileNetV1 classifier",
        r"model\.0\.",
        ((r"model\.", "backbone"), (r"(fc|classifier)\.", None)),
    ),
    "vgg_reduced": Family(
        "VGG16 without its fully connected layers", r"0\.weight$", ((r"\d+\.(weight|bias)$", "backbone"),)
    ),
}


def find_family(names: Iterable[str]) -> str:
    """The name of the family in FAMILIES.

    Raises:
        ValueError: none fits; the message names the nearest and what is strange to it.
    """
    names = list(names)
    fitting = {
        key: [name for name in names if not family.knows(name)]
        for key, family in FAMILIES.items()
        if any(re.match(family.mark, name) for name in names)
    }
    if not fitting:
        known = "; ".join(family.about for family in FAMILIES.values())
        raise ValueError(
            f"a checkpoint must be ours or of {known}; got tensors such as {', '.join(names[:3]) or 'none'}"
        )
    key = min(fitting, key=lambda key: len(fitting[key]))
    if fitting[key]:
        raise ValueError(
            f"a checkpoint must hold nothing but one detector's or classifier's tensors; got {len(fitting[key])} that "
            f"{FAMILIES[key].about} does not have, such as {', '.join(fitting[key][:3])}"
        )
    return key
