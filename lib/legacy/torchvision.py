"""Checkpoints of torchvision's detectors."""

from lib.legacy.family import Family

HEADS = (
    (r"head\.classification_head\.module_list\.", "head.cls"),
    (r"head\.regression_head\.module_list\.", "head.box"),
)

FAMILIES = (
    Family(
        "torchvision's SSD300",
        r"backbone\.scale_weight$",
        (
            (r"backbone\.scale_weight$", "neck.norm"),
            (r"backbone\.(features|extra\.0)\.", "backbone"),
            (r"backbone\.extra\.", "neck.extras"),
            *HEADS,
        ),
    ),
    Family(
        "torchvision's SSDLite320",
        r"head\.classification_head\.",
        ((r"backbone\.features\.", "backbone"), (r"backbone\.extra\.", "neck.extras"), *HEADS),
    ),
)
