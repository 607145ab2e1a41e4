"""Pixels and boxes of an image that is turned as its EXIF orientation says; averages over blocks of pixels."""

from collections.abc import Sequence

import cv2
import numpy as np

_TURNS_ROWS, _TURNS_COLUMNS = (3, 4, 7, 8), (2, 3, 6, 7)  # orientations whose rows and columns run backward


def turn(image: np.ndarray, orientation: int) -> np.ndarray:
    """The upright picture (H, W, C) of stored pixels, which EXIF's ``orientation``, 1 to 8, says how to turn."""
    if orientation > 4:
        image = image.transpose(1, 0, 2)
    rows = -1 if orientation in _TURNS_ROWS else 1
    columns = -1 if orientation in _TURNS_COLUMNS else 1
    return np.ascontiguousarray(image[::rows, ::columns])


def turn_box(box: Sequence[float], size: tuple[int, int], orientation: int) -> list[float]:
    """Where a box (x, y, width, height) of a picture of ``size`` (height, width) is when ``turn`` has turned it."""
    (x, y, w, h), (height, width) = box, size
    if orientation > 4:
        x, y, w, h, height, width = y, x, h, w, width, height
    if orientation in _TURNS_ROWS:
        y = height - y - h
    if orientation in _TURNS_COLUMNS:
        x = width - x - w
    return [x, y, w, h]


def block_average(image: np.ndarray, width: int, height: int) -> np.ndarray:
    """Averages over blocks of ``width`` x ``height`` pixels; the last ones are filled up by repeating the edge.

    From (H, W, 3) uint8 to (ceil(H / height), ceil(W / width), 3) uint8, rounded.
    """
    if width == height == 1:
        return image
    missing_x, missing_y = -image.shape[1] % width, -image.shape[0] % height
    if missing_x or missing_y:
        image = cv2.copyMakeBorder(image, 0, missing_y, 0, missing_x, cv2.BORDER_REPLICATE)
    reduced = (image.shape[1] // width, image.shape[0] // height)
    # Halfway between two pixels the interpolation is their average, and several times faster.
    is_half = max(width, height) == 2
    return cv2.resize(image, reduced, interpolation=cv2.INTER_LINEAR if is_half else cv2.INTER_AREA)
