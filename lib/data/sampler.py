"""Which images each process loads, batch by batch: a function of (seed, epoch), whatever the number of processes."""

import itertools
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

_ROUNDING = 1e-6  # sums of ``times`` that are this close to a whole number count as it


class Key(NamedTuple):
    """What a sample depends on besides the seed: epoch, index of the image, how often the epoch had it before."""

    epoch: int
    image: int
    copy: int


@dataclass(eq=False)
class Steps:
    """A batch sampler: the keys of the images of each batch of this process, each epoch in an order of its own.

    An epoch is cut into steps of ``world_size * accumulate * batch_size`` images. Of each, process r takes every
    ``world_size``-th image from the r-th on, and cuts these into ``accumulate`` batches. So step k of all processes
    together holds the images of step k of one process with a batch as large, and so do their j-th batches.

    The sampler has no reference to the loader: a circle of references would keep torch from telling its workers to
    stop, and it would wait for each of them for five seconds.

    Attributes:
        num_batches: of a whole epoch of this process; the same in every epoch.
        epoch, start: what the next iteration gives, and the batch that it begins with.
    """

    count: int  # images of the data set
    batch_size: int  # images of a batch of this process; the last of an epoch may be smaller
    drop_last: bool = False  # leave out the images that do not fill a step of all processes
    seed: int = 0  # of the order
    rank: int = 0
    world_size: int = 1  # how many processes there are; this is the one of ``rank``
    accumulate: int = 1  # batches of a step of the optimizer; all lengths and positions count batches
    times: np.ndarray | None = None  # (N,) 1 or more: how often an epoch has each image, on average; None: once
    # (N,) int64 from 0: a step of all processes has images of one, or those that fill no step of theirs; None: of any
    groups: np.ndarray | None = None

    def __post_init__(self) -> None:
        batch_size, world_size, rank = self.batch_size, self.world_size, self.rank
        if batch_size < 1 or not 0 <= rank < world_size:
            got = f"{batch_size}, and {rank} of {world_size}"
            raise ValueError(f"a loader must have batch_size 1 or more, and rank below world_size; got {got}")
        self._group = np.zeros(self.count, np.int64) if self.groups is None else self.groups
        parts = world_size * self.accumulate
        self.step_size = parts * batch_size
        self.epoch, self.start = 0, 0
        images = self.count if self.times is None else int(self.times.sum() + _ROUNDING)  # of an epoch
        full, rest = divmod(images, self.step_size)
        num_rest = 0 if self.drop_last else -(-rest // (world_size * batch_size))
        self.num_batches = full * self.accumulate + num_rest
        if self.drop_last and not self.num_batches:
            choice = "a smaller train.batch_size" if images >= parts else f"data of {parts} images or more"
            raise ValueError(
                f"train.batch_size must be at most {images // parts * parts}, since training has {images} images and "
                f"needs one full step; got {self.step_size}: choose {choice}"
            )

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
        """The images of each step of all processes: a step comes as soon as it has its last image.

        The last images of each group, which fill no step of their own, are a further group, -1.
        """
        order = self._order()
        groups = self._group[order]
        in_full = np.bincount(groups) // self.step_size * self.step_size
        groups = np.where(_earlier(groups) < in_full[groups], groups, -1)
        waiting: dict[int, list[Key]] = defaultdict(list)
        for group, index, copy in zip(groups.tolist(), order.tolist(), _earlier(order).tolist(), strict=True):
            waiting[group].append(Key(self.epoch, index, copy))
            if len(waiting[group]) == self.step_size:
                yield waiting.pop(group)
        if waiting and not self.drop_last:
            (rest,) = waiting.values()
            missing = -len(rest) % self.world_size  # every process gets the same number of batches
            yield [*rest, *itertools.islice(itertools.cycle(rest), missing)]

    def _order(self) -> np.ndarray:
        """The indices of the epoch's images in its order (N,), some more than once if ``times`` says so.

        The fractions of ``times`` are added up over the images in random order, group by group; an image that lifts
        the sum over a whole number comes once more. So every epoch has the same number of images of each group.
        """
        rng = np.random.default_rng([self.seed, self.epoch])
        order = rng.permutation(self.count)
        if self.times is None:
            return order
        order = order[np.argsort(self._group[order], kind="stable")]
        ends = np.floor(np.cumsum(self.times[order]) + _ROUNDING)
        return rng.permutation(np.repeat(order, np.diff(ends, prepend=0).astype(np.int64)))


def _earlier(values: np.ndarray) -> np.ndarray:
    """How many equal values come before each; both (N,)."""
    order = np.argsort(values, kind="stable")
    ordered = values[order]
    counts = np.empty_like(order)
    counts[order] = np.arange(len(values)) - np.searchsorted(ordered, ordered)
    return counts
