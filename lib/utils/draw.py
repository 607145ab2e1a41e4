"""Boxes drawn on images so that they stay readable on objects of a few pixels."""

from __future__ import annotations

import colorsys
from collections.abc import Sequence

import cv2
import numpy as np

from lib.structures import Detections

FONT = cv2.FONT_HERSHEY_SIMPLEX


def class_color(label: int) -> tuple[int, int, int]:
    """(B, G, R) of a class: bright, and far from those of its neighbours."""
    red, green, blue = colorsys.hsv_to_rgb(label * 0.618034 % 1.0, 0.75, 1.0)
    return int(255 * blue), int(255 * green), int(255 * red)


def draw_boxes(
    image: np.ndarray,
    boxes: np.ndarray,
    labels: np.ndarray,
    names: Sequence[str],
    scores: np.ndarray | None = None,
) -> np.ndarray:
    """A copy of the image with a thin box around each object, one pixel off it so as not to hide it.

    Args:
        image: (H, W, 3) uint8 BGR.
        boxes: (D, 4) xyxy in its pixels.
        labels: (D,) from 1 on.
        names: of label 1, 2, ...
        scores: (D,); written behind the name if given.
    """
    canvas = np.ascontiguousarray(image).copy()
    for row in range(len(boxes)):
        x1, y1, x2, y2 = boxes[row]
        low, high = (int(x1) - 2, int(y1) - 2), (int(np.ceil(x2)) + 1, int(np.ceil(y2)) + 1)
        color = class_color(int(labels[row]))
        cv2.rectangle(canvas, low, high, color, 1)
        text = names[int(labels[row]) - 1] + ("" if scores is None else f" {scores[row]:.2f}")
        _label(canvas, text, low, high, color)
    return canvas


def _label(canvas: np.ndarray, text: str, low: tuple[int, int], high: tuple[int, int], color: tuple) -> None:
    """Writes above the box, or below it where there is no room; inside the image in any case."""
    (width, height), _ = cv2.getTextSize(text, FONT, 0.32, 1)
    x = max(0, min(low[0], canvas.shape[1] - width))
    y = low[1] - 3 if low[1] - 3 - height >= 0 else min(high[1] + height + 3, canvas.shape[0] - 1)
    cv2.putText(canvas, text, (x, y), FONT, 0.32, (0, 0, 0), 2, cv2.LINE_AA)
    cv2.putText(canvas, text, (x, y), FONT, 0.32, color, 1, cv2.LINE_AA)


def draw_detections(
    image: np.ndarray, detections: Detections, names: Sequence[str], min_score: float = 0.3
) -> np.ndarray:
    """The image with the detections whose score is ``min_score`` or more."""
    boxes, scores, labels = (value.cpu().numpy() for value in detections)
    keep = scores >= min_score
    return draw_boxes(image, boxes[keep], labels[keep], names, scores[keep])
