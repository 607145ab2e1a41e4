"""Steps that show a random part of the image."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from lib.data.augment.affine import canvas_size, moved, selected
from lib.data.augment.step import Others, Transform, check_option, number, number_range
from lib.structures import IGNORE, Sample

KEEP = "keep"  # the mode of IouCrop that does not crop


@dataclass
class IouCrop(Transform):
    """Crops a random part that overlaps the objects by a random least IoU (SSD, section 2.2).

    A mode is drawn from "keep all", "any crop" and the given bounds; where no try of a mode satisfies it, another is
    drawn. Objects stay if their center is inside, clipped to the crop. Regions to ignore stay if any part of them is
    inside, and have no influence on the crop.
    """

    min_ious: Sequence[float] = number((0.1, 0.3, 0.5, 0.7, 0.9), 0, 1)
    rule: Literal["any", "every"] = "any"  # object inside, or every object of the image, must reach the bound
    tries: int = number(40, 1, 10_000)  # crops to try for a mode
    min_scale: float = number(0.3, 0.01, 1)  # least side of the crop, in sides of the image
    max_scale: float = number(1.0, 0.01, 1)  # greatest side; small crops enlarge small objects
    max_aspect: float = number(2.0, 1, 100)  # greatest ratio of the crop's longer side to its shorter

    def __post_init__(self) -> None:
        super().__post_init__()
        check_option("iou_crop.min_scale", self.min_scale, 0.01, self.max_scale)
        self.modes = (KEEP, 0.0, *self.min_ious)

    def apply(self, sample: Sample, rng: np.random.Generator, others: Others) -> Sample:
        objects = objects_of(sample)
        for mode in rng.permutation(len(self.modes)):
            if self.modes[mode] == KEEP:
                return sample
            crops = self._draw(canvas_size(sample), rng)
            crops = crops[self._fits(crops, objects, float(self.modes[mode]))]
            if len(crops):
                return crop(sample, crops[0])
        return sample

    def _draw(self, canvas: tuple[float, float], rng: np.random.Generator) -> np.ndarray:
        """(T, 4) xyxy crops of the canvas, of a permitted aspect ratio."""
        whole = np.array([canvas[1], canvas[0]])
        sides = rng.uniform(self.min_scale, self.max_scale, (self.tries, 2)) * whole
        is_permitted = sides.max(axis=1) <= self.max_aspect * sides.min(axis=1)
        return windows_at_random(sides, whole, rng)[is_permitted]

    def _fits(self, crops: np.ndarray, objects: np.ndarray, min_iou: float) -> np.ndarray:
        """(T,) whether a crop keeps an object and satisfies the rule; an image without objects takes any."""
        if not len(objects):
            return np.ones(len(crops), bool)
        inside = _center_inside(objects, crops)  # (T, G)
        shared = intersection(crops, objects)  # (T, G)
        iou = shared / (areas(crops)[:, None] + areas(objects) - shared)
        reached = iou.min(axis=1) if self.rule == "every" else np.where(inside, iou, -1).max(axis=1)
        return inside.any(axis=1) & (reached >= min_iou)


@dataclass
class CoverCrop(Transform):
    """Crops a random part that shows at least a random share of some object (TensorFlow's distorted bounding box).

    Objects of which the crop shows ``keep`` or more stay, clipped to it; where no try satisfies the bound, the
    image stays whole.
    """

    p: float = number(0.85, 0, 1)
    # The bounds, of which one is drawn: share of the object's area inside the crop.
    min_coverages: Sequence[float] = number((0.2, 0.3, 0.5, 0.7, 0.9, 1.0), 0, 1)
    area: tuple[float, float] = number_range((0.1, 1.0), 0.01, 1)  # of the crop, relative to the image's
    aspect: tuple[float, float] = number_range((0.75, 4 / 3), 0.1, 10)  # ratio of the crop's width to its height
    keep: float = number(0.2, 0, 1)  # least share of an object's area for it to stay
    tries: int = number(40, 1, 10_000)

    def apply(self, sample: Sample, rng: np.random.Generator, others: Others) -> Sample:
        bound = rng.choice(self.min_coverages)
        crops, objects = self._draw(canvas_size(sample), rng), objects_of(sample)
        if len(objects):
            covered = intersection(crops, objects) / areas(objects)  # (T, G)
            crops = crops[covered.max(axis=1) >= bound]
        return crop(sample, crops[0], self.keep) if len(crops) else sample

    def _draw(self, canvas: tuple[float, float], rng: np.random.Generator) -> np.ndarray:
        """(T, 4) xyxy crops; those that do not fit into the canvas are left out."""
        whole = np.array([canvas[1], canvas[0]])
        area = rng.uniform(*self.area, self.tries) * whole.prod()
        low, high = np.log(self.aspect)
        aspect = np.exp(rng.uniform(low, high, self.tries))
        sides = np.sqrt(np.stack([area * aspect, area / aspect], axis=1))
        return windows_at_random(sides, whole, rng)[(sides <= whole).all(axis=1)]


@dataclass
class Tile(Transform):
    """Shows a random window of fixed size, on whole pixels, for training on parts of large images.

    Objects stay if their center is inside. An image that is smaller than the window lies at a random place of it.
    """

    size: Sequence[int] = (512, 512)  # (height, width) in pixels of the image; best that of the network's input
    p_object: float = number(0.5, 0, 1)  # probability that the window is laid around an object, if there is one

    def __post_init__(self) -> None:
        super().__post_init__()
        if len(self.size) != 2 or min(self.size) < 1:
            raise ValueError(f"tile.size must be [height, width] in pixels such as [512, 512]; got {list(self.size)}")

    def apply(self, sample: Sample, rng: np.random.Generator, others: Others) -> Sample:
        whole, sides = np.array(canvas_size(sample)[::-1]), np.array(self.size[::-1])  # (x, y)
        objects, room = objects_of(sample), whole - sides
        corner = np.round(rng.uniform(0, 1, 2) * room)  # whole pixels, else every one would be interpolated
        if rng.random() < self.p_object and len(objects):
            x1, y1, x2, y2 = rng.choice(objects)
            center = np.array([x1 + x2, y1 + y2]) / 2
            corner = np.round(center - rng.uniform(0, 1, 2) * sides)
            corner = np.clip(corner, np.floor(center - sides) + 1, np.ceil(center) - 1)  # it stays inside
            corner = np.clip(corner, np.minimum(room, 0), np.maximum(room, 0))
        return crop(sample, np.concatenate([corner, corner + sides]))


def crop(sample: Sample, window: np.ndarray, keep: float | None = None) -> Sample:
    """The sample inside a window (4,) float64 xyxy in pixels of its canvas, which the window may leave.

    It has the objects that stay and the regions to ignore of which a part is inside, all clipped to the window.
    ``keep`` is the least share of an object's area inside for it to stay; None: its center must be inside.
    """
    left, top, right, bottom = window
    if keep is None:
        stays = _center_inside(sample.boxes, window[None])[0]
    else:
        stays = intersection(window[None], sample.boxes)[0] >= keep * areas(sample.boxes)
    is_region = sample.labels == IGNORE
    sample = moved(sample, (1, 1), (-left, -top), (bottom - top, right - left))
    limits = np.array([right - left, bottom - top] * 2, np.float32)
    layers = []
    for layer in sample.layers:
        content = np.clip(layer.content, 0, limits)
        if _has_area(content[None]).all():
            layers.append(layer._replace(content=tuple(content.tolist())))
    sample = sample._replace(boxes=np.clip(sample.boxes, 0, limits), layers=tuple(layers))
    return selected(sample, _has_area(sample.boxes) & (stays | is_region))


def windows_at_random(sides: np.ndarray, whole: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """(T, 4) xyxy windows of ``sides`` (T, 2), each at a random place of the ``whole`` (2,), all as (x, y)."""
    corners = rng.uniform(0, 1, sides.shape) * (whole - sides)
    return np.concatenate([corners, corners + sides], axis=1)


def objects_of(sample: Sample) -> np.ndarray:
    """(N, 4) the boxes that are not regions to ignore."""
    return sample.boxes[sample.labels != IGNORE]


def areas(boxes: np.ndarray) -> np.ndarray:
    """(G,) of boxes (G, 4) xyxy."""
    return (boxes[:, 2:] - boxes[:, :2]).prod(axis=1)


def intersection(windows: np.ndarray, boxes: np.ndarray) -> np.ndarray:
    """(T, G) areas that windows (T, 4) and boxes (G, 4) xyxy share."""
    low = np.maximum(windows[:, None, :2], boxes[:, :2])
    high = np.minimum(windows[:, None, 2:], boxes[:, 2:])
    return np.maximum(high - low, 0).prod(axis=2)


def _has_area(boxes: np.ndarray) -> np.ndarray:
    """(G,) whether a box (G, 4) xyxy has a width and a height."""
    return np.all(boxes[:, 2:] > boxes[:, :2], axis=1)


def _center_inside(boxes: np.ndarray, windows: np.ndarray) -> np.ndarray:
    """(T, G) whether the center of a box (G, 4) lies in a window (T, 4)."""
    center = (boxes[:, :2] + boxes[:, 2:]) / 2
    return ((center > windows[:, None, :2]) & (center < windows[:, None, 2:])).all(axis=2)
