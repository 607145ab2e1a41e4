"""Steps that move boxes and layers, and ``Resize``, which draws the layers."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from lib.data.augment.affine import canvas_size, moved, resample, selected
from lib.data.augment.step import Others, Transform, number
from lib.structures import Sample


@dataclass
class Expand(Transform):
    """Zooms out: puts the image at a random place of a larger canvas (SSD, section 3.6)."""

    p: float = number(0.5, 0, 1)
    max_scale: float = number(4.0, 1, 100)  # greatest side of the canvas, in sides of the image; the least is 1
    max_stretch: float = number(1.0, 1, 10)  # greatest ratio of the two sides' scales; 1 keeps the aspect ratio

    def apply(self, sample: Sample, rng: np.random.Generator, others: Others) -> Sample:
        height, width = canvas_size(sample)
        scale = rng.uniform(1, self.max_scale)
        limit = min(self.max_stretch, scale**2)  # so that neither side shrinks
        stretch = np.sqrt(rng.uniform(1 / limit, limit))
        canvas = (height * scale / stretch, width * scale * stretch)
        shift = rng.uniform(0, 1, 2) * (canvas[1] - width, canvas[0] - height)
        return moved(sample, (1, 1), shift, canvas)


@dataclass
class Flip(Transform):
    """Mirrors left and right."""

    p: float = number(0.5, 0, 1)

    def apply(self, sample: Sample, rng: np.random.Generator, others: Others) -> Sample:
        height, width = canvas_size(sample)
        return moved(sample, (-1, 1), (width, 0), (height, width))


@dataclass
class DropSmall(Transform):
    """Drops boxes whose width or height has become less than ``share`` of the canvas's."""

    share: float = number(0.01, 0, 1)

    def apply(self, sample: Sample, rng: np.random.Generator, others: Others) -> Sample:
        height, width = canvas_size(sample)
        sides = sample.boxes[:, 2:] - sample.boxes[:, :2]
        return selected(sample, (sides >= (self.share * width, self.share * height)).all(axis=1))


class Resize(Transform):
    """Draws the layers, scaled so that the canvas becomes the network's input.

    The aspect ratio is not kept, as in SSD: (x, y) of a (H, W) canvas goes to (x * w / W, y * h / H).
    ``size`` is the result's (height, width), ``fill`` the (3,) BGR color of what no layer covers.
    """

    def __init__(self, size: tuple[int, int], fill: Sequence[float] = (0, 0, 0)):
        self.size, self.fill = (int(size[0]), int(size[1])), np.clip(np.round(fill), 0, 255).astype(np.uint8)

    def apply(self, sample: Sample, rng: np.random.Generator, others: Others) -> Sample:
        height, width = canvas_size(sample)
        sample = moved(sample, (self.size[1] / width, self.size[0] / height), (0, 0), self.size)
        # float32 may have put a box outside by a rounding
        boxes = np.clip(sample.boxes, 0, np.array(self.size[::-1] * 2, np.float32))
        return resample(sample._replace(boxes=boxes), self.fill)
