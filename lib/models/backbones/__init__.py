"""The backbones by name. A new one is a table function in a file of its own and a line here."""

from collections.abc import Callable
from functools import partial
from typing import get_args

from lib.models.backbones.base import Table
from lib.models.backbones.darknet import darknet19, darknet53
from lib.models.backbones.efficientnet import LiteSize, Size, efficientnet, efficientnet_lite
from lib.models.backbones.mobiledet import Target, mobiledet
from lib.models.backbones.mobilenet import mobilenet_v1, mobilenet_v2, mobilenet_v3, mobilenext
from lib.models.backbones.resnet import Depth, resnet
from lib.models.backbones.vgg import vgg16

BACKBONES: dict[str, Callable[..., Table]] = {
    "vgg16": vgg16,
    "mobilenet_v1": mobilenet_v1,
    "mobilenet_v2": mobilenet_v2,
    "mobilenet_v3_large": mobilenet_v3,
    "mobilenet_v3_small": partial(mobilenet_v3, size="small"),
    "mobilenext": mobilenext,
    **{f"mobiledet_{target}": partial(mobiledet, target=target) for target in get_args(Target)},
    **{f"efficientnet_{size}": partial(efficientnet, size=size) for size in get_args(Size)},
    **{f"efficientnet_{size}": partial(efficientnet_lite, size=size) for size in get_args(LiteSize)},
    **{f"resnet{depth}": partial(resnet, depth=depth) for depth in get_args(Depth)},
    "darknet19": darknet19,
    "darknet53": darknet53,
}
