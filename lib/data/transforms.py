"""Augmentation: ``transform(sample, rng) -> Sample``, each a row of TRANSFORMS, listed in presets.

Geometric transforms only compose the map of the pixels; transforms of pixels (``on_pixels``) work on the
small image after it. ``build_transform`` puts the one resampling between the two.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from lib.data.geometric import DropSmall, Expand, Flip, IouCrop, Resize
from lib.data.photometric import Photometric
from lib.structures import Sample
from lib.utils.lookup import build, lookup

Transform = Callable[[Sample, np.random.Generator], Sample]

TRANSFORMS: dict[str, type] = {
    "photometric": Photometric,
    "expand": Expand,
    "iou_crop": IouCrop,
    "flip": Flip,
    "drop_small": DropSmall,
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
}


class Compose:
    """Transforms, one after the other."""

    def __init__(self, steps: Sequence[Transform]):
        self.steps = tuple(steps)

    def __call__(self, sample: Sample, rng: np.random.Generator) -> Sample:
        for step in self.steps:
            sample = step(sample, rng)
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
