"""Priors, and what they are matched to, drawn on images."""

from collections.abc import Sequence

import cv2
import numpy as np
import torch

from lib.ops.matching import Matches
from lib.structures import BACKGROUND, Target
from lib.utils.draw import class_color
from lib.utils.sheet import enlarged, fitted, titled

OBJECT = (255, 255, 255)  # color of the objects themselves


def prior_pictures(
    image: np.ndarray, priors: torch.Tensor, maps: Sequence[tuple[int, int]], boxes_per_cell: Sequence[int]
) -> list[np.ndarray]:
    """A picture a level: the centers of all cells, and the priors of the one in the middle.

    Args:
        image: (H, W, 3) uint8 BGR, the network's input. priors: (P, 4) float32 xyxy in its pixels.
        maps: (height, width) of each level. boxes_per_cell: priors of a cell there.
    """
    pictures, first = [], 0
    for level, ((rows, columns), boxes) in enumerate(zip(maps, boxes_per_cell, strict=True)):
        cells = priors[first : first + rows * columns * boxes].reshape(rows * columns, boxes, 4).numpy()
        first += rows * columns * boxes
        middle = cells[rows // 2 * columns + columns // 2]  # (A, 4)
        picture, scale = fitted(image, enlarged(image.shape[:2]))
        for x, y in (cells[:, 0, :2] + cells[:, 0, 2:]) / 2 * scale:
            cv2.circle(picture, (round(float(x)), round(float(y))), 1, OBJECT, cv2.FILLED)
        for number, box in enumerate(middle):
            _draw(picture, box * scale, class_color(number), 2)
        sides = np.sqrt((middle[:, 2:] - middle[:, :2]).prod(axis=1))
        title = f"level {level}: {rows} x {columns} cells of {boxes}, {sides.min():.0f} to {sides.max():.0f} px"
        pictures.append(titled(picture, title))
    return pictures


def match_picture(image: np.ndarray, priors: torch.Tensor, target: Target, matches: Matches) -> np.ndarray:
    """One image with its objects in white and each one's priors in a color of its own.

    Args:
        image, priors: as of ``prior_pictures``.
        target: of this image alone, B = 1. matches: of the priors to it.
    """
    picture, scale = fitted(image, enlarged(image.shape[:2]))
    objects = target.boxes[0][target.labels[0] > BACKGROUND]  # (G, 4)
    is_positive = matches.labels[0] > BACKGROUND
    owner = torch.cdist(matches.boxes[0][is_positive], objects).argmin(dim=1).tolist() if len(objects) else []
    for box in objects.numpy():
        _draw(picture, box * scale, OBJECT, 2)
    for box, number in zip(priors[is_positive].numpy(), owner, strict=True):
        _draw(picture, box * scale, class_color(number), 1)
    without = len(objects) - len(set(owner))
    title = f"{len(objects)} objects, {int(is_positive.sum())} priors matched; {without} objects have none"
    return titled(picture, title)


def _draw(picture: np.ndarray, box: np.ndarray, color: tuple[int, int, int], thickness: int) -> None:
    """A box (4,) xyxy, drawn into the picture."""
    x1, y1, x2, y2 = (round(float(value)) for value in box)
    cv2.rectangle(picture, (x1, y1), (x2, y2), color, thickness)
