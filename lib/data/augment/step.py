"""What the steps of augmentation share: how they are called, and their options with the check of them."""

import dataclasses
import re
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from lib.structures import Sample

Others = Callable[[np.random.Generator], Sample]


def no_others(rng: np.random.Generator) -> Sample:
    """Stands for the other samples where no step is to ask for one."""
    raise AssertionError("a step that mixes images must be given other samples")


def number(default: Any, low: float, high: float) -> Any:
    """An option of a step: a number, or several, each of ``low .. high``."""
    return dataclasses.field(default=default, metadata={"low": low, "high": high, "is_range": False})


def number_range(default: tuple[float, float], low: float, high: float) -> Any:
    """An option of a step: [least, greatest], both of ``low .. high``."""
    return dataclasses.field(default=default, metadata={"low": low, "high": high, "is_range": True})


class Transform:
    """A step of augmentation, a dataclass of its options."""

    p: float | None = None  # probability that it acts; None: it always does
    input_size: tuple[int, int] = (300, 300)  # (height, width) of the network's input, as build_transform sets it
    on_pixels = False  # whether it works on the small image, after the resampling; else it moves boxes and layers
    must_leave_objects = False  # whether the sample as loaded replaces one that has lost all of its objects after it

    def __post_init__(self: Any) -> None:
        step = re.sub("(?<=.)(?=[A-Z])", "_", type(self).__name__).lower()  # IouCrop: iou_crop
        for field in dataclasses.fields(self):
            if field.metadata:
                check_option(f"{step}.{field.name}", getattr(self, field.name), **field.metadata)

    def __call__(self, sample: Sample, rng: np.random.Generator, others: Others = no_others) -> Sample:
        """The changed sample; or the sample itself, if the step is not to act this time.

        ``rng`` decides all that is random; ``others(rng)`` gives another sample of the data set, as loaded.
        """
        if self.p is not None and rng.random() >= self.p:
            return sample
        return self.apply(sample, rng, others)

    def apply(self, sample: Sample, rng: np.random.Generator, others: Others) -> Sample:
        """The changed sample; the arguments are those of a call."""
        raise NotImplementedError


def check_option(name: str, value: Any, low: float, high: float, is_range: bool = False) -> None:
    """Raises a ValueError that names the option unless its value is one that ``number`` or ``number_range`` take."""
    if is_range:
        if len(value) != 2 or not low <= value[0] <= value[1] <= high:
            raise ValueError(f"{name} must be [least, greatest] from {low} to {high}; got {list(value)}")
        return
    for each in value if isinstance(value, Sequence) else [value]:
        if not low <= each <= high:
            raise ValueError(f"{name} must be from {low} to {high}; got {each}")
