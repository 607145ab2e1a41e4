"""What the steps of augmentation share: how they are called, and the check of their options."""

from collections.abc import Callable, Sequence
from typing import TypeVar

import numpy as np

from lib.structures import Sample

Number = TypeVar("Number", int, float)
Others = Callable[[np.random.Generator], Sample]


def no_others(rng: np.random.Generator) -> Sample:
    """Stands for the other samples where no step is to ask for one."""
    raise AssertionError("a step that mixes images must be given other samples")


class Transform:
    """A step of augmentation.

    Attributes:
        p: probability that it acts; None: it always does.
        on_pixels: whether it works on the small image, after the resampling; otherwise it moves boxes and layers.
    """

    p: float | None = None
    on_pixels = False

    def __call__(self, sample: Sample, rng: np.random.Generator, others: Others = no_others) -> Sample:
        """The changed sample; or the sample itself, if the step is not to act this time.

        Args:
            sample: as the step before has left it.
            rng: decides all that is random.
            others: ``others(rng)`` gives another sample of the data set, as loaded.
        """
        if self.p is not None and rng.random() >= self.p:
            return sample
        return self.apply(sample, rng, others)

    def apply(self, sample: Sample, rng: np.random.Generator, others: Others) -> Sample:
        """The changed sample; the arguments are those of a call."""
        raise NotImplementedError


def in_range(name: str, value: Number, low: float, high: float) -> Number:
    """The value of an option; raises a ValueError that names it unless ``low <= value <= high``."""
    if not low <= value <= high:
        raise ValueError(f"{name} must be from {low} to {high}; got {value}")
    return value


def pair_in_range(name: str, pair: Sequence[float], low: float, high: float) -> tuple[float, float]:
    """The value of an option; raises a ValueError unless it is [least, greatest] within ``low .. high``."""
    if len(pair) != 2 or not low <= pair[0] <= pair[1] <= high:
        raise ValueError(f"{name} must be [least, greatest] from {low} to {high}; got {list(pair)}")
    return pair[0], pair[1]
