"""Color distortion, on the small image that the geometric steps have left."""

from dataclasses import dataclass

import cv2
import numpy as np

from lib.data.augment.step import Others, Transform, no_others, number, number_range
from lib.structures import Sample


@dataclass
class Photometric(Transform):
    """Distorts colors at random, as SSD's code does; contrast changes before or after saturation and hue.

    Thermal images need more: which things are warmer than their surroundings, and by how much, depends on the weather
    and the time of day. ``invert`` and ``gamma`` come first, and are off unless they are set. So are ``gain`` and
    ``permute``, which torchvision's SSD has.
    """

    on_pixels = True
    p: float = number(0.5, 0, 1)  # of each of the four parts
    brightness: float = number(32.0, 0, 255)  # greatest shift of the gray levels, of 255
    gain: tuple[float, float] = number_range((1.0, 1.0), 0, 100)  # least and greatest factor, where brightness acts
    contrast: tuple[float, float] = number_range((0.5, 1.5), 0, 100)  # least and greatest factor
    saturation: tuple[float, float] = number_range((0.5, 1.5), 0, 100)
    hue: float = number(18.0, 0, 180)  # greatest turn in degrees
    invert: float = number(0.0, 0, 1)  # probability that bright and dark change places
    gamma: tuple[float, float] = number_range((1.0, 1.0), 0.1, 10)  # exponent of the gray levels, in shares of 255
    permute: float = number(0.0, 0, 1)  # probability that the channels take a random order, at the end

    def __call__(self, sample: Sample, rng: np.random.Generator, others: Others = no_others) -> Sample:
        is_on = rng.random(4) < self.p
        shift = rng.uniform(-self.brightness, self.brightness) if is_on[0] else 0.0
        contrast = rng.uniform(*self.contrast) if is_on[1] else 1.0
        saturation = rng.uniform(*self.saturation) if is_on[2] else 1.0
        turn = rng.uniform(-self.hue, self.hue) if is_on[3] else 0.0
        before, after = (contrast, 1.0) if rng.random() < 0.5 else (1.0, contrast)
        levels = np.arange(256.0)
        first = self._inverted_and_bent(levels, rng)
        if is_on[0] and tuple(self.gain) != (1, 1):
            first = first * rng.uniform(*self.gain)
        order = rng.permutation(3) if self.permute and rng.random() < self.permute else None
        left, top, right, bottom = sample.content or (0, 0, *sample.image.shape[1::-1])
        part = sample.image[top:bottom, left:right]
        if not part.size or not (is_on.any() or (first != levels).any() or order is not None):
            return sample
        part = _look_up(part, np.clip(first + shift, 0, 255) * before)
        if is_on[2:].any():
            part = _turn_colors(part, saturation, turn)
        part = _look_up(part, levels * after)
        image = sample.image.copy()
        image[top:bottom, left:right] = part if order is None else part[..., order]
        return sample._replace(image=image)

    def _inverted_and_bent(self, levels: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        """The gray levels (256,) after ``invert`` and ``gamma``; what is off draws no random numbers."""
        if self.invert and rng.random() < self.invert:
            levels = 255 - levels
        low, high = np.log(self.gamma)
        return 255 * (levels / 255) ** np.exp(rng.uniform(low, high)) if (low, high) != (0, 0) else levels


def _look_up(image: np.ndarray, table: np.ndarray) -> np.ndarray:
    """Each gray level replaced by the table's; a table that changes nothing costs nothing."""
    table = np.clip(np.round(table), 0, 255).astype(np.uint8)
    return image if (table == np.arange(256)).all() else cv2.LUT(image, table)


def _turn_colors(image: np.ndarray, saturation: float, turn: float) -> np.ndarray:
    """Saturation times a factor and hue turned by degrees, in HSV with the hue in 256 steps."""
    levels = np.arange(256.0)
    hue = np.round(levels + turn * 256 / 360) % 256
    tables = np.stack([hue, np.clip(np.round(levels * saturation), 0, 255), levels], axis=-1)
    hsv = cv2.LUT(cv2.cvtColor(image, cv2.COLOR_BGR2HSV_FULL), tables[None].astype(np.uint8))
    return cv2.cvtColor(hsv, cv2.COLOR_HSV2BGR_FULL)
