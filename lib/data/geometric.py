"""Transforms that move boxes and compose the map of the pixels, and ``Resize``, which carries the map out."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import numpy as np

from lib.data.affine import canvas_size, content_box, moved, resample, selected
from lib.data.checks import check_range
from lib.structures import IGNORE, Sample

KEEP = "keep"  # the mode of IouCrop that does not crop


class Expand:
    """Zooms out: puts the image at a random place of a larger canvas (SSD, section 3.6).

    Args:
        p: probability.
        max_scale: greatest side of the canvas, in sides of the image; the least is 1.
        max_stretch: greatest ratio of the two sides' scales; 1 keeps the aspect ratio.
    """

    on_pixels = False

    def __init__(self, p: float = 0.5, max_scale: float = 4.0, max_stretch: float = 1.0):
        check_range("expand.p", p, 0, 1)
        check_range("expand.max_scale", max_scale, 1, 100)
        check_range("expand.max_stretch", max_stretch, 1, 10)
        self.p, self.max_scale, self.max_stretch = p, max_scale, max_stretch

    def __call__(self, sample: Sample, rng: np.random.Generator) -> Sample:
        if rng.random() >= self.p:
            return sample
        height, width = canvas_size(sample)
        scale = rng.uniform(1, self.max_scale)
        limit = min(self.max_stretch, scale**2)  # so that neither side shrinks
        stretch = np.sqrt(rng.uniform(1 / limit, limit))
        canvas = (height * scale / stretch, width * scale * stretch)
        shift = rng.uniform(0, 1, 2) * (canvas[1] - width, canvas[0] - height)
        return moved(sample, (1, 1), shift, canvas)


class IouCrop:
    """Crops a random part that overlaps the objects by a random least IoU (SSD, section 2.2).

    A mode is drawn from "keep all", "any crop" and the given bounds; where no try of a mode satisfies it,
    another mode is drawn. Objects stay if their centre is inside, clipped to the crop. Regions to ignore stay
    if any part of them is inside, and never steer the crop.

    Args:
        min_ious: the bounds.
        rule: whether ``any`` object inside must reach the bound, or ``every`` object of the image.
        tries: crops to try for a mode.
        min_scale, max_scale: least and greatest side of the crop, in sides of the image. Small crops enlarge
            small objects.
        max_aspect: greatest ratio of the crop's longer side to its shorter.
    """

    on_pixels = False

    def __init__(
        self,
        min_ious: Sequence[float] = (0.1, 0.3, 0.5, 0.7, 0.9),
        rule: Literal["any", "every"] = "any",
        tries: int = 40,
        min_scale: float = 0.3,
        max_scale: float = 1.0,
        max_aspect: float = 2.0,
    ):
        for value in min_ious:
            check_range("iou_crop.min_ious", value, 0, 1)
        check_range("iou_crop.tries", tries, 1, 10_000)
        check_range("iou_crop.min_scale", min_scale, 0.01, max_scale)
        check_range("iou_crop.max_scale", max_scale, min_scale, 1)
        check_range("iou_crop.max_aspect", max_aspect, 1, 100)
        self.modes = (KEEP, 0.0, *min_ious)
        self.rule, self.tries, self.max_aspect = rule, tries, max_aspect
        self.scales = (min_scale, max_scale)

    def __call__(self, sample: Sample, rng: np.random.Generator) -> Sample:
        objects = sample.boxes[sample.labels != IGNORE]
        for mode in rng.permutation(len(self.modes)):
            if self.modes[mode] == KEEP:
                return sample
            crops = self._draw(canvas_size(sample), rng)
            crops = crops[self._fits(crops, objects, self.modes[mode])]
            if len(crops):
                return crop(sample, crops[0])
        return sample

    def _draw(self, canvas: tuple[float, float], rng: np.random.Generator) -> np.ndarray:
        """(T, 4) xyxy crops of the canvas, of a permitted aspect ratio."""
        whole = np.array([canvas[1], canvas[0]])
        sides = rng.uniform(*self.scales, (self.tries, 2)) * whole
        corner = rng.uniform(0, 1, (self.tries, 2)) * (whole - sides)
        is_permitted = sides.max(axis=1) <= self.max_aspect * sides.min(axis=1)
        return np.concatenate([corner, corner + sides], axis=1)[is_permitted]

    def _fits(self, crops: np.ndarray, objects: np.ndarray, min_iou: float) -> np.ndarray:
        """(T,) whether a crop keeps an object and satisfies the rule; an image without objects takes any."""
        if not len(objects):
            return np.ones(len(crops), bool)
        inside = _centre_inside(objects, crops)  # (T, G)
        iou = _iou(crops, objects)  # (T, G)
        reached = iou.min(axis=1) if self.rule == "every" else np.where(inside, iou, -1).max(axis=1)
        return inside.any(axis=1) & (reached >= min_iou)


class Flip:
    """Mirrors left and right with probability ``p``."""

    on_pixels = False

    def __init__(self, p: float = 0.5):
        check_range("flip.p", p, 0, 1)
        self.p = p

    def __call__(self, sample: Sample, rng: np.random.Generator) -> Sample:
        if rng.random() >= self.p:
            return sample
        height, width = canvas_size(sample)
        return moved(sample, (-1, 1), (width, 0), (height, width))


class DropSmall:
    """Drops boxes whose width or height has become less than ``share`` of the canvas's."""

    on_pixels = False

    def __init__(self, share: float = 0.01):
        check_range("drop_small.share", share, 0, 1)
        self.share = share

    def __call__(self, sample: Sample, rng: np.random.Generator) -> Sample:
        height, width = canvas_size(sample)
        sides = sample.boxes[:, 2:] - sample.boxes[:, :2]
        return selected(sample, (sides >= (self.share * width, self.share * height)).all(axis=1))


