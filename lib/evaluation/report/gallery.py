"""Pictures of missed objects: a crop of the image with the objects and the detections in it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import cv2
import numpy as np

from lib.evaluation.arrays import DetectionTable, GroundTruth
from lib.evaluation.report.html import image_source
from lib.evaluation.report.misses import Miss

MISSED, PRESENT, DETECTED = (0, 90, 230), (60, 170, 60), (210, 120, 20)  # BGR: orange, green, blue
SIDE = 245  # of a picture, px
_CONTEXT = 5.0  # sides of the object that a picture shows


class Picture(NamedTuple):
    """A picture of a page: the image file, what an ``img`` shows (None: the file cannot be read), the caption."""

    file: str
    source: str | None
    caption: str


def draw_gallery(
    ground_truth: GroundTruth, shown: DetectionTable, misses: Sequence[Miss], files: Mapping[int, str], folder: Path
) -> list[Picture]:
    """One picture for each miss.

    Args:
        ground_truth: its objects are drawn in green, the missed one in orange.
        shown: detections to draw, in blue with their scores.
        misses: objects of the ground truth, with the reason for the caption.
        files: image id -> name of its file in ``folder``.
    """
    pictures = []
    for index, reason in misses:
        name = files.get(int(ground_truth.image_ids[ground_truth.image[index]]), "")
        image = cv2.imread(str(folder / name), cv2.IMREAD_COLOR)
        source = None if image is None else image_source(_draw(image, ground_truth, shown, index))
        side = np.sqrt(ground_truth.area[index])
        kind = ground_truth.names[ground_truth.category[index]]
        pictures.append(Picture(name, source, f"{kind}, {side:.0f} px: {reason}. {name}"))
    return pictures


def _draw(image: np.ndarray, ground_truth: GroundTruth, shown: DetectionTable, missed: int) -> np.ndarray:
    """(SIDE, SIDE, 3) uint8 BGR, the surroundings of the missed object."""
    x, y, width, height = ground_truth.xywh[missed]
    side = max(_CONTEXT * max(width, height), 48.0)
    scale, corner = SIDE / side, np.array([x + width / 2 - side / 2, y + height / 2 - side / 2])
    shift = np.array([[scale, 0, -scale * corner[0]], [0, scale, -scale * corner[1]]])
    picture = cv2.warpAffine(image, shift, (SIDE, SIDE), flags=cv2.INTER_CUBIC, borderValue=(235, 235, 235))

    def frame(box: np.ndarray, color: tuple[int, int, int], thickness: int) -> tuple[np.ndarray, np.ndarray]:
        start, end = (np.round((edge - corner) * scale).astype(int) for edge in (box[:2], box[:2] + box[2:]))
        cv2.rectangle(picture, start.tolist(), end.tolist(), color, thickness, cv2.LINE_AA)
        return start, end

    of_image = ground_truth.image[missed]
    for row in np.flatnonzero((ground_truth.image == of_image) & ~ground_truth.ignore):
        frame(ground_truth.xywh[row], MISSED if row == missed else PRESENT, 2 if row == missed else 1)
    for row in np.flatnonzero(shown.image == of_image):
        start, end = frame(shown.xywh[row], DETECTED, 1)
        if (end > 0).all() and (start < SIDE).all():  # a label only for what is in view
            label = f"{ground_truth.names[shown.category[row]]} {shown.score[row]:.2f}"
            _write(picture, label, max(int(start[0]), 2), max(int(start[1]) - 3, 11))
    return picture


def _write(picture: np.ndarray, text: str, x: int, y: int) -> None:
    """Small text with a light rim, to be readable on any image."""
    rim = [(x + dx, y + dy, (255, 255, 255)) for dx in (-1, 0, 1) for dy in (-1, 0, 1)]
    for left, base, color in [*rim, (x, y, DETECTED)]:
        cv2.putText(picture, text, (left, base), cv2.FONT_HERSHEY_SIMPLEX, 0.38, color, 1, cv2.LINE_AA)
