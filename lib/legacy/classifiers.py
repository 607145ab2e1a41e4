"""Checkpoints of public ImageNet classifiers, which give the backbone alone."""

from __future__ import annotations

import torch

from lib.legacy.family import Family, Tensors


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


FAMILIES = (
    Family(
        "a ResNet classifier of torchvision or timm",
        r"layer4\.",
        ((r"(conv1|bn1|layer[1-4])\.", "backbone"), (r"fc\.", None)),
    ),
    Family(
        "a classifier of timm",
        r"conv_stem\.",
        ((r"(conv_stem|bn1|blocks|conv_head|bn2)\.", "backbone"), (r"classifier\.", None)),
    ),
    Family(
        "an EfficientNet classifier of lukemelas",
        r"_conv_stem\.",
        ((r"(_conv_stem|_bn0|_blocks)\.", "backbone"), (r"(_conv_head|_bn1|_fc)\.", None)),
    ),
    Family(
        "a classifier of torchvision, or of the MobileNeXt authors",
        r"features\.",
        ((r"features\.", "backbone"), (r"(classifier|conv)\.", None)),
        _vgg_as_convolutions,
    ),
    Family("a MobileNetV1 classifier", r"model\.0\.", ((r"model\.", "backbone"), (r"(fc|classifier)\.", None))),
    Family("VGG16 without its fully connected layers", r"0\.weight$", ((r"\d+\.(weight|bias)$", "backbone"),)),
)
