"""Augmentation: ``transform(sample, rng, others) -> Sample``, each step a row of TRANSFORMS, listed in presets.

Geometric steps only move boxes and layers, mixing ones add layers of other images; steps on pixels work on the small
image after them. ``build_transform`` puts the one resampling between the two.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from lib.data.augment.crops import CoverCrop, IouCrop, Tile
from lib.data.augment.geometric import DropSmall, Expand, Flip, Resize
from lib.data.augment.mixing import CopyPaste, Mixup, Mosaic, Others
from lib.data.augment.photometric import Photometric
from lib.data.augment.step import Transform
from lib.structures import Sample
from lib.utils.lookup import build, lookup

TRANSFORMS: dict[str, type[Transform]] = {
    "photometric": Photometric,
    "expand": Expand,
    "iou_crop": IouCrop,
    "cover_crop": CoverCrop,
    "tile": Tile,
    "flip": Flip,
    "drop_small": DropSmall,
    "mosaic": Mosaic,
    "mixup": Mixup,
    "copy_paste": CopyPaste,
}

# Each a list as a config may hold one in the place of a preset's name.
PRESETS: dict[str, list[dict[str, Any]]] = {
    "none": [],
    "flip": [{"type": "flip"}],
    "ssdlite": [{"type": "iou_crop"}, {"type": "flip"}],
    "ssd": [{"type": "photometric"}, {"type": "expand"}, {"type": "iou_crop"}, {"type": "flip"}],
    # of the BMVC work's code: crop first, every object to reach the IoU, and what is tiny then is no object
    "ssd_ancestor": [
        {"type": "iou_crop", "rule": "every", "tries": 50},
        {"type": "photometric"},
        {"type": "expand", "p": 0.6, "max_stretch": 2.0},
        {"type": "flip"},
        {"type": "drop_small", "share": 0.01},
    ],
    # of the MobileNetV3 / MobileDet work. Its code crops and flips; the bound of the crop was drawn once for the
    # whole run, colour jitter was switched off, and mosaic and mixup could not be reached: here all of them act
    "mobile": [
        {"type": "mosaic", "p": 0.5},
        {"type": "cover_crop", "p": 0.85},
        {"type": "flip"},
        {"type": "mixup", "p": 0.15},
        {"type": "photometric"},
    ],
    # for small objects: more of them, crops that enlarge, and nothing that shrinks
    "small": [
        {"type": "copy_paste"},
        {"type": "iou_crop", "min_scale": 0.2},
        {"type": "flip"},
        {"type": "photometric"},
    ],
    # for large images: windows as large as the network's input, which is to be input.size=[512, 512]
    "tiles": [{"type": "tile", "size": [512, 512]}, {"type": "flip"}, {"type": "photometric"}],
}


class Compose:
    """Steps, one after the other.

    Args of a call:
        sample: as loaded.
        rng: of all that is random.
        others: gives other samples; only steps that mix images ask for them.
    """

    def __init__(self, steps: Sequence[Transform]):
        self.steps = tuple(steps)

    def __call__(self, sample: Sample, rng: np.random.Generator, others: Others | None = None) -> Sample:
        for step in self.steps:
            sample = step(sample, rng, others) if step.mixes else step(sample, rng)
        return sample


def build_transform(
    augment: str | Sequence[Mapping[str, Any]],
    size: tuple[int, int],
    fill: Sequence[float] = (0, 0, 0),
    where: str = "data.augment",
) -> Compose:
    """What turns a sample as loaded into one of the network's size; ``none`` is the one for evaluation.

    Geometric steps run in the order given, then the image is resampled once, then the steps on pixels run in
    the order given.

    Args:
        augment: a name of PRESETS, or a list of ``{"type": name of TRANSFORMS, option: value, ...}``.
        size: (height, width) of the network's input.
        fill: (3,) BGR, 0 .. 255: the colour around an expanded image, usually the mean that the network
            subtracts.
        where: the config key of ``augment``, for messages.
    """
    if isinstance(augment, str):
        augment = lookup(PRESETS, augment, where)
    for index, options in enumerate(augment):
        if not isinstance(options, Mapping):
            raise TypeError(
                f"{where}[{index}] must be a mapping such as {{type: flip, p: 0.5}}; got {options!r}"
            )
    steps = [build(TRANSFORMS, options, f"{where}[{index}]") for index, options in enumerate(augment)]
    geometric = [step for step in steps if not step.on_pixels]
    return Compose([*geometric, Resize(size, fill), *(step for step in steps if step.on_pixels)])
