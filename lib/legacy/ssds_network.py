"""The networks of the BMVC 2019 code and its parent: what MODEL of their YAML files says, in our keys."""

from collections.abc import Mapping, Sequence
from typing import Any

from lib.models.backbones import BACKBONES as TABLES
from lib.models.backbones.vgg import vgg16
from lib.models.recipes import expand_surgery
from lib.models.taps import Tap
from lib.utils.lookup import build, lookup

# MODEL.SSDS: the type of the head, and whether the backbone runs on two paths
HEADS = ("ssd", "ssd_lite", "ssd_dual", "ssd_lite_dual", "rfb", "rfb_lite", "fssd", "fssd_lite")

LETTER = "a letter of MODEL.FEATURE_LAYER"  # -> (stride, padding)
EXTRAS = {"S": (2, 1), "E": (2, 1), "P": (2, 0), "": (1, 0)}

# MODEL.NETS without its stride suffix -> backbone
WIDTHS = {"": {}, "_075": {"width": 0.75}, "_050": {"width": 0.5}, "_025": {"width": 0.25}}
MOBILENETS: dict[str, dict[str, Any]] = {"mobilenet_v1": {}, "mobilenet_v2": {"expand_first": True, "round_to": 1}}
BACKBONES: dict[str, dict[str, Any]] = {
    "vgg16": {"type": "vgg16"},
    **{f"resnet_{depth}": {"type": f"resnet{depth}"} for depth in (18, 34, 50, 101)},
    **{f"darknet_{depth}": {"type": f"darknet{depth}"} for depth in (19, 53)},
} | {
    f"{name}{suffix}": {"type": name, **options, **width}
    for name, options in MOBILENETS.items()
    for suffix, width in WIDTHS.items()
}

# MODEL.NETS of a YOLO -> the experiment with an SSD head that is nearest
NEAREST = {
    "darknet_19": "darknet/19",
    "darknet_53": "darknet/53",
    "mobilenet_v1": "mobilenet_v1/plain",
    "mobilenet_v2": "mobilenet_v2/plain",
}


def translate_network(theirs: Mapping[str, Any]) -> dict[str, Any]:
    """Backbone, neck, head and priors of a config whose keys are written out, such as MODEL.NETS.

    Raises:
        ValueError: a value that has no counterpart here.
    """
    net, ssds = theirs["MODEL.NETS"], theirs["MODEL.SSDS"]
    if ssds in ("yolo_v2", "yolo_v3"):
        near = f": the nearest experiment is experiments/{NEAREST[net]}.yml" if net in NEAREST else ""
        raise ValueError(
            f"MODEL.SSDS must be one of {', '.join(HEADS)}; got {ssds}, whose head is not part of this project{near}"
        )
    name = lookup(HEADS, ssds, "MODEL.SSDS")
    head, is_dual, is_fused = name.removesuffix("_dual"), name.endswith("_dual"), name.startswith("fssd")
    backbone = _backbone(net)
    features = theirs["MODEL.FEATURE_LAYER"]
    layers, channels = _pair(_pair(features)[0] if is_fused else features)
    taps = [row_of(backbone["type"], tap) for tap in layers if isinstance(tap, int)]
    names: list[int | str] = [*taps]
    if is_dual and _is_joined(backbone, taps, channels):
        names[-1] = str(Tap(taps[-1], joined=(Tap(taps[0], is_coarse=True),)))
    rows = zip(layers, channels, strict=True)
    config = {
        "model.backbone": backbone,
        "model.head.type": head,
        "model.neck.taps": names,
        "model.neck.extras": [_extra(layer, width, head) for layer, width in rows if not isinstance(layer, int)],
    }
    if is_fused:
        pyramid = zip(*_pair(features[1]), strict=True)
        config["model.neck.pyramid"] = [[width, lookup(EXTRAS, letter, LETTER)[0]] for letter, width in pyramid]
    if is_dual:
        config["model.dual_path"] = {"split": 2 if backbone["type"] == "vgg16" else 0}
    return config | _priors(theirs)


def _pair(value: list) -> list[list]:
    """Two lists of MODEL.FEATURE_LAYER that belong together."""
    if len(value) != 2 or not all(isinstance(part, list) for part in value) or len(value[0]) != len(value[1]):
        rule = "must be two lists of the same length, the layers and their channels (of FSSD twice that)"
        raise ValueError(f"MODEL.FEATURE_LAYER {rule}; got {value}")
    return value


def _extra(letter: str, width: int, head: str) -> list[int] | dict[str, Any]:
    """The extra layer that a letter of MODEL.FEATURE_LAYER stands for."""
    if letter == "RBF":
        return {"type": head, "channels": width, "stride": 2}
    return [width, *lookup(EXTRAS, letter, LETTER)]


def _is_joined(backbone: Mapping[str, Any], taps: Sequence[int], channels: Sequence[int]) -> bool:
    """Whether the last tap has the channels of both paths joined, as in the older form of the dual path."""
    table = build(TABLES, {key: value for key, value in backbone.items() if key != "strides"}, "MODEL.NETS")
    widths = [table[row].channels for row in taps]
    return channels[len(taps) - 1] == widths[-1] + widths[0] != widths[-1]


def _backbone(name: str) -> dict[str, Any]:
    surgery = expand_surgery({"type": name})
    backbone = {**surgery, **lookup(BACKBONES, surgery["type"], "MODEL.NETS")}
    if name == "vgg16_S2L2_5":
        backbone["strides"]["17"] = 3  # the name does not say it: its pool5 moves in steps of 3
    return backbone


def row_of(backbone: str, module: int) -> int:
    """The row of our table after which their code reads its module of that number: of VGG16 22 -> 12, 34 -> 19; of
    ResNet-50 10 -> 8, 16 -> 14. Other tables count rows as it counts modules.
    """
    if backbone.startswith("resnet"):
        return max(module - 2, 0)  # its first convolution, norm and activation are three modules, and one row here
    if backbone != "vgg16":
        return module
    ends, end = {}, -1
    for row, layer in enumerate(vgg16()):
        end += 1 if layer.channels is None else 2  # a pool is one module, a convolution two with its ReLU
        ends[end] = row
    return int(lookup(ends, module, "a number of MODEL.FEATURE_LAYER for VGG16"))


def _priors(theirs: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "model.priors.sizes": _squares(theirs["MODEL.SIZES"], "MODEL.SIZES"),
        "model.priors.steps": _squares(theirs["MODEL.STEPS"] or [], "MODEL.STEPS") or None,
        # The list counts the boxes of a cell in pairs: its 1 stands for the two squares.
        "model.priors.ratios": [[ratio for ratio in level if ratio != 1] for level in theirs["MODEL.ASPECT_RATIOS"]],
    }


def _squares(pairs: Sequence, name: str) -> list:
    for pair in pairs:
        if not isinstance(pair, Sequence) or len(set(pair)) != 1:
            raise ValueError(f"{name} must be a list of pairs of equal numbers, such as [[8, 8], ...]; got {pair}")
    return [pair[0] for pair in pairs]
