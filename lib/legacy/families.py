"""How other works name the tensors of their checkpoints, and to which work a checkpoint belongs."""

import re
from collections.abc import Iterable
from typing import NamedTuple

# A part of a detector of the BMVC code -> ours
PARTS = {
    "base": ["backbone"],
    "norm": ["neck.norm", "neck.refine"],
    "extras": ["neck.extras"],
    "transforms": ["neck.transforms"],
    "pyramids": ["neck.pyramids"],
    "loc": ["head.box"],
    "conf": ["head.cls"],
}


class Family(NamedTuple):
    """One code's way to name the tensors of a checkpoint.

    ``parts`` are patterns at the start of a name -> our part, "" for tensors of a classifier that a detector does not
    need; the first that fits counts.
    """

    about: str  # what such a checkpoint is, for messages
    mark: str  # pattern of a name that every checkpoint of the family has
    parts: dict[str, str]

    @property
    def is_classifier(self) -> bool:
        """Whether it gives a backbone only, and may have more layers than that backbone uses."""
        return set(self.parts.values()) <= {"backbone", ""}

    def part_of(self, name: str) -> str | None:
        """Our part that a tensor belongs to; None: the family has no tensor of that name."""
        return next((part for pattern, part in self.parts.items() if re.match(pattern, name)), None)


_TORCHVISION_HEADS = {
    r"head\.classification_head\.module_list\.": "head.cls",
    r"head\.regression_head\.module_list\.": "head.box",
}
FAMILIES = (
    Family(
        "the BMVC 2019 code or its parent ssds.pytorch",
        r"base\.\d",
        {r"norm\.[1-9]\d*\.": "neck.refine"} | {rf"{theirs}\.": ours[0] for theirs, ours in PARTS.items()},
    ),
    Family(
        "the SSD code of lufficc, or SSDLite with MobileNetV2 or MobileNeXt",
        r"box_head\.predictor\.",
        {
            r"backbone\.extras\.": "neck.extras",
            r"backbone\.l2_norm\.": "neck.norm",
            r"backbone\.(vgg|features|_conv_stem|_bn0|_blocks)\.": "backbone",
            r"box_head\.predictor\.cls_headers\.": "head.cls",
            r"box_head\.predictor\.reg_headers\.": "head.box",
        },
    ),
    Family(
        "torchvision's SSD300",
        r"backbone\.scale_weight$",
        {
            r"backbone\.scale_weight$": "neck.norm",
            r"backbone\.(features|extra\.0)\.": "backbone",
            r"backbone\.extra\.": "neck.extras",
            **_TORCHVISION_HEADS,
        },
    ),
    Family(
        "torchvision's SSDLite320",
        r"head\.classification_head\.",
        {r"backbone\.features\.": "backbone", r"backbone\.extra\.": "neck.extras", **_TORCHVISION_HEADS},
    ),
    Family(
        "a ResNet classifier of torchvision or timm",
        r"layer4\.",
        {r"(conv1|bn1|layer[1-4])\.": "backbone", r"fc\.": ""},
    ),
    Family(
        "a classifier of timm",
        r"conv_stem\.",
        {r"(conv_stem|bn1|blocks|conv_head|bn2)\.": "backbone", r"classifier\.": ""},
    ),
    Family(
        "an EfficientNet classifier of lukemelas",
        r"_conv_stem\.",
        {r"(_conv_stem|_bn0|_blocks)\.": "backbone", r"(_conv_head|_bn1|_fc)\.": ""},
    ),
    Family(
        "a classifier of torchvision, or of the MobileNeXt authors",
        r"features\.",
        {r"features\.": "backbone", r"(classifier|conv)\.": ""},
    ),
    Family("a MobileNetV1 classifier", r"model\.0\.", {r"model\.": "backbone", r"(fc|classifier)\.": ""}),
    Family("VGG16 without its fully connected layers", r"0\.weight$", {r"\d+\.(weight|bias)$": "backbone"}),
)


def find_family(names: Iterable[str]) -> Family:
    """The family that a checkpoint with tensors of these names belongs to.

    Raises:
        ValueError: it belongs to none; the message names the nearest, and the tensors that it does not have.
    """
    names = list(names)
    fitting = [family for family in FAMILIES if any(re.match(family.mark, name) for name in names)]
    if not fitting:
        known, examples = "; ".join(family.about for family in FAMILIES), ", ".join(names[:3]) or "none"
        raise ValueError(
            f"a checkpoint must come from this project or from one of: {known}; got tensors such as {examples}"
        )
    strangers = [[name for name in names if family.part_of(name) is None] for family in fitting]
    fewest, family = min(zip(strangers, fitting, strict=True), key=lambda pair: len(pair[0]))
    if fewest:
        raise ValueError(
            f"a checkpoint must hold nothing but the tensors of one detector or classifier; got "
            f"{len(fewest)} that {family.about} does not have, such as {', '.join(fewest[:3])}"
        )
    return family