class Resize:
    """Carries out the pending map, scaled so that the canvas becomes the network's input.

    The aspect ratio is not kept, as in SSD. A point at (x, y) of a (H, W) canvas goes to (x * w / W, y * h /
    H).

    Args:
        size: (height, width) of the result.
        fill: (3,) BGR colour of what no pixel of the image covers.
    """

    on_pixels = False

    def __init__(self, size: tuple[int, int], fill: Sequence[float] = (0, 0, 0)):
        self.size, self.fill = (int(size[0]), int(size[1])), np.clip(np.round(fill), 0, 255).astype(np.uint8)

    def __call__(self, sample: Sample, rng: np.random.Generator) -> Sample:
        height, width = canvas_size(sample)
        sample = moved(sample, (self.size[1] / width, self.size[0] / height), (0, 0), self.size)
        limits = np.array(self.size[::-1] * 2, np.float32)
        sample = sample._replace(
            boxes=np.clip(sample.boxes, 0, limits)
        )  # float32 may have left it by a rounding
        return resample(sample, self.fill)


def crop(sample: Sample, window: np.ndarray) -> Sample:
    """The sample inside a window of its canvas.

    Args:
        sample: any.
        window: (4,) float64 xyxy in pixels of the canvas.

    Returns:
        Objects whose centre is inside and regions to ignore of which a part is, both clipped to the window.
    """
    left, top, right, bottom = window
    is_inside = _centre_inside(sample.boxes, window[None])[0]
    is_region = sample.labels == IGNORE
    sample = moved(sample, (1, 1), (-left, -top), (bottom - top, right - left))
    limits = np.array([right - left, bottom - top] * 2, np.float32)
    content = np.clip(content_box(sample), 0, limits)
    sample = sample._replace(boxes=np.clip(sample.boxes, 0, limits), content=tuple(content.tolist()))
    has_area = (sample.boxes[:, 2:] > sample.boxes[:, :2]).all(axis=1)
    return selected(sample, has_area & (is_inside | is_region))


def _centre_inside(boxes: np.ndarray, windows: np.ndarray) -> np.ndarray:
    """(T, G) whether the centre of a box (G, 4) lies in a window (T, 4)."""
    centre = (boxes[:, :2] + boxes[:, 2:]) / 2
    return ((centre > windows[:, None, :2]) & (centre < windows[:, None, 2:])).all(axis=2)


def _iou(windows: np.ndarray, boxes: np.ndarray) -> np.ndarray:
    """(T, G) intersection over union of windows (T, 4) and boxes (G, 4) xyxy."""
    low = np.maximum(windows[:, None, :2], boxes[:, :2])
    high = np.minimum(windows[:, None, 2:], boxes[:, 2:])
    shared = np.maximum(high - low, 0).prod(axis=2)
    areas = [(xyxy[:, 2:] - xyxy[:, :2]).prod(axis=1) for xyxy in (windows, boxes)]
    return shared / (areas[0][:, None] + areas[1] - shared)
