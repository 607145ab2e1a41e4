"""Color distortion, on the small image that the geometric steps have left."""

from collections.abc import Sequence

import cv2
import numpy as np

from lib.data.augment.step import Others, Transform, in_range, pair_in_range
from lib.structures import Sample


class Photometric(Transform):
    """Distorts colors at random, as SSD's code does; contrast changes before or after saturation and hue.

    Args:
        p: probability of each of the four parts.
        brightness: greatest shift of the gray levels, of 255.
        contrast, saturation: least and greatest factor.
        hue: greatest turn in degrees.
    """

    on_pixels = True

    def __init__(
        self,
        p: float = 0.5,
        brightness: float = 32.0,
        contrast: Sequence[float] = (0.5, 1.5),
        saturation: Sequence[float] = (0.5, 1.5),
        hue: float = 18.0,
    ):
        self.p_part = in_range("photometric.p", p, 0, 1)
        self.brightness = in_range("photometric.brightness", brightness, 0, 255)
        self.hue = in_range("photometric.hue", hue, 0, 180)
        self.contrast = pair_in_range("photometric.contrast", contrast, 0, 100)
        self.saturation = pair_in_range("photometric.saturation", saturation, 0, 100)

    def apply(self, sample: Sample, rng: np.random.Generator, others: Others) -> Sample:
        is_on = rng.random(4) < self.p_part
        shift = rng.uniform(-self.brightness, self.brightness) if is_on[0] else 0.0
        contrast = rng.uniform(*self.contrast) if is_on[1] else 1.0
        saturation = rng.uniform(*self.saturation) if is_on[2] else 1.0
        turn = rng.uniform(-self.hue, self.hue) if is_on[3] else 0.0
        before, after = (contrast, 1.0) if rng.random() < 0.5 else (1.0, contrast)
        left, top, right, bottom = sample.content or (0, 0, *sample.image.shape[1::-1])
        part = sample.image[top:bottom, left:right]
        if not is_on.any() or not part.size:
            return sample
        levels = np.arange(256.0)
        part = _look_up(part, np.clip(levels + shift, 0, 255) * before)
        if is_on[2:].any():
            part = _turn_colors(part, saturation, turn)
        part = _look_up(part, levels * after)
        image = sample.image.copy()
        image[top:bottom, left:right] = part
        return sample._replace(image=image)


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
