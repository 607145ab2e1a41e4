"""Steps that show a random part of the image."""

from collections.abc import Sequence
from typing import Literal

import numpy as np

from lib.data.augment.affine import canvas_size, moved, selected
from lib.data.augment.step import Others, Transform, in_range, pair_in_range
from lib.structures import IGNORE, Sample

KEEP = "keep"  # the mode of IouCrop that does not crop


class IouCrop(Transform):
    """Crops a random part that overlaps the objects by a random least IoU (SSD, section 2.2).

    A mode is drawn from "keep all", "any crop" and the given bounds; where no try of a mode satisfies it,
    another mode is drawn. Objects stay if their center is inside, clipped to the crop. Regions to ignore stay
    if any part of them is inside, and have no influence on the crop.

    Args:
        min_ious: the bounds.
        rule: whether ``any`` object inside must reach the bound, or ``every`` object of the image.
        tries: crops to try for a mode.
        min_scale, max_scale: least and greatest side of the crop, in sides of the image. Small crops enlarge
            small objects.
        max_aspect: greatest ratio of the crop's longer side to its shorter.
    """

    def __init__(
        self,
        min_ious: Sequence[float] = (0.1, 0.3, 0.5, 0.7, 0.9),
        rule: Literal["any", "every"] = "any",
        tries: int = 40,
        min_scale: float = 0.3,
        max_scale: float = 1.0,
        max_aspect: float = 2.0,
    ):
        self.modes = (KEEP, 0.0, *(in_range("iou_crop.min_ious", value, 0, 1) for value in min_ious))
        self.rule, self.tries = rule, in_range("iou_crop.tries", tries, 1, 10_000)
        in_range("iou_crop.min_scale", min_scale, 0.01, max_scale)
        self.scales = (min_scale, in_range("iou_crop.max_scale", max_scale, min_scale, 1))
        self.max_aspect = in_range("iou_crop.max_aspect", max_aspect, 1, 100)

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
        sides = rng.uniform(*self.scales, (self.tries, 2)) * whole
        corner = rng.uniform(0, 1, (self.tries, 2)) * (whole - sides)
        is_permitted = sides.max(axis=1) <= self.max_aspect * sides.min(axis=1)
        return np.concatenate([corner, corner + sides], axis=1)[is_permitted]

    def _fits(self, crops: np.ndarray, objects: np.ndarray, min_iou: float) -> np.ndarray:
        """(T,) whether a crop keeps an object and satisfies the rule; an image without objects takes any."""
        if not len(objects):
            return np.ones(len(crops), bool)
        inside = _center_inside(objects, crops)  # (T, G)
        shared = intersection(crops, objects)  # (T, G)
        iou = shared / (areas(crops)[:, None] + areas(objects) - shared)
        reached = iou.min(axis=1) if self.rule == "every" else np.where(inside, iou, -1).max(axis=1)
        return inside.any(axis=1) & (reached >= min_iou)


class CoverCrop(Transform):
    """Crops a random part that shows at least a random share of some object (TensorFlow's distorted bounding box).

    Objects of which the crop shows ``keep`` or more stay, clipped to it; where no try satisfies the bound, the
    image stays whole.

    Args:
        p: probability.
        min_coverages: the bounds, of which one is drawn: share of the object's area inside the crop.
        area: least and greatest area of the crop, relative to the image's.
        aspect: least and greatest ratio of its width to its height.
        keep: 0 .. 1, least share of an object's area for it to stay.
        tries: crops to try.
    """

    def __init__(
        self,
        p: float = 0.85,
        min_coverages: Sequence[float] = (0.2, 0.3, 0.5, 0.7, 0.9, 1.0),
        area: Sequence[float] = (0.1, 1.0),
        aspect: Sequence[float] = (0.75, 4 / 3),
        keep: float = 0.2,
        tries: int = 40,
    ):
        self.p = in_range("cover_crop.p", p, 0, 1)
        self.min_coverages = [in_range("cover_crop.min_coverages", value, 0, 1) for value in min_coverages]
        self.area = pair_in_range("cover_crop.area", area, 0.01, 1)
        self.aspect = pair_in_range("cover_crop.aspect", aspect, 0.1, 10)
        self.keep = in_range("cover_crop.keep", keep, 0, 1)
        self.tries = in_range("cover_crop.tries", tries, 1, 10_000)

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
        corner = rng.uniform(0, 1, (self.tries, 2)) * (whole - sides)
        return np.concatenate([corner, corner + sides], axis=1)[(sides <= whole).all(axis=1)]


class Tile(Transform):
    """Shows a random window of fixed size, for training on parts of large images.

    Objects stay if their center is inside. An image that is smaller than the window lies at a random place of it.

    Args:
        size: (height, width) of the window in pixels of the image; best that of the network's input.
        p_object: probability that the window is laid around a random object, if there is one.
    """

    def __init__(self, size: Sequence[int] = (512, 512), p_object: float = 0.5):
        if len(size) != 2 or min(size) < 1:
            raise ValueError(
                f"tile.size must be [height, width] in pixels such as [512, 512]; got {list(size)}"
            )
        self.size, self.p_object = tuple(size), in_range("tile.p_object", p_object, 0, 1)

    def apply(self, sample: Sample, rng: np.random.Generator, others: Others) -> Sample:
        whole, sides = np.array(canvas_size(sample)[::-1]), np.array(self.size[::-1])  # (x, y)
        objects, room = objects_of(sample), whole - sides
        corner = rng.uniform(0, 1, 2) * room
        if rng.random() < self.p_object and len(objects):
            x1, y1, x2, y2 = rng.choice(objects)
            corner = np.array([x1 + x2, y1 + y2]) / 2 - rng.uniform(0, 1, 2) * sides
            corner = np.clip(corner, np.minimum(room, 0), np.maximum(room, 0))
        return crop(sample, np.concatenate([corner, corner + sides]))


def crop(sample: Sample, window: np.ndarray, keep: float | None = None) -> Sample:
    """The sample inside a window of its canvas.

    Args:
        sample: any.
        window: (4,) float64 xyxy in pixels of the canvas, which it may leave.
        keep: least share of an object's area inside for it to stay; None: its center must be inside.

    Returns:
        The objects that stay and the regions to ignore of which a part is inside, all clipped to the window.
    """
    left, top, right, bottom = window
    if keep is None:
        stays = _center_inside(sample.boxes, window[None])[0]
    else:
        stays = intersection(window[None], sample.boxes)[0] >= keep * areas(sample.boxes)
    is_region = sample.labels == IGNORE
    sample = moved(sample, (1, 1), (-left, -top), (bottom - top, right - left))
    limits = np.array([right - left, bottom - top] * 2, np.float32)
    contents = [np.clip(layer.content, 0, limits) for layer in sample.layers]
    layers = tuple(
        layer._replace(content=tuple(content.tolist()))
        for layer, content in zip(sample.layers, contents, strict=True)
        if _has_area(content[None])[0]
    )
    sample = sample._replace(boxes=np.clip(sample.boxes, 0, limits), layers=layers)
    return selected(sample, _has_area(sample.boxes) & (stays | is_region))


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
