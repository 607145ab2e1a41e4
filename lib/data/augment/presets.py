"""Chains of augmentation: each step is a row of TRANSFORMS, and presets list steps.

Geometric steps only move boxes and layers, mixing ones add layers of other images; steps on pixels follow them.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from lib.data.augment.crops import CoverCrop, IouCrop, Tile
from lib.data.augment.geometric import DropSmall, Expand, Flip, FlipVertical, Resize, Turn, ZoomOut
from lib.data.augment.mixing import CopyPaste, Mixup, Mosaic
from lib.data.augment.photometric import Photometric
from lib.data.augment.step import Others, Transform, no_others
from lib.structures import IGNORE, Sample
from lib.utils.lookup import build, lookup

TRANSFORMS: dict[str, type[Transform]] = {
    "photometric": Photometric,
    "expand": Expand,
    "zoom_out": ZoomOut,
    "iou_crop": IouCrop,
    "cover_crop": CoverCrop,
    "tile": Tile,
    "flip": Flip,
    "flip_vertical": FlipVertical,
    "turn": Turn,
    "drop_small": DropSmall,
    "mosaic": Mosaic,
    "mixup": Mixup,
    "copy_paste": CopyPaste,
}

# Objects larger and smaller than they are: parts of the image, and more than it where the input is large.
_CROPS: list[dict[str, Any]] = [
    {"type": "zoom_out"},
    {"type": "cover_crop", "p": 1.0, "area": [0.15, 0.8], "keep": 0.4},
]

# Each is a list that a config may also hold itself, in place of a preset's name.
PRESETS: dict[str, list[dict[str, Any]]] = {
    "none": [],
    "flip": [{"type": "flip"}],
    "ssdlite": [{"type": "iou_crop"}, {"type": "flip"}],
    "ssd": [{"type": "photometric"}, {"type": "expand"}, {"type": "iou_crop"}, {"type": "flip"}],
    # The chain above as torchvision and lufficc's code have it; torchvision's contrast and saturation differ a little.
    "ssd_torchvision": [
        {"type": "photometric", "brightness": 0.0, "gain": [0.875, 1.125], "permute": 0.5},
        {"type": "expand"},
        {"type": "iou_crop"},
        {"type": "flip"},
    ],
    "ssd_lufficc": [
        {"type": "photometric", "permute": 0.5},
        {"type": "expand"},
        {"type": "iou_crop", "min_ious": [0.1, 0.3, 0.7, 0.9], "tries": 50},
        {"type": "flip"},
    ],
    # The BMVC 2019 code's: it crops first, every object must reach the IoU, and what is tiny afterwards is dropped,
    # unless that is all.
    "ssd_ancestor": [
        {"type": "iou_crop", "rule": "every", "tries": 50},
        {"type": "photometric"},
        {"type": "expand", "p": 0.6, "max_stretch": 2.0},
        {"type": "flip"},
        {"type": "drop_small", "share": 0.01},
    ],
    # The MobileNetV3 and MobileDet work's. Its code only crops and flips: the bound of the crop was drawn once for
    # the whole run, color jitter was off, and mosaic and mixup were unreachable. Here all of them act.
    "mobile": [
        {"type": "mosaic", "p": 0.5},
        {"type": "cover_crop", "p": 0.85},
        {"type": "flip"},
        {"type": "mixup", "p": 0.15},
        {"type": "photometric"},
    ],
    # For small objects: more of them, crops that enlarge, and nothing that shrinks.
    "small": [
        {"type": "copy_paste"},
        {"type": "iou_crop", "min_scale": 0.2},
        {"type": "flip"},
        {"type": "photometric"},
    ],
    # For small objects, upright: side views, thermal street cameras, inspection.
    "crops": [*_CROPS, {"type": "flip"}, {"type": "photometric"}],
    # For small objects from above, where no direction is special.
    "aerial": [*_CROPS, {"type": "turn"}, {"type": "flip"}, {"type": "flip_vertical"}, {"type": "photometric"}],
    # For large images: windows as large as the network's input, so with input.size=[512, 512].
    "tiles": [{"type": "tile", "size": [512, 512]}, {"type": "flip"}, {"type": "photometric"}],
}


def has_objects(sample: Sample) -> bool:
    """Whether there is something to learn in it, besides background and ignored regions."""
    return bool((sample.labels != IGNORE).any())


@dataclass
class Compose:
    """Steps, one after the other; called as one of them is."""

    steps: Sequence[Transform]

    def __call__(self, sample: Sample, rng: np.random.Generator, others: Others = no_others) -> Sample:
        loaded = sample
        for step in self.steps:
            sample = step(sample, rng, others)
            if step.must_leave_objects and not has_objects(sample) and has_objects(loaded):
                sample = loaded
        return sample


def build_transform(
    augment: str | Sequence[Mapping[str, Any]],
    size: tuple[int, int],
    fill: Sequence[float] = (0, 0, 0),
    where: str = "data.augment",
    resize: str = "stretch",
) -> Compose:
    """What turns a sample as loaded into one of the network's size, in training.

    Geometric steps run in the order given, then the image is resampled, then the steps on pixels run in their order.
    With ``native`` the network sees a window of its size at a random place, and keeps the pixels as they are.

    Args:
        augment: a name of PRESETS, or a list of ``{"type": name of TRANSFORMS, option: value, ...}``.
        size: (height, width) of the network's input.
        fill: (3,) BGR, 0 .. 255: the color around an expanded image, usually the mean that the network subtracts.
        where: the config key of ``augment``, for messages.
        resize: a mode of lib/data/fit.py.
    """
    chosen = lookup(PRESETS, augment, where) if isinstance(augment, str) else augment
    for index, options in enumerate(chosen):
        if not isinstance(options, Mapping):
            raise TypeError(f"{where}[{index}] must be a mapping such as {{type: flip}}; got {options!r}")
    steps = [build(TRANSFORMS, options, f"{where}[{index}]") for index, options in enumerate(chosen)]
    for step in steps:
        step.input_size = size
    geometric = [step for step in steps if not step.on_pixels]
    window = [Tile(size)] if resize == "native" else []
    drawn = Resize(size, fill, resize)
    return Compose([*geometric, *window, drawn, *(step for step in steps if step.on_pixels)])
