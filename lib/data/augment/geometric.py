"""Steps that move boxes and layers, and ``Resize``, which draws the layers."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from lib.data.augment.affine import canvas_size, moved, resample, selected, transposed
from lib.data.augment.step import Others, Transform, number
from lib.data.fit import FITS, Fit, Size, fit
from lib.structures import Sample
from lib.utils.lookup import lookup


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
        return _placed_at_random(sample, (height * scale / stretch, width * scale * stretch), rng)


@dataclass
class ZoomOut(Transform):
    """Puts the image at a random place of a larger canvas where the network's input would only enlarge it.

    The canvas is at most so large that the whole of it is shown at ``min_scale`` of the image's own size. An image
    that is much larger than the input is shown smaller in any case, and stays as it is.
    """

    p: float = number(0.5, 0, 1)
    min_scale: float = number(0.6, 0.01, 1)  # pixels of the input for one of the image

    def apply(self, sample: Sample, rng: np.random.Generator, others: Others) -> Sample:
        height, width = canvas_size(sample)
        scale = np.sqrt(self.input_size[0] * self.input_size[1] / (height * width))
        factor = rng.uniform(1, max(scale / self.min_scale, 1))
        return _placed_at_random(sample, (height * factor, width * factor), rng)


def _placed_at_random(sample: Sample, canvas: tuple[float, float], rng: np.random.Generator) -> Sample:
    """The sample at a random place of a larger canvas (height, width)."""
    height, width = canvas_size(sample)
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
class FlipVertical(Transform):
    """Mirrors top and bottom, for images without an upright, such as views from above."""

    p: float = number(0.5, 0, 1)

    def apply(self, sample: Sample, rng: np.random.Generator, others: Others) -> Sample:
        height, width = canvas_size(sample)
        return moved(sample, (1, -1), (0, height), (height, width))


@dataclass
class Turn(Transform):
    """Turns by 0, 90, 180 or 270 degrees, each as likely, for images without an upright."""

    p: float = number(1.0, 0, 1)

    def apply(self, sample: Sample, rng: np.random.Generator, others: Others) -> Sample:
        return turned(sample, int(rng.integers(4)))


def turned(sample: Sample, quarters: int) -> Sample:
    """The sample turned counterclockwise by so many quarters, 0 to 3: its canvas is then that of ``np.rot90``."""
    if quarters % 2:
        sample = transposed(sample)
    height, width = canvas_size(sample)
    signs = {0: (1, 1), 1: (1, -1), 2: (-1, -1), 3: (-1, 1)}[quarters]
    shift = (width if signs[0] < 0 else 0, height if signs[1] < 0 else 0)
    return moved(sample, signs, shift, (height, width))


@dataclass
class DropSmall(Transform):
    """Drops boxes whose width or height has become less than ``share`` of the canvas's.

    If that leaves no object of an image that had some, the image is used as loaded, with all of its boxes: else it
    would teach that they are background.
    """

    share: float = number(0.01, 0, 1)
    must_leave_objects = True

    def apply(self, sample: Sample, rng: np.random.Generator, others: Others) -> Sample:
        height, width = canvas_size(sample)
        sides = sample.boxes[:, 2:] - sample.boxes[:, :2]
        return selected(sample, (sides >= (self.share * width, self.share * height)).all(axis=1))


class Resize(Transform):
    """Draws the layers so that the canvas lies in the network's input as ``fit`` of lib/data/fit.py says.

    ``size``, ``resize``, ``multiple``, ``least`` and ``scale`` are those of ``fit``; ``fill`` is the (3,) BGR color of
    what no layer covers, padding included.
    """

    def __init__(
        self,
        size: Size,
        fill: Sequence[float] = (0, 0, 0),
        resize: str = "stretch",
        multiple: int = 1,
        least: Size | None = None,
        scale: float = 1.0,
    ):
        self.size, self.fill = (int(size[0]), int(size[1])), np.clip(np.round(fill), 0, 255).astype(np.uint8)
        lookup(FITS, resize, "input.resize")
        self.resize, self.multiple, self.least, self.scale = resize, multiple, least, scale

    @property
    def window(self) -> Size | None:
        """(height, width) of the largest image that keeps its scale, in its own pixels; None: no image keeps it."""
        return (int(self.size[0] / self.scale), int(self.size[1] / self.scale)) if self.resize == "native" else None

    def fit(self, image: tuple[float, float]) -> Fit:
        """How an image of (height, width) becomes the network's input."""
        return fit(self.resize, image, self.size, self.multiple, self.least, self.scale)

    def apply(self, sample: Sample, rng: np.random.Generator, others: Others) -> Sample:
        place = self.fit(canvas_size(sample))
        scale_y, scale_x = place.scale
        sample = moved(sample, (scale_x, scale_y), (0, 0), place.canvas)
        # float32 may have put a box outside by a rounding
        boxes = np.clip(sample.boxes, 0, np.array(place.canvas[::-1] * 2, np.float32))
        return resample(sample._replace(boxes=boxes), self.fill)
