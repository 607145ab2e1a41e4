"""What transforms share: the face that they show to ``Compose``, and the check of their options."""

from __future__ import annotations


class Transform:
    """A step of augmentation: ``step(sample, rng) -> Sample``.

    Attributes:
        on_pixels: whether it works on the small image, after the resampling; otherwise it moves boxes and layers.
        mixes: whether it takes other images in: ``step(sample, rng, others)``.
    """

    on_pixels = False
    mixes = False


def check_range(name: str, value: float, low: float, high: float) -> None:
    """Raises a ValueError that names the option unless ``low <= value <= high``."""
    if not low <= value <= high:
        raise ValueError(f"{name} must be from {low} to {high}; got {value}")


def check_pair(name: str, pair: tuple[float, float] | list[float], low: float, high: float) -> None:
    """Raises a ValueError unless ``pair`` is [least, greatest] within ``low .. high``."""
    if len(pair) != 2 or not low <= pair[0] <= pair[1] <= high:
        raise ValueError(f"{name} must be [least, greatest] from {low} to {high}; got {list(pair)}")
