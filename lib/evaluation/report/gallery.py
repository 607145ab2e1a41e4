"""The misses that a reader should look at, each with a picture and with what was detected instead."""

import base64
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import cv2
import numpy as np

from lib.evaluation.analysis import IOU, Judgement
from lib.evaluation.arrays import DetectionTable, GroundTruth
from lib.evaluation.matching import find_pairs
from lib.utils.files import is_inside

MISSED, PRESENT, DETECTED = (0, 90, 230), (60, 170, 60), (210, 120, 20)  # BGR: orange, green, blue
SIDE = 245  # of a picture, px
_CONTEXT = 5.0  # sides of the object that a picture shows
_NEAR = 0.1  # least overlap of a box that may have been meant for the object


class Miss(NamedTuple):
    """A missed object: its index in the ground truth, and what was detected instead, in words."""

    object: int
    reason: str


class Picture(NamedTuple):
    """A picture of a page: the image file, what an ``img`` shows (None: nothing), the caption, what is wrong."""

    file: str
    source: str | None
    caption: str
    fault: str = ""


def worst_misses(
    ground_truth: GroundTruth,
    detections: DetectionTable,
    judged: Judgement,
    score: float,
    side: float,
    number: int = 24,
    per_image: int = 2,
) -> list[Miss]:
    """Missed objects up to a size, the largest first, because they should be the easiest.

    Args:
        judged: what ``judge`` gave for the ground truth and detections.
        score: an object is missed if no detection with at least this score finds it.
        side: square root of the largest area, px.
        number: of misses at most, and ``per_image`` of one image.
    """
    is_missed = judged.counting & ~(judged.score_of >= score) & (ground_truth.area <= side**2)
    rows = np.flatnonzero(is_missed)
    rows = rows[np.argsort(-ground_truth.area[rows], kind="stable")]
    taken: Counter[int] = Counter()
    chosen = []
    for row, image in zip(rows.tolist(), ground_truth.image[rows].tolist(), strict=True):
        taken[image] += 1
        if taken[image] <= per_image:
            chosen.append(row)
    shown = detections.select(detections.score >= score)
    return [Miss(row, _reason(ground_truth, shown, judged, row)) for row in chosen[:number]]


def _reason(ground_truth: GroundTruth, shown: DetectionTable, judged: Judgement, row: int) -> str:
    """What the detections above the score make of a missed object."""
    pairs = find_pairs(ground_truth.select(np.array([row])), shown, _NEAR, same_class=False)
    is_same = shown.category[pairs.detection] == ground_truth.category[row]
    other = np.where(is_same, 0, pairs.iou)
    if other.max(initial=0) >= IOU:
        detection = pairs.detection[other.argmax()]
        return f"taken for {ground_truth.names[shown.category[detection]]} ({shown.score[detection]:.2f})"
    if is_same.any():
        best = pairs.iou[is_same].max()
        if best >= IOU:
            return "its detection finds another object"  # one that overlaps it
        return f"box off, IoU {np.floor(100 * best) / 100:.2f}"
    if np.isfinite(judged.score_of[row]):
        return f"found, but only with {judged.score_of[row]:.2f}"
    return "nothing near"


def draw_gallery(
    ground_truth: GroundTruth,
    shown: DetectionTable,
    misses: Sequence[Miss],
    files: Mapping[int, str],
    folder: Path,
    links: bool = False,
    read: Callable[[str], np.ndarray | None] | None = None,
) -> list[Picture]:
    """One picture for each miss: it in orange, other objects in green, ``shown`` detections in blue with their scores.

    ``files`` has the name in ``folder`` of each image id. Files outside of the folder are not shown: whoever wrote the
    annotations could otherwise have any picture of the reader's in the page. ``links``: those in it are followed.
    ``read`` gives the picture (H, W, 3) uint8 BGR of a name, in whose pixels the boxes are; None: as OpenCV reads it.
    """
    pictures = []
    for index, reason in misses:
        name = files.get(int(ground_truth.image_ids[ground_truth.image[index]]), "")
        is_shown = is_inside(folder / name, folder) or (links and ".." not in Path(name).parts and name[:1] != "/")
        image = (read(name) if read else cv2.imread(str(folder / name), cv2.IMREAD_COLOR)) if is_shown else None
        fault = "cannot be read." if is_shown else "is outside of the image folder; --links shows what links lead to."
        source = None
        if image is not None:
            _, data = cv2.imencode(".jpg", _draw(image, ground_truth, shown, index), [cv2.IMWRITE_JPEG_QUALITY, 88])
            source = f"data:image/jpeg;base64,{base64.b64encode(data.tobytes()).decode()}"
        side = np.sqrt(ground_truth.area[index])
        kind = ground_truth.names[ground_truth.category[index]]
        pictures.append(Picture(name, source, f"{kind}, {side:.0f} px: {reason}. {name}", fault))
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
