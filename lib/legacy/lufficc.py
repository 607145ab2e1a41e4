"""Checkpoints of the SSD code of lufficc, and of the SSDLite code that was made from it."""

from lib.legacy.family import Family

FAMILIES = (
    Family(
        "the SSD code of lufficc, or SSDLite with MobileNetV2 or MobileNeXt",
        r"box_head\.predictor\.",
        (
            (r"backbone\.extras\.", "neck.extras"),
            (r"backbone\.l2_norm\.", "neck.norm"),
            (r"backbone\.(vgg|features|_conv_stem|_bn0|_blocks)\.", "backbone"),
            (r"box_head\.predictor\.cls_headers\.", "head.cls"),
            (r"box_head\.predictor\.reg_headers\.", "head.box"),
        ),
    ),
)
