"""Pictures of single objects and detections with their surroundings, for a report."""

import base64
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import cv2
import numpy as np

from lib.evaluation.arrays import DetectionTable, GroundTruth
from lib.utils.files import is_inside

SUBJECT, PRESENT, DETECTED = (0, 90, 230), (60, 170, 60), (210, 120, 20)  # BGR: orange, green, blue
SIDE = 245  # of a picture, px
_CONTEXT = 5.0  # sides of its subject that a picture shows


class Exhibit(NamedTuple):
    """What a picture of a gallery is about: an object or a detection."""

    image: int  # index into the ground truth's images
    box: np.ndarray  # (4,) float64 xywh, pixels of the image
    caption: str


class Picture(NamedTuple):
    """A picture of a page: the image file, what an ``img`` shows (None: nothing), the caption, what is wrong."""

    file: str
    source: str | None
    caption: str
    fault: str = ""


def draw_gallery(
    ground_truth: GroundTruth,
    shown: DetectionTable,
    exhibits: Sequence[Exhibit],
    files: Mapping[int, str],
    folder: Path,
    links: bool = False,
    read: Callable[[str], np.ndarray | None] | None = None,
) -> list[Picture]:
    """One picture for each exhibit: it in orange, objects in green, ``shown`` detections in blue with their scores.

    ``files`` has the name in ``folder`` of each image id. Files outside of the folder are not shown: whoever wrote the
    annotations could otherwise have any picture of the reader's in the page. ``links``: those in it are followed.
    ``read`` gives the picture (H, W, 3) uint8 BGR of a name, in whose pixels the boxes are; None: as OpenCV reads it.
    """
    pictures = []
    for exhibit in exhibits:
        name = files.get(int(ground_truth.image_ids[exhibit.image]), "")
        is_shown = is_inside(folder / name, folder) or (links and ".." not in Path(name).parts and name[:1] != "/")
        image = (read(name) if read else cv2.imread(str(folder / name), cv2.IMREAD_COLOR)) if is_shown else None
        fault = "cannot be read." if is_shown else "is outside of the image folder; --links shows what links lead to."
        source = None
        if image is not None:
            _, data = cv2.imencode(".jpg", _draw(image, ground_truth, shown, exhibit), [cv2.IMWRITE_JPEG_QUALITY, 88])
            source = f"data:image/jpeg;base64,{base64.b64encode(data.tobytes()).decode()}"
        pictures.append(Picture(name, source, f"{exhibit.caption}. {name}", fault))
    return pictures


def _draw(image: np.ndarray, ground_truth: GroundTruth, shown: DetectionTable, exhibit: Exhibit) -> np.ndarray:
    """(SIDE, SIDE, 3) uint8 BGR, the surroundings of the exhibit."""
    x, y, width, height = exhibit.box
    side = max(_CONTEXT * max(width, height), 48.0)
    scale, corner = SIDE / side, np.array([x + width / 2 - side / 2, y + height / 2 - side / 2])
    shift = np.array([[scale, 0, -scale * corner[0]], [0, scale, -scale * corner[1]]])
    picture = cv2.warpAffine(image, shift, (SIDE, SIDE), flags=cv2.INTER_CUBIC, borderValue=(235, 235, 235))

    def frame(box: np.ndarray, color: tuple[int, int, int], thickness: int) -> tuple[np.ndarray, np.ndarray]:
        start, end = (np.round((edge - corner) * scale).astype(int) for edge in (box[:2], box[:2] + box[2:]))
        cv2.rectangle(picture, start.tolist(), end.tolist(), color, thickness, cv2.LINE_AA)
        return start, end

    frame(exhibit.box, SUBJECT, 3)
    for box in ground_truth.xywh[(ground_truth.image == exhibit.image) & ~ground_truth.ignore]:
        frame(box, PRESENT, 1)
    for row in np.flatnonzero(shown.image == exhibit.image):
        start, end = frame(shown.xywh[row], DETECTED, 1)
        if (end > 0).all() and (start < SIDE).all():  # a label only for what is in view
            name, score = ground_truth.names[shown.category[row]], f"{shown.score[row]:.2f}"
            label = f"{name} {score}" if name.isascii() else score  # OpenCV has no other letters
            _write(picture, label, max(int(start[0]), 2), max(int(start[1]) - 3, 11))
    return picture


def _write(picture: np.ndarray, text: str, x: int, y: int) -> None:
    """Small text with a light rim, to be readable on any image."""
    rim = [(x + dx, y + dy, (255, 255, 255)) for dx in (-1, 0, 1) for dy in (-1, 0, 1)]
    for left, base, color in [*rim, (x, y, DETECTED)]:
        cv2.putText(picture, text, (left, base), cv2.FONT_HERSHEY_SIMPLEX, 0.38, color, 1, cv2.LINE_AA)
