"""Steps that add other images, as further layers on the sample's canvas; these are moved and cropped like the first."""

from collections.abc import Sequence
from typing import Protocol

import numpy as np

from lib.data.augment.affine import canvas_size, moved, overlaid
from lib.data.augment.crops import areas, crop, intersection
from lib.data.augment.step import Others, Transform, in_range, pair_in_range
from lib.structures import IGNORE, Sample


class Dataset(Protocol):
    """Where samples come from."""

    def __len__(self) -> int: ...

    def load(self, index: int) -> Sample: ...


class OtherSamples:
    """The samples of a data set as ``others``: a call loads the one whose index the generator draws."""

    def __init__(self, dataset: Dataset):
        self._dataset = dataset

    def __call__(self, rng: np.random.Generator) -> Sample:
        return self._dataset.load(int(rng.integers(len(self._dataset))))


class Mosaic(Transform):
    """Puts parts of four images into the corners of the canvas, around a random center (YOLOv4, section 3.3).

    Args:
        p: probability.
        scale: least and greatest size of each image, relative to that at which it just fits into the canvas. What
            a smaller image leaves of its corner is filled with color.
    """

    def __init__(self, p: float = 0.5, scale: Sequence[float] = (0.5, 1.0)):
        self.p, self.scale = in_range("mosaic.p", p, 0, 1), pair_in_range("mosaic.scale", scale, 0.1, 10)

    def apply(self, sample: Sample, rng: np.random.Generator, others: Others) -> Sample:
        height, width = canvas_size(sample)
        x, y = rng.uniform(0.25, 0.75, 2) * (width, height)
        corners = np.array([(0, 0, x, y), (x, 0, width, y), (0, y, x, height), (x, y, width, height)])
        corners = rng.permutation(corners)
        result = _placed(sample, corners[0], rng.uniform(*self.scale), (height, width), rng)
        for corner in corners[1:]:
            part = _placed(others(rng), corner, rng.uniform(*self.scale), (height, width), rng)
            result = overlaid(result, part)
        return result


class Mixup(Transform):
    """Lays another image, half transparent and in its aspect ratio, over the sample; the objects of both stay
    (Zhang et al. 2019, section 3.1).

    Args:
        p: probability.
        alpha: the other image's weight is drawn from Beta(alpha, alpha). Objects count the same whatever the
            weight, so alpha should be high enough for both images to be seen.
    """

    def __init__(self, p: float = 0.15, alpha: float = 8.0):
        self.p, self.alpha = in_range("mixup.p", p, 0, 1), in_range("mixup.alpha", alpha, 0.01, 1000)

    def apply(self, sample: Sample, rng: np.random.Generator, others: Others) -> Sample:
        height, width = canvas_size(sample)
        other = _placed(others(rng), np.array([0, 0, width, height]), 1.0, (height, width), rng)
        return overlaid(sample, other, opacity=rng.beta(self.alpha, self.alpha))


class CopyPaste(Transform):
    """Pastes small objects of this or another image at free places (Kisantal et al. 2019, section 4).

    A paste carries a margin of its surroundings, in which it fades in. Put this step first, where objects still
    have the size that they have in their image.

    Args:
        p: probability.
        count: pastes; those that find no free place are left out.
        max_side: objects of a smaller area than its square, in pixels, are copied.
        p_other: probability that they come from another image.
        scale: least and greatest factor of their size.
        margin: on each side of the object, in sides of it.
        max_overlap: share of the smaller of the two that a paste and another object may have in common.
        tries: places to try for each.
    """

    def __init__(
        self,
        p: float = 0.5,
        count: int = 3,
        max_side: float = 32.0,
        p_other: float = 0.5,
        scale: Sequence[float] = (0.8, 1.2),
        margin: float = 0.25,
        max_overlap: float = 0.05,
        tries: int = 20,
    ):
        self.p = in_range("copy_paste.p", p, 0, 1)
        self.count = in_range("copy_paste.count", count, 1, 1000)
        self.max_area = in_range("copy_paste.max_side", max_side, 1, 10_000) ** 2
        self.p_other = in_range("copy_paste.p_other", p_other, 0, 1)
        self.scale = pair_in_range("copy_paste.scale", scale, 0.1, 10)
        self.margin = in_range("copy_paste.margin", margin, 0, 1)
        self.max_overlap = in_range("copy_paste.max_overlap", max_overlap, 0, 1)
        self.tries = in_range("copy_paste.tries", tries, 1, 10_000)

    def apply(self, sample: Sample, rng: np.random.Generator, others: Others) -> Sample:
        source = others(rng) if rng.random() < self.p_other else sample
        is_small = (source.labels != IGNORE) & (areas(source.boxes) < self.max_area)
        if not is_small.any():
            return sample
        for box in rng.choice(source.boxes[is_small], self.count):
            patch = self._patch(source, box, rng.uniform(*self.scale))
            corner = self._free_place(sample, canvas_size(patch), rng)
            if corner is not None:
                patch = moved(patch, (1, 1), corner, canvas_size(sample))
                sample = overlaid(sample, patch, fade=True)
        return sample

    def _patch(self, source: Sample, box: np.ndarray, scale: float) -> Sample:
        """An object with its margin, and with other objects whose center is there, on a canvas of the patch's size."""
        height, width = canvas_size(source)
        margin = self.margin * np.tile(box[2:] - box[:2], 2) * (-1, -1, 1, 1)
        patch = crop(source, np.clip(box + margin, 0, [width, height] * 2))
        height, width = canvas_size(patch)
        return moved(patch, (scale, scale), (0, 0), (height * scale, width * scale))

    def _free_place(
        self, sample: Sample, size: tuple[float, float], rng: np.random.Generator
    ) -> np.ndarray | None:
        """(x, y) of a place on the canvas for a patch of ``size`` (height, width); None: no try was free."""
        sides, room = np.array(size[::-1]), np.array(canvas_size(sample)[::-1]) - size[::-1]
        if (room < 0).any():
            return None
        corners = rng.uniform(0, 1, (self.tries, 2)) * room
        shared = intersection(np.concatenate([corners, corners + sides], axis=1), sample.boxes)  # (T, G)
        smaller = np.minimum(areas(sample.boxes), sides.prod())
        free = (shared <= self.max_overlap * smaller).all(axis=1)
        return corners[free.argmax()] if free.any() else None


def _placed(
    sample: Sample, window: np.ndarray, scale: float, canvas: tuple[float, float], rng: np.random.Generator
) -> Sample:
    """A random part of an image in a window (4,) xyxy of another canvas; all of it where it is smaller.

    Args:
        scale: of the image, relative to the size at which it just fits into the canvas; the aspect ratio stays.
    """
    height, width = canvas_size(sample)
    factor = scale * min(canvas[0] / height, canvas[1] / width)
    sample = moved(sample, (factor, factor), (0, 0), (height * factor, width * factor))
    sides = window[2:] - window[:2]
    corner = rng.uniform(0, 1, 2) * (np.array([width, height]) * factor - sides)
    part = crop(sample, np.concatenate([corner, corner + sides]))
    return moved(part, (1, 1), window[:2], canvas)
