"""Numbers of more than 8 bits, integers or floats, as the gray levels 0 to 255."""

from typing import Any

import numpy as np

FULL, PERCENTILE = "full", "percentile"
Depth = str | tuple[float, float]
PERCENTILES = 0.1, 99.9  # which become black and white
_AT_ONCE = 2**20  # numbers that are scaled at a time, as it takes many times their memory
LITTLE = 0.1  # of the range of the type: an image that uses less of it comes out nearly uniform


def check_depth(value: Any, name: str) -> Depth:
    """``full``, ``percentile`` or (low, high), of what a config says at ``name``."""
    if value in (FULL, PERCENTILE):
        return str(value)
    is_pair = isinstance(value, (list, tuple)) and len(value) == 2 and all(type(x) in (int, float) for x in value)
    if not is_pair or not np.isfinite(value).all() or not value[0] < value[1]:
        raise ValueError(f"{name} must be full, percentile, or two numbers [low, high] with low < high; got {value!r}")
    return float(value[0]), float(value[1])


def check_bands(value: Any, name: str) -> tuple[int, ...] | None:
    """The numbers, from 1, of the bands for red, green and blue, or of one band, of what a config says at ``name``."""
    if value is None:
        return None
    is_list = isinstance(value, (list, tuple)) and len(value) in (1, 3)
    if not is_list or not all(type(band) is int and band >= 1 for band in value):
        raise ValueError(
            f"{name} must be three numbers of bands, from 1, for red, green and blue, or one for gray, such as "
            f"[3, 2, 1]; got {value!r}"
        )
    return tuple(value)


def uses_little(pixels: np.ndarray) -> bool:
    """Whether numbers lie within less than a tenth of the range that ``full`` shows, of integers that of their type."""
    if pixels.dtype.kind in "iu":
        info = np.iinfo(pixels.dtype)
        return float(pixels.max()) - float(pixels.min()) < LITTLE * (float(info.max) - float(info.min))
    finite = pixels[np.isfinite(pixels)]
    most = float(finite.max(initial=0))
    return finite.size > 0 and most - float(finite.min()) < LITTLE * (1 if most <= 1 else 255)


def to_8_bit(pixels: np.ndarray, low: float, high: float) -> np.ndarray:
    """uint8 gray levels of numbers of any type, (H, ...): 0 at ``low`` and below, 255 at ``high`` and above, NaN 0."""
    if pixels.dtype.kind in "iu" and pixels.itemsize <= 2:
        table = np.arange(2 ** (8 * pixels.itemsize)).astype(f"u{pixels.itemsize}")  # of all numbers, by their bits
        return _levels(table.view(pixels.dtype), low, high)[pixels.view(table.dtype)]
    levels = np.empty(pixels.shape, np.uint8)
    rows = max(1, _AT_ONCE // max(1, pixels[:1].size))
    for top in range(0, len(pixels), rows):
        levels[top : top + rows] = _levels(pixels[top : top + rows], low, high)
    return levels


def _levels(numbers: np.ndarray, low: float, high: float) -> np.ndarray:
    """What ``to_8_bit`` gives, in 30 bytes of memory for each number."""
    with np.errstate(over="ignore", invalid="ignore"):
        levels = (numbers.astype(np.float64) - low) * (255 / max(high - low, np.finfo(np.float64).tiny))
    return np.rint(np.clip(np.nan_to_num(levels, nan=0, posinf=255, neginf=0), 0, 255)).astype(np.uint8)


def limits(pixels: np.ndarray, depth: Depth, path: Any) -> tuple[float, float]:
    """The numbers that become black and white, of ``pixels`` of any type.

    Args:
        depth: ``full``, the ends of the type's range, of floats 0 and 1, or 0 and 255 if one is above 1;
            ``percentile``, those of these pixels, of all bands together; or two numbers.
        path: of the image, for the message where floats have another range than those.
    """
    if not isinstance(depth, str):
        return depth
    if depth == FULL and pixels.dtype.kind in "iu":
        info = np.iinfo(pixels.dtype)
        return float(info.min), float(info.max)
    finite = pixels if pixels.dtype.kind in "iu" else pixels[np.isfinite(pixels)]
    if finite.size == 0:
        return 0.0, 1.0
    if depth == PERCENTILE:
        low, high = map(float, np.percentile(finite, PERCENTILES))
        return low, high
    least, most = float(finite.min()), float(finite.max())
    if least < 0 or most > 255:
        raise ValueError(
            f"image {path} must have floating-point numbers in 0 .. 1 or 0 .. 255; got {least:g} to {most:g}: choose "
            "input.depth=percentile, or the numbers of black and white, such as input.depth=[200, 330]"
        )
    return 0.0, 1.0 if most <= 1 else 255.0
