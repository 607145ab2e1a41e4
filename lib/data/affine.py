"""Where the pixels of a sample have to go: steps composed into one affine map, then resampled once.

Coordinates are continuous, pixel (0, 0) covers 0 .. 1, so the centre of a pixel lies at a half. Steps scale,
shift and mirror; none turns or shears.
"""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np

from lib.structures import Sample

IDENTITY = np.eye(2, 3)
MARGIN = 2  # source pixels that bilinear interpolation may reach beyond the part that is shown


def canvas_size(sample: Sample) -> tuple[float, float]:
    """(height, width) of the frame that the boxes of a sample lie in."""
    return sample.canvas or sample.image.shape[:2]


def moved(
    sample: Sample, scale: tuple[float, float], shift: tuple[float, float], canvas: tuple[float, float]
) -> Sample:
    """The sample on a new canvas: boxes moved at once, pixels later.

    Args:
        sample: any.
        scale, shift: (x, y); a point p of the old canvas goes to ``scale * p + shift``. A negative scale
            mirrors.
        canvas: (height, width) of the new one. Neither boxes nor content are clipped to it.
    """
    scale, shift = np.asarray(scale, np.float64), np.asarray(shift, np.float64)
    matrix = (IDENTITY if sample.matrix is None else sample.matrix) * scale[:, None]
    matrix[:, 2] += shift
    boxes = _move(sample.boxes, scale, shift).astype(np.float32)
    content = _move(np.array([content_box(sample)]), scale, shift)[0]
    return sample._replace(boxes=boxes, matrix=matrix, canvas=canvas, content=tuple(content.tolist()))


def content_box(sample: Sample) -> tuple[float, float, float, float]:
    """(left, top, right, bottom) of what is no filling, in pixels of the canvas."""
    return sample.content or (0, 0, *sample.image.shape[1::-1])


def _move(boxes: np.ndarray, scale: np.ndarray, shift: np.ndarray) -> np.ndarray:
    """(G, 4) xyxy boxes scaled, shifted and, where the scale is negative, mirrored."""
    corners = boxes.reshape(-1, 2, 2) * scale + shift  # (G, 2 corners, xy)
    return np.concatenate([corners.min(axis=1), corners.max(axis=1)], axis=1)


def selected(sample: Sample, keep: np.ndarray) -> Sample:
    """The sample with the boxes where ``keep`` (G,) is true."""
    return sample._replace(boxes=sample.boxes[keep], labels=sample.labels[keep])


def resample(sample: Sample, fill: Sequence[float]) -> Sample:
    """Carries out the pending map: bilinear, and averaged before where it shrinks by 2 and more.

    Args:
        sample: one whose canvas has whole numbers as its size.
        fill: (3,) uint8 BGR colour of what the image does not cover.

    Returns:
        The sample with an image of the canvas's size and nothing pending.
    """
    height, width = sample.canvas
    left, top, right, bottom = (int(value) for value in np.round(sample.content))
    left, top, right, bottom = max(left, 0), max(top, 0), min(right, width), min(bottom, height)
    covered = (right - left, bottom - top)  # (width, height)
    if min(covered) < 1:
        image, content = np.full((height, width, 3), fill, np.uint8), (0, 0, 0, 0)
    else:
        image, content = _draw(sample.image, sample.matrix, (left, top), covered), (left, top, right, bottom)
        if covered != (width, height):
            drawn, image = image, np.full((height, width, 3), fill, np.uint8)
            image[top:bottom, left:right] = drawn
    return sample._replace(image=image, matrix=None, canvas=None, content=content)


def _draw(
    image: np.ndarray, matrix: np.ndarray, corner: tuple[int, int], covered: tuple[int, int]
) -> np.ndarray:
    """The part of the canvas that begins at ``corner`` (x, y) and is ``covered`` (width, height) large."""
    source, scale, shift = _source_part(image, np.diag(matrix[:, :2]), matrix[:, 2] - corner, covered)
    # OpenCV counts from the centre of the first pixel, and wants the way back
    back = np.column_stack([np.diag(1 / scale), (0.5 - shift) / scale - 0.5])
    flags = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
    return cv2.warpAffine(source, back, covered, flags=flags, borderMode=cv2.BORDER_REPLICATE)


def _source_part(
    image: np.ndarray, scale: np.ndarray, shift: np.ndarray, covered: tuple[int, int]
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The pixels that are needed, averaged over whole blocks where that is safe, with the map from there."""
    block = np.maximum(np.floor(1 / np.abs(scale) + 1e-6), 1).astype(int)  # (x, y), source pixels
    ends = (np.array([[0, 0], covered]) - shift) / scale
    first = np.floor(ends.min(axis=0)).astype(int) - MARGIN * block
    first = np.maximum(first, 0)
    last = np.minimum(np.ceil(ends.max(axis=0)).astype(int) + MARGIN * block, image.shape[1::-1])
    part = image[first[1] : last[1], first[0] : last[0]]
    if block.max() > 1:
        missing_x, missing_y = (-(last - first) % block).tolist()
        if missing_x or missing_y:
            part = cv2.copyMakeBorder(part, 0, missing_y, 0, missing_x, cv2.BORDER_REPLICATE)
        reduced = (part.shape[1] // int(block[0]), part.shape[0] // int(block[1]))
        part = cv2.resize(part, reduced, interpolation=cv2.INTER_AREA)
    return part, scale * block, shift + scale * first
