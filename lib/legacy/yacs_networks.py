"""The networks of lufficc's SSD and of its fork, SSDLite with MobileNetV2 and MobileNeXt, as ours."""

import logging
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from lib.utils.lookup import lookup

log = logging.getLogger(__name__)


class Network(NamedTuple):
    """A row of MODEL.BACKBONE.NAME: the channels of its levels, and our keys for it."""

    channels: tuple[int, ...]
    head: str  # model.head.type
    backbone: Mapping[str, Any]
    neck: Mapping[str, Any]
    norm: Mapping[str, float] = {}

    def as_ours(self) -> dict[str, Any]:
        """Our keys of the network."""
        parts = {"model.backbone": dict(self.backbone), "model.neck": dict(self.neck), "model.head.type": self.head}
        return parts | ({"model.norm": dict(self.norm)} if self.norm else {})


def _inverted(hidden: Sequence[int], channels: Sequence[int] = (512, 256, 256, 64)) -> list[dict[str, int]]:
    """Extra layers of stride 2."""
    return [{"channels": out, "stride": 2, "hidden": width} for out, width in zip(channels, hidden, strict=True)]


def _mobilenet_v2(*hidden: int) -> Network:
    neck = {"taps": [13, 18], "l2norm": False, "extra": {"act": None}, "extras": _inverted(hidden)}
    return Network((96, 1280, 512, 256, 256, 64), "ssd_lite", {"type": "mobilenet_v2"}, neck)


_VGG, _VGG_TAPS = (512, 1024, 512, 256, 256, 256), {"taps": [12, 19]}
_V3_EXTRAS = [{**extra, "squeeze": extra["hidden"] // 4} for extra in _inverted((192, 128, 128, 64))]
_V3_EXTRA = {"type": "inverted", "act": "hard_swish", "squeeze_first": True}
_NEXT_EXTRA = {"type": "sandglass", "last": False}
NETWORKS: dict[str, Network] = {
    "vgg": Network(_VGG, "ssd", {"type": "vgg16"}, {**_VGG_TAPS, "extras": [[512, 2], [256, 2], [256, 1], [256, 1]]}),
    "mobilenet_v2": _mobilenet_v2(256, 128, 128, 64),
    "mobilenet_v3": Network(
        (112, 960, 512, 256, 256, 64),
        "ssd_lite",
        {"type": "mobilenet_v3_large", "squeeze_first": True},
        {"taps": [12, 16], "l2norm": False, "extra": _V3_EXTRA, "extras": _V3_EXTRAS},
    ),
    "efficient_net-b3": Network(
        (48, 136, 384, 256, 256, 256),
        "ssd",
        {"type": "efficientnet_b3", "same_padding": True},
        {"taps": [8, 18, 26], "l2norm": False, "extras": [[256, 2], [256, 1], [256, 1]]},
        {"eps": 0.001, "momentum": 0.01},
    ),
    "mobilenext": Network(
        (576, 1280, 512, 256, 256, 128),
        "ssd_lite",
        {"type": "mobilenext"},
        {
            "taps": ["13.expand", "20.expand"],
            "source": "20",
            "l2norm": False,
            "extra": _NEXT_EXTRA,
            "extras": _inverted((256, 128, 128, 128), (512, 256, 256, 128)),
        },
    ),
}
_LAST_512 = {"channels": 256, "kernel": 4, "padding": 1}
VGG512 = Network(
    (*_VGG, 256), "ssd", {"type": "vgg16"}, {**_VGG_TAPS, "extras": [[512, 2], [256, 2], [256, 2], [256, 2], _LAST_512]}
)
FORK_NETWORKS = NETWORKS | {"mobilenet_v2": _mobilenet_v2(256, 256, 128, 128)}
FPN_TAPS: dict[str, list[int | str]] = {"mobilenet_v2": [6, 13, 18], "mobilenext": ["6.expand", "13.expand", 20]}


def find_network(name: str, out_channels: Sequence[int], image_size: int, is_fork: bool) -> Network:
    """The network that MODEL.BACKBONE and INPUT.IMAGE_SIZE name.

    Raises:
        ValueError: an unknown name, or channels that the network does not give.
    """
    network: Network = lookup(FORK_NETWORKS if is_fork else NETWORKS, name, "MODEL.BACKBONE.NAME")
    channels = tuple(out_channels)
    if name == "vgg":
        network = lookup({300: network, 512: VGG512}, image_size, "INPUT.IMAGE_SIZE of vgg")
    if name in FPN_TAPS and len(channels) == 5 and len(set(channels)) == 1:
        network = _pyramid(network, FPN_TAPS[name], channels[0])
    if channels != network.channels:
        raise ValueError(
            f"MODEL.BACKBONE.OUT_CHANNELS must be {network.channels}, the channels that {name} gives; got {channels}"
        )
    return network


def _pyramid(network: Network, taps: Sequence[int | str], width: int) -> Network:
    """The FPN that their README names and none of their code has: here, FPN-lite of five levels."""
    log.info(
        "no published code has the FPN that MODEL.BACKBONE.OUT_CHANNELS of %d channels means; here: fpn_lite", width
    )
    neck = {"taps": list(taps), "width": width, "extras": [[width, 2], [width, 2]]}
    return Network((width,) * 5, "fpn_lite", network.backbone, neck)
