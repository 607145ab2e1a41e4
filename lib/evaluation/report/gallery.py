"""Pictures of missed objects: a crop of the image with what is there and what was found."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np

from lib.evaluation.arrays import DetectionTable, GroundTruth

MISSED, PRESENT, FOUND = (0, 90, 230), (60, 170, 60), (210, 120, 20)  # BGR: orange, green, blue
SIDE = 245  # of a picture, px
_CONTEXT = 5.0  # sides of the object that a picture shows


def draw_miss(path: Path, ground_truth: GroundTruth, shown: DetectionTable, thing: int) -> np.ndarray | None:
    """A square picture around a missed object; None where the image cannot be read.

    Args:
        path: of the image.
        ground_truth: its objects are drawn in green, the missed one in orange.
        shown: detections to draw, in blue with their scores.
        thing: the missed object.

    Returns:
        (245, 245, 3) uint8, BGR.
    """
    image = cv2.imread(str(path), cv2.IMREAD_COLOR)
    if image is None:
        return None
    x, y, width, height = ground_truth.xywh[thing]
    side = max(_CONTEXT * max(width, height), 48.0)
    scale, corner = SIDE / side, np.array([x + width / 2 - side / 2, y + height / 2 - side / 2])
    shift = np.array([[scale, 0, -scale * corner[0]], [0, scale, -scale * corner[1]]])
    picture = cv2.warpAffine(image, shift, (SIDE, SIDE), flags=cv2.INTER_CUBIC, borderValue=(235, 235, 235))

    def frame(box: np.ndarray, colour: tuple[int, int, int], thickness: int) -> tuple[np.ndarray, np.ndarray]:
        start, end = (np.round((edge - corner) * scale).astype(int) for edge in (box[:2], box[:2] + box[2:]))
        cv2.rectangle(picture, start.tolist(), end.tolist(), colour, thickness, cv2.LINE_AA)
        return start, end

    of_image = ground_truth.image[thing]
    for row in np.flatnonzero((ground_truth.image == of_image) & ~ground_truth.ignore):
        frame(ground_truth.xywh[row], MISSED if row == thing else PRESENT, 2 if row == thing else 1)
    for row in np.flatnonzero(shown.image == of_image):
        start, end = frame(shown.xywh[row], FOUND, 1)
        if (end > 0).all() and (start < SIDE).all():  # a label only for what can be seen
            label = f"{ground_truth.names[shown.category[row]]} {shown.score[row]:.2f}"
            _write(picture, label, max(int(start[0]), 2), max(int(start[1]) - 3, 11))
    return picture


def _write(picture: np.ndarray, text: str, x: int, y: int) -> None:
    """Small text on a light rim, so that it can be read on any image."""
    rim = [(x + dx, y + dy, (255, 255, 255)) for dx in (-1, 0, 1) for dy in (-1, 0, 1)]
    for left, base, colour in [*rim, (x, y, FOUND)]:
        cv2.putText(picture, text, (left, base), cv2.FONT_HERSHEY_SIMPLEX, 0.38, colour, 1, cv2.LINE_AA)
