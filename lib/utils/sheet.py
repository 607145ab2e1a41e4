"""Several pictures on one sheet."""

from collections.abc import Sequence

import cv2
import numpy as np

PAPER, INK = (255, 255, 255), (0, 0, 0)
GAP = 6  # pixels around each picture
STRIP = 18  # pixels of a title's height
SIDE = 480  # about the pixels of an enlarged picture's shorter side


def enlarged(size: Sequence[int]) -> tuple[int, int]:
    """The (height, width) at which a picture of ``size``, the network's input, is shown."""
    return round(size[0] * SIDE / min(size)), round(size[1] * SIDE / min(size))


def fitted(picture: np.ndarray, size: tuple[int, int]) -> tuple[np.ndarray, float]:
    """The picture scaled to fit into ``size`` (height, width), and the factor of its sides."""
    scale = min(size[0] / picture.shape[0], size[1] / picture.shape[1])
    sides = [max(round(side * scale), 1) for side in picture.shape[1::-1]]
    return cv2.resize(picture, sides, interpolation=cv2.INTER_AREA if scale < 1 else cv2.INTER_NEAREST), scale


def titled(picture: np.ndarray, title: str) -> np.ndarray:
    """(H + STRIP, W, 3): the picture with a line of text above it, cut off at its right edge."""
    strip = np.full((STRIP, picture.shape[1], 3), PAPER, np.uint8)
    cv2.putText(strip, title, (1, STRIP - 5), cv2.FONT_HERSHEY_SIMPLEX, 0.4, INK, 1, cv2.LINE_AA)
    return np.concatenate([strip, picture])


def picture_grid(pictures: Sequence[np.ndarray], columns: int) -> np.ndarray:
    """(H, W, 3) uint8: pictures (h, w, 3) row by row, in cells as large as the largest."""
    height, width = (max(picture.shape[axis] for picture in pictures) + GAP for axis in (0, 1))
    rows = -(-len(pictures) // columns)
    sheet = np.full((rows * height + GAP, columns * width + GAP, 3), PAPER, np.uint8)
    for number, picture in enumerate(pictures):
        top, left = number // columns * height + GAP, number % columns * width + GAP
        sheet[top : top + picture.shape[0], left : left + picture.shape[1]] = picture
    return sheet
