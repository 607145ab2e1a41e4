"""Which images each process loads, batch by batch: a function of (seed, epoch), whatever the number of processes."""

from __future__ import annotations

import itertools
from collections import defaultdict
from collections.abc import Iterator
from typing import Any

import numpy as np

from lib.structures import IGNORE

SMALL_AREA = 32**2  # px^2 of the original image: COCO's bound of small objects
_ROUNDING = 1e-6  # sums of ``times`` that come this close to a whole number are one

Key = tuple[int, int, int]  # (epoch, index, how often the epoch had that image before)


class Steps:
    """A batch sampler: the keys of the images of each batch of this process.

    An epoch is cut into steps of ``world_size * accumulate * batch_size`` images. Of each, process r takes every
    ``world_size``-th image from the r-th on, and cuts these into ``accumulate`` batches. So step k of all processes
    together holds the images of step k of one process with a batch as large, and so do their j-th batches.

    The sampler knows nothing of the loader: a circle of references would keep torch from telling its workers to
    stop, and it would wait for each of them for five seconds.

    Args:
        count: images of the data set.
        batch_size, shuffle, drop_last, seed, rank, world_size, accumulate, times, groups: see ``Loader``.

    Attributes:
        num_batches: of a whole epoch of this process; the same in every epoch.
        largest: images of the largest group.
        epoch, start: what the next iteration gives, and the batch that it begins with.
    """

    def __init__(
        self,
        count: int,
        batch_size: int,
        shuffle: bool,
        drop_last: bool,
        seed: int,
        rank: int,
        world_size: int,
        accumulate: int,
        times: np.ndarray | None,
        groups: np.ndarray | None,
    ):
        self.count, self.batch_size, self.shuffle, self.drop_last = count, batch_size, shuffle, drop_last
        self.seed, self.rank, self.world_size, self.times = seed, rank, world_size, times
        self.groups = np.zeros(count, np.int64) if groups is None else groups
        self.step_size = world_size * accumulate * batch_size
        self.epoch, self.start = 0, 0
        sums = np.cumsum(np.bincount(self.groups, times))
        sizes = np.diff(np.floor(sums + _ROUNDING), prepend=0).astype(np.int64)  # images of each group
        full, rest = np.divmod(sizes, self.step_size)
        shares = -(-(rest if shuffle else np.maximum(rest - rank, 0)) // world_size)
        num_rest = 0 if drop_last else -(-shares // batch_size)
        self.largest = int(sizes.max(initial=0))
        self.num_batches = int((full * accumulate + num_rest).sum())

    def __len__(self) -> int:
        return max(self.num_batches - self.start, 0)

    def __iter__(self) -> Iterator[list[Key]]:
        return itertools.islice(self._batches(), self.start, None)

    def _batches(self) -> Iterator[list[Key]]:
        for step in self._steps():
            share = step[self.rank :: self.world_size]
            for first in range(0, len(share), self.batch_size):
                yield share[first : first + self.batch_size]

    def _steps(self) -> Iterator[list[Key]]:
        """The images of each step of all processes, of one group: a step comes as soon as its last image does."""
        order = self._order()
        waiting: dict[int, list[Key]] = defaultdict(list)
        images = zip(self.groups[order].tolist(), order.tolist(), _earlier(order).tolist(), strict=True)
        for group, index, copy in images:
            waiting[group].append((self.epoch, index, copy))
            if len(waiting[group]) == self.step_size:
                yield waiting.pop(group)
        for rest in () if self.drop_last else waiting.values():
            missing = -len(rest) % self.world_size if self.shuffle else 0
            yield [*rest, *itertools.islice(itertools.cycle(rest), missing)]

    def _order(self) -> np.ndarray:
        """The indices of the epoch's images in its order (N,), some more than once if ``times`` says so.

        The parts of ``times`` after the point are added up over the images in random order, group by group; each
        that lifts the sum over a whole number comes once more. So every epoch has as many images of each group.
        """
        if not self.shuffle:
            return np.arange(self.count)
        rng = np.random.default_rng([self.seed, self.epoch])
        order = rng.permutation(self.count)
        if self.times is None:
            return order
        order = order[np.argsort(self.groups[order], kind="stable")]
        ends = np.floor(np.cumsum(self.times[order]) + _ROUNDING)
        return rng.permutation(np.repeat(order, np.diff(ends, prepend=0).astype(np.int64)))


def _earlier(values: np.ndarray) -> np.ndarray:
    """How many equal values come before each; both (N,)."""
    order = np.argsort(values, kind="stable")
    ordered = values[order]
    counts = np.empty_like(order)
    counts[order] = np.arange(len(values)) - np.searchsorted(ordered, ordered)
    return counts


def times_of_small(dataset: Any, factor: float) -> np.ndarray | None:
    """How often an epoch has each image (N,): ``factor`` where an object is under 32 x 32 pixels of the original.

    Args:
        dataset: ``objects(index)`` gives boxes (G, 4) and labels (G,) without opening the image.
        factor: 1 or more; 1 gives None, each image once.
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
    """The group of aspect ratio of each image (N,) int64, as torchvision forms them.

    Args:
        sizes: (N, 2) (height, width).
        factor: k of 2k + 1 bounds from 1:2 to 2:1, evenly spaced by logarithm; 0 gives None.
    """
    if factor < 0:
        raise ValueError(f"data.aspect_groups must be 0 (images of any shape together) or more; got {factor}")
    if factor == 0:
        return None
    bounds = 2 ** np.linspace(-1, 1, 2 * factor + 1)
    return np.searchsorted(bounds, sizes[:, 1] / sizes[:, 0], side="right")
