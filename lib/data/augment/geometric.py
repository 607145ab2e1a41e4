"""Steps that move boxes and layers, and ``Resize``, which draws the layers."""

from collections.abc import Sequence

import numpy as np

from lib.data.augment.affine import canvas_size, moved, resample, selected
from lib.data.augment.step import Others, Transform, in_range
from lib.structures import Sample


class Expand(Transform):
    """Zooms out: puts the image at a random place of a larger canvas (SSD, section 3.6).

    Args:
        p: probability.
        max_scale: greatest side of the canvas, in sides of the image; the least is 1.
        max_stretch: greatest ratio of the two sides' scales; 1 keeps the aspect ratio.
    """

    def __init__(self, p: float = 0.5, max_scale: float = 4.0, max_stretch: float = 1.0):
        self.p = in_range("expand.p", p, 0, 1)
        self.max_scale = in_range("expand.max_scale", max_scale, 1, 100)
        self.max_stretch = in_range("expand.max_stretch", max_stretch, 1, 10)

    def apply(self, sample: Sample, rng: np.random.Generator, others: Others) -> Sample:
        height, width = canvas_size(sample)
        scale = rng.uniform(1, self.max_scale)
        limit = min(self.max_stretch, scale**2)  # so that neither side shrinks
        stretch = np.sqrt(rng.uniform(1 / limit, limit))
        canvas = (height * scale / stretch, width * scale * stretch)
        shift = rng.uniform(0, 1, 2) * (canvas[1] - width, canvas[0] - height)
        return moved(sample, (1, 1), shift, canvas)


class Flip(Transform):
    """Mirrors left and right with probability ``p``."""

    def __init__(self, p: float = 0.5):
        self.p = in_range("flip.p", p, 0, 1)

    def apply(self, sample: Sample, rng: np.random.Generator, others: Others) -> Sample:
        height, width = canvas_size(sample)
        return moved(sample, (-1, 1), (width, 0), (height, width))


class DropSmall(Transform):
    """Drops boxes whose width or height has become less than ``share`` of the canvas's."""

    def __init__(self, share: float = 0.01):
        self.share = in_range("drop_small.share", share, 0, 1)

    def apply(self, sample: Sample, rng: np.random.Generator, others: Others) -> Sample:
        height, width = canvas_size(sample)
        sides = sample.boxes[:, 2:] - sample.boxes[:, :2]
        return selected(sample, (sides >= (self.share * width, self.share * height)).all(axis=1))


class Resize(Transform):
    """Draws the layers, scaled so that the canvas becomes the network's input.

    The aspect ratio is not kept, as in SSD: (x, y) of a (H, W) canvas goes to (x * w / W, y * h / H).

    Args:
        size: (height, width) of the result.
        fill: (3,) BGR color of what no layer covers.
    """

    def __init__(self, size: tuple[int, int], fill: Sequence[float] = (0, 0, 0)):
        self.size, self.fill = (int(size[0]), int(size[1])), np.clip(np.round(fill), 0, 255).astype(np.uint8)

    def apply(self, sample: Sample, rng: np.random.Generator, others: Others) -> Sample:
        height, width = canvas_size(sample)
        sample = moved(sample, (self.size[1] / width, self.size[0] / height), (0, 0), self.size)
        # float32 may have put a box outside by a rounding
        boxes = np.clip(sample.boxes, 0, np.array(self.size[::-1] * 2, np.float32))
        return resample(sample._replace(boxes=boxes), self.fill)
