"""Boxes drawn on images so that they stay readable on objects of a few pixels."""

import colorsys
import unicodedata
from collections.abc import Sequence
from typing import NamedTuple

import cv2
import numpy as np

from lib.structures import Detections

FONT = cv2.FONT_HERSHEY_SIMPLEX
TEXT_SIZE = 0.38  # of OpenCV's font
# A line has one pixel for so many pixels of an image's shorter side, and of the median object's side
LINE_SIDE, LINE_OBJECT = 900, 40
ENLARGED_SIDE = 640  # pixels: pictures whose shorter side is under two thirds of it are enlarged to about it
LONGEST_SIDE = 4096  # pixels, to which the longer side may grow by that
FIRST_HUE = 0.155  # of label 1: yellow, which stands out on plants, water, streets and shadows alike
DARK = 110  # luminance of 255 up to which a color needs white text
MOST_NAMED = 2000  # boxes of an image: to find places for the names of more takes long, and nobody could read them
MOST_HIDDEN = 0.6  # share of a label that may lie on boxes and other labels; one that would hide more is left out


class Mark(NamedTuple):
    """A line through points, drawn beside the boxes."""

    points: Sequence[Sequence[float]]  # (N, 2) x, y in pixels of the image
    color: tuple[int, int, int]  # (B, G, R)
    text: str = ""  # beside the first point
    is_arrow: bool = False  # whether the end of its last piece has a head


def class_color(label: int) -> tuple[int, int, int]:
    """(B, G, R) of a class: bright, and far from those of its neighbors; that of label 1 is yellow."""
    red, green, blue = colorsys.hsv_to_rgb((FIRST_HUE + (label - 1) * 0.618034) % 1.0, 0.8, 1.0)
    return int(255 * blue), int(255 * green), int(255 * red)


def draw_boxes(
    image: np.ndarray,
    boxes: np.ndarray,
    labels: np.ndarray,
    names: Sequence[str],
    scores: np.ndarray | None = None,
    numbers: Sequence[int] | None = None,
) -> np.ndarray:
    """A copy of the image with a thin box around each object, one pixel off it so as not to hide it.

    Names stand beside the boxes where they hide least. In a crowd, where they would hide too much, and with more than
    MOST_NAMED boxes, a box has no name: its color tells the class. Where there is one class only, no box has a name,
    but its number if there are some. Instead of names that OpenCV cannot draw, such as Chinese ones, classes have
    their numbers.

    Args:
        image: (H, W, 3) uint8 BGR.
        boxes: (D, 4) xyxy in its pixels.
        labels: (D,) from 1 on.
        names: of label 1, 2, ...
        scores: (D,); written behind the name if given. Names get their places in the order of the boxes.
        numbers: (D,); of the objects' tracks, written before the name if given.
    """
    names = _drawable(names)
    canvas = np.ascontiguousarray(image).copy()
    thickness = _thickness(canvas.shape, boxes)
    corners = [np.trunc(boxes[:, :2]) - 1 - thickness, np.ceil(boxes[:, 2:]) + thickness]
    frames = np.concatenate(corners, axis=1).astype(int)
    for frame, label in zip(frames, labels, strict=True):
        cv2.rectangle(canvas, frame[:2].tolist(), frame[2:].tolist(), class_color(int(label)), thickness)
    if (len(names) == 1 and numbers is None) or len(boxes) > MOST_NAMED:
        return canvas
    taken = frames.astype(float)
    for row, (frame, label) in enumerate(zip(frames, labels, strict=True)):
        words = [f"#{numbers[row]}"] if numbers is not None else []
        words += [names[int(label) - 1]] if len(names) > 1 else []
        text = " ".join([*words, *([] if scores is None or len(names) == 1 else [f"{scores[row]:.2f}"])])
        plate = _place(text, frame, taken, canvas.shape, thickness)
        if plate is not None:
            _write(canvas, text, plate, class_color(int(label)), thickness)
            taken = np.vstack([taken, plate])
    return canvas


def _drawable(names: Sequence[str]) -> list[str]:
    """The names of label 1, 2, ... in letters that OpenCV can draw, which are those of ASCII: ``a`` for ``ä``, and the
    class's number where most letters have nothing like it, as in Chinese.
    """
    plain = [
        unicodedata.normalize("NFKD", name.replace("ß", "ss")).encode("ascii", "ignore").decode() for name in names
    ]
    return [
        text if 2 * len(text) >= len(name) else f"class {label}"
        for label, (name, text) in enumerate(zip(names, plain, strict=True), 1)
    ]


