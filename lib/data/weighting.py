"""What the sampler is told of a data set: how often an epoch has each image, and which images may share a batch."""

import numpy as np

from lib.data.dataset import CocoDataset
from lib.structures import IGNORE

SMALL_AREA = 32**2  # px^2 of the original image: COCO's bound of small objects


def times_of(dataset: CocoDataset, oversample_small: float, repeat_rare: float) -> np.ndarray | None:
    """How often an epoch has each image (N,), on average: the product of what small objects and rare classes demand.
    None: each image once.
    """
    factors = [times_of_small(dataset, oversample_small), times_of_rare(dataset, repeat_rare)]
    given = [factor for factor in factors if factor is not None]
    return np.prod(given, axis=0) if given else None


def times_of_rare(dataset: CocoDataset, threshold: float) -> np.ndarray | None:
    """How often an epoch has each image (N,), by its rarest class: LVIS's repeat factor (Gupta et al. 2019).

    A class that a share f of the images has asks for max(1, sqrt(threshold / f)). A threshold of 0 gives None.
    """
    if not 0 <= threshold <= 1:
        raise ValueError(f"data.repeat_rare must be 0 (off) to 1, a share of the images; got {threshold}")
    if threshold == 0:
        return None
    labels = [np.unique(dataset.objects(index)[1]) for index in range(len(dataset))]
    labels = [of_image[of_image != IGNORE] for of_image in labels]
    share = np.bincount(np.concatenate(labels)) / len(dataset)
    factors = np.sqrt(threshold / np.maximum(share, 1 / len(dataset)))
    return np.array([max(1.0, factors[of_image].max(initial=1)) for of_image in labels])


def times_of_small(dataset: CocoDataset, factor: float) -> np.ndarray | None:
    """How often an epoch has each image (N,): ``factor`` where an object is under 32 x 32 pixels of the original.

    A factor of 1 gives None, each image once.
    """
    if not 1 <= factor < np.inf:
        raise ValueError(f"data.oversample_small must be 1 (as often as other images) or more; got {factor}")
    if factor == 1:
        return None
    times = np.ones(len(dataset))
    for index in range(len(dataset)):
        boxes, labels = dataset.objects(index)
        areas = (boxes[:, 2:] - boxes[:, :2]).prod(axis=1)
        if ((areas < SMALL_AREA) & (labels != IGNORE)).any():
            times[index] = factor
    return times


def aspect_groups(sizes: np.ndarray, factor: int) -> np.ndarray | None:
    """The group of aspect ratio of each image (N,) int64 by its size (height, width), as torchvision forms them.

    There are 2 ``factor`` + 1 bounds from 1:2 to 2:1, evenly spaced by logarithm; a factor of 0 gives None.
    """
    if factor < 0:
        raise ValueError(f"data.aspect_groups must be 0 (images of any shape together) or more; got {factor}")
    if factor == 0:
        return None
    bounds = 2 ** np.linspace(-1, 1, 2 * factor + 1)
    return np.searchsorted(bounds, sizes[:, 1] / sizes[:, 0], side="right")
