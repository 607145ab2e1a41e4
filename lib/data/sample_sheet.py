"""Pictures of what augmentation does to images."""

import math
from typing import NamedTuple

import numpy as np

from lib.data.augment.mixing import OtherSamples
from lib.data.augment.presets import Compose
from lib.data.dataset import CocoDataset
from lib.structures import IGNORE, Sample
from lib.utils.draw import draw_boxes
from lib.utils.sheet import enlarged, fitted, picture_grid, titled


class Pair(NamedTuple):
    """A sample as loaded, and as the first epoch of a run sees it."""

    before: Sample
    after: Sample


def drawn_samples(dataset: CocoDataset, transform: Compose, seed: int, count: int) -> list[Pair]:
    """``count`` random images of a data set, or all if there are fewer."""
    if count < 1:
        raise ValueError(f"the number of images to draw must be 1 or more; got {count}")
    pairs, others = [], OtherSamples(dataset)
    for index in np.random.default_rng(seed).permutation(len(dataset))[:count].tolist():
        before, rng = dataset.load(index), np.random.default_rng([seed, 0, index, 0])
        pairs.append(Pair(before, transform(before, rng, others)))
    return pairs


def sample_sheet(dataset: CocoDataset, transform: Compose, seed: int, count: int) -> np.ndarray:
    """(H, W, 3) uint8 BGR: up to ``count`` images with their boxes, before and after the first epoch's augmentation."""
    pictures = []
    for before, after in drawn_samples(dataset, transform, seed, count):
        size = enlarged(after.image.shape[:2])
        title = f"image {before.image_id}, {before.size[1]} x {before.size[0]}, {_count(before)}"
        pictures += [titled(_picture(before, dataset.classes, size), title)]
        pictures += [titled(_picture(after, dataset.classes, size), f"augmented, {_count(after)}")]
    return picture_grid(pictures, columns=2 * max(round(math.sqrt(len(pictures) / 4)), 1))


def _picture(sample: Sample, classes: tuple[str, ...], size: tuple[int, int]) -> np.ndarray:
    """A sample with nothing pending, drawn with its boxes as large as ``size`` (height, width) allows."""
    image = sample.image if isinstance(sample.image, np.ndarray) else sample.image.pixels()
    picture, scale = fitted(image, size)
    names = (*classes, "ignored")
    labels = np.where(sample.labels == IGNORE, len(names), sample.labels)
    return draw_boxes(picture, sample.boxes * scale, labels, names)


def _count(sample: Sample) -> str:
    regions = np.count_nonzero(sample.labels == IGNORE)
    return f"{len(sample.labels) - regions} objects" + (f", {regions} ignored" if regions else "")
