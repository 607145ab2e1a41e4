"""Steps that add other images, as further layers on the sample's canvas; these are moved and cropped like the first."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np

from lib.data.augment.affine import canvas_size, moved, overlaid
from lib.data.augment.crops import areas, crop, intersection, windows_at_random
from lib.data.augment.step import Others, Transform, number, number_range
from lib.data.dataset import CocoDataset
from lib.structures import IGNORE, Sample


class OtherSamples:
    """The other samples that steps may ask for: those of a data set, as ``load``, or else its own, gives them."""

    def __init__(self, dataset: CocoDataset, load: Callable[[int], Sample] | None = None):
        self.dataset, self._load = dataset, load or dataset.load
        self._small: dict[float, tuple[list[np.ndarray], np.ndarray]] = {}  # by the greatest side

    def __call__(self, rng: np.random.Generator) -> Sample:
        """One whose index the generator draws."""
        return self._load(int(rng.integers(len(self.dataset))))

    def with_rare(self, max_side: float, rng: np.random.Generator) -> tuple[Sample, np.ndarray] | None:
        """A sample, and the box (4,) of an object of it with an area under the square of ``max_side``.

        First a class is drawn, in inverse proportion to the square root of how many such objects it has, then one of
        these. None: there is none.
        """
        if max_side not in self._small:
            self._small[max_side] = self._by_class(max_side)
        objects, odds = self._small[max_side]
        if not objects:
            return None
        image, place = rng.choice(objects[rng.choice(len(objects), p=odds)]).tolist()
        sample = self._load(image)
        return sample, sample.boxes[place]

    def _by_class(self, max_side: float) -> tuple[list[np.ndarray], np.ndarray]:
        """For each class with small objects their images and places in them (N, 2), and how likely the class is."""
        found = []
        for image in range(len(self.dataset)):
            boxes, labels = self.dataset.objects(image)
            places = np.flatnonzero(_are_small(boxes, labels, max_side))
            found.append(np.stack([np.full(len(places), image), places, labels[places]], axis=1))
        table = np.concatenate(found)
        objects = [table[table[:, 2] == label, :2] for label in np.unique(table[:, 2])]
        weights = np.array([1 / np.sqrt(len(of_class)) for of_class in objects])
        return objects, weights / weights.sum()


def _are_small(boxes: np.ndarray, labels: np.ndarray, max_side: float) -> np.ndarray:
    """(G,) whether a box is an object with an area under the square of ``max_side``."""
    return (labels != IGNORE) & (areas(boxes) < max_side**2)


@dataclass
class Mosaic(Transform):
    """Puts parts of four images into the corners of the canvas, around a random center (YOLOv4, section 3.3).

    What a small image leaves of its corner is filled with color.
    """

    p: float = number(0.5, 0, 1)
    # The size of each image, relative to that at which it just fits into the canvas.
    scale: tuple[float, float] = number_range((0.5, 1.0), 0.1, 10)

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


@dataclass
class Mixup(Transform):
    """Lays another image, half transparent and in its aspect ratio, over the sample; the objects of both stay
    (Zhang et al. 2019, section 3.1).

    The other image's weight is drawn from Beta(alpha, alpha). Objects count the same whatever the weight, so alpha
    should be high enough for both images to be seen.
    """

    p: float = number(0.15, 0, 1)
    alpha: float = number(8.0, 0.01, 1000)

    def apply(self, sample: Sample, rng: np.random.Generator, others: Others) -> Sample:
        height, width = canvas_size(sample)
        other = _placed(others(rng), np.array([0, 0, width, height]), 1.0, (height, width), rng)
        return overlaid(sample, other, opacity=rng.beta(self.alpha, self.alpha))


@dataclass
class CopyPaste(Transform):
    """Pastes small objects of this or another image at free places (Kisantal et al. 2019, section 4).

    A paste carries a margin of its surroundings, in which it fades in. Put this step first, where objects still
    have the size that they have in their image.
    """

    p: float = number(0.5, 0, 1)
    count: int = number(3, 1, 1000)  # pastes; those that find no free place are left out
    max_side: float = number(32.0, 1, 10_000)  # objects of a smaller area than its square, in pixels, are copied
    p_other: float = number(0.5, 0, 1)  # probability that they come from another image
    # whether rare classes are pasted more often (by 1 / sqrt of their number of objects); each then from any image
    rare: bool = False
    scale: tuple[float, float] = number_range((0.8, 1.2), 0.1, 10)  # factor of their size
    margin: float = number(0.25, 0, 1)  # on each side of the object, in sides of it
    max_overlap: float = number(0.05, 0, 1)  # share of the smaller that a paste and another object have in common
    tries: int = number(20, 1, 10_000)  # places to try for each

    def apply(self, sample: Sample, rng: np.random.Generator, others: Others) -> Sample:
        for source, box in self._drawn(sample, rng, others):
            patch = self._patch(source, box, rng.uniform(*self.scale))
            corner = self._free_place(sample, canvas_size(patch), rng)
            if corner is not None:
                patch = moved(patch, (1, 1), corner, canvas_size(sample))
                sample = overlaid(sample, patch, fade=True)
        return sample

    def _drawn(self, sample: Sample, rng: np.random.Generator, others: Others) -> Iterator[tuple[Sample, np.ndarray]]:
        """The objects to paste: the sample that each is in, and its box (4,)."""
        if self.rare:
            if not isinstance(others, OtherSamples):
                raise TypeError(f"copy_paste.rare needs the samples of a data set; got {others}")
            for _ in range(self.count):
                drawn = others.with_rare(self.max_side, rng)
                if drawn is not None:
                    yield drawn
            return
        source = others(rng) if rng.random() < self.p_other else sample
        is_small = _are_small(source.boxes, source.labels, self.max_side)
        if is_small.any():
            yield from ((source, box) for box in rng.choice(source.boxes[is_small], self.count))

    def _patch(self, source: Sample, box: np.ndarray, scale: float) -> Sample:
        """An object with its margin, and with other objects whose center is there, on a canvas of the patch's size."""
        height, width = canvas_size(source)
        margin = self.margin * np.tile(box[2:] - box[:2], 2) * (-1, -1, 1, 1)
        patch = crop(source, np.clip(box + margin, 0, [width, height] * 2))
        height, width = canvas_size(patch)
        return moved(patch, (scale, scale), (0, 0), (height * scale, width * scale))

    def _free_place(self, sample: Sample, size: tuple[float, float], rng: np.random.Generator) -> np.ndarray | None:
        """(x, y) of a place on the canvas for a patch of ``size`` (height, width); None: no try was free."""
        sides, whole = np.array(size[::-1]), np.array(canvas_size(sample)[::-1])
        if (whole < sides).any():
            return None
        windows = windows_at_random(np.tile(sides, (self.tries, 1)), whole, rng)
        smaller = np.minimum(areas(sample.boxes), sides.prod())
        free = (intersection(windows, sample.boxes) <= self.max_overlap * smaller).all(axis=1)
        return windows[free.argmax(), :2] if free.any() else None


def _placed(
    sample: Sample, window: np.ndarray, scale: float, canvas: tuple[float, float], rng: np.random.Generator
) -> Sample:
    """A random part of an image in a window (4,) xyxy of another canvas; all of it where it is smaller.

    ``scale`` is relative to the size at which the image just fits into the canvas; the aspect ratio stays.
    """
    height, width = canvas_size(sample)
    factor = scale * min(canvas[0] / height, canvas[1] / width)
    sample = moved(sample, (factor, factor), (0, 0), (height * factor, width * factor))
    sides = window[2:] - window[:2]
    corner = rng.uniform(0, 1, 2) * (np.array([width, height]) * factor - sides)
    part = crop(sample, np.concatenate([corner, corner + sides]))
    return moved(part, (1, 1), window[:2], canvas)