def _thickness(shape: tuple, boxes: np.ndarray) -> int:
    """Pixels of a line and of the strokes of text: more in large images, but not where objects are small."""
    sides = np.sqrt((boxes[:, 2:] - boxes[:, :2]).clip(0).prod(axis=1)) if len(boxes) else np.zeros(1)
    return max(1, round(min(min(shape[:2]) / LINE_SIDE, float(np.median(sides)) / LINE_OBJECT)))


def _place(text: str, frame: np.ndarray, taken: np.ndarray, shape: tuple, thickness: int) -> np.ndarray | None:
    """(4,) xyxy of the plate of a label, above, below or beside its box, inside the image; None: no room."""
    (width, height), below = cv2.getTextSize(text, FONT, TEXT_SIZE * thickness, thickness)
    width, height = width + 2, height + below
    x1, y1, x2, y2 = frame.tolist()
    corners = [(x, y) for x in (x1, x2 - width) for y in (y1 - height, y2)] + [(x2, y1), (x1 - width, y1)]
    low = np.clip(corners, 0, np.maximum([shape[1] - width, shape[0] - height], 0))  # (6, 2)
    plates = np.concatenate([low, low + [width, height]], axis=1)
    shared = np.minimum(plates[:, None, 2:], taken[:, 2:]) - np.maximum(plates[:, None, :2], taken[:, :2])
    hidden = shared.clip(0).prod(axis=2).sum(axis=1) / (width * height)
    best = int(hidden.argmin())
    return plates[best] if hidden[best] <= MOST_HIDDEN else None


def _write(canvas: np.ndarray, text: str, plate: np.ndarray, color: tuple, thickness: int) -> None:
    """Black or white, whichever stands out, on a plate of the class's color."""
    ink = (0, 0, 0) if np.dot(color, (0.114, 0.587, 0.299)) > DARK else (255, 255, 255)
    x1, y1, x2, y2 = plate.tolist()
    cv2.rectangle(canvas, (x1, y1), (x2 - 1, y2 - 1), color, cv2.FILLED)
    _, below = cv2.getTextSize(text, FONT, TEXT_SIZE * thickness, thickness)
    cv2.putText(canvas, text, (x1 + 1, y2 - below), FONT, TEXT_SIZE * thickness, ink, thickness, cv2.LINE_AA)


def draw_detections(
    image: np.ndarray,
    detections: Detections,
    names: Sequence[str],
    numbers: Sequence[int] | None = None,
    marks: Sequence[Mark] = (),
) -> np.ndarray:
    """The image with its detections; a small image is enlarged for them. A single class is counted in the corner.

    ``numbers`` are those of the detections' tracks; ``marks`` lie below the boxes.
    """
    boxes, scores, labels = (value.cpu().numpy() for value in detections)
    short, long = sorted(image.shape[:2])
    zoom = max(1, min(round(ENLARGED_SIDE / short), LONGEST_SIDE // long))
    if zoom > 1:
        image = image.repeat(zoom, axis=0).repeat(zoom, axis=1)
    canvas = draw_boxes(_draw_marks(image, marks, zoom), boxes * zoom, labels, names, scores, numbers)
    if len(names) == 1:
        text, thickness = f"{_drawable(names)[0]}: {len(boxes)}", max(1, round(min(canvas.shape[:2]) / LINE_SIDE))
        (width, height), below = cv2.getTextSize(text, FONT, TEXT_SIZE * thickness, thickness)
        _write(canvas, text, np.array([0, 0, width + 2, height + below]), class_color(1), thickness)
    return canvas


def _draw_marks(image: np.ndarray, marks: Sequence[Mark], zoom: int) -> np.ndarray:
    """The image, already enlarged ``zoom`` times, or a copy of it with the marks."""
    if not marks:
        return image
    canvas, thickness = np.ascontiguousarray(image).copy(), max(1, round(min(image.shape[:2]) / LINE_SIDE))
    for mark in marks:
        points = np.rint(np.array(mark.points) * zoom).astype(np.int32)
        cv2.polylines(canvas, [points], False, mark.color, thickness, cv2.LINE_AA)
        if mark.is_arrow:
            length = float(np.linalg.norm(points[-1] - points[-2]))
            ends = points[-2].tolist(), points[-1].tolist()
            cv2.arrowedLine(
                canvas, *ends, mark.color, thickness, cv2.LINE_AA, tipLength=12 * thickness / max(length, 1)
            )
        if mark.text:
            (width, height), below = cv2.getTextSize(mark.text, FONT, TEXT_SIZE * thickness, thickness)
            room = np.array([canvas.shape[1] - width - 2, canvas.shape[0] - height - below])
            low = np.clip(points[0] + 2 * thickness, 0, room.clip(0))
            plate = np.concatenate([low, low + [width + 2, height + below]])
            _write(canvas, mark.text, plate, mark.color, thickness)
    return canvas
