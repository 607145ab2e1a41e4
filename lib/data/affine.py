"""Where the pixels of a sample have to go: steps composed into one affine map, then resampled once.

Coordinates are continuous, pixel (0, 0) covers 0 .. 1, so the centre of a pixel lies at a half.
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
        canvas: (height, width) of the new one. Boxes are not clipped to it.
    """
    scale, shift = np.asarray(scale, np.float64), np.asarray(shift, np.float64)
    matrix = (IDENTITY if sample.matrix is None else sample.matrix) * scale[:, None]
    matrix[:, 2] += shift
    corners = sample.boxes.reshape(-1, 2, 2) * scale + shift  # (G, 2 corners, xy)
    boxes = np.concatenate([corners.min(axis=1), corners.max(axis=1)], axis=1).astype(np.float32)
    return sample._replace(boxes=boxes, matrix=matrix, canvas=canvas)


def selected(sample: Sample, keep: np.ndarray) -> Sample:
    """The sample with the boxes where ``keep`` (G,) is true."""
    return sample._replace(boxes=sample.boxes[keep], labels=sample.labels[keep])


def resample(
    image: np.ndarray, matrix: np.ndarray, size: tuple[int, int], fill: Sequence[float]
) -> tuple[np.ndarray, tuple[int, int, int, int]]:
    """Draws an image where a map puts it: bilinear, and averaged before where it shrinks by 2 and more.

    Args:
        image: (H, W, 3) uint8.
        matrix: (2, 3) map of its pixels to those of the result, without rotation or shear.
        size: (height, width) of the result.
        fill: (3,) colour of what the image does not cover.

    Returns:
        (height, width, 3) uint8; and (left, top, right, bottom), the part that the image covers.
    """
    scale, shift = np.diag(matrix[:, :2]), matrix[:, 2]
    corners = np.stack([shift, scale * image.shape[1::-1] + shift])
    left, top = np.clip(np.round(corners.min(axis=0)), 0, size[::-1]).astype(int).tolist()
    right, bottom = np.clip(np.round(corners.max(axis=0)), 0, size[::-1]).astype(int).tolist()
    content = (left, top, right, bottom)
    covered = (right - left, bottom - top)  # (width, height)
    if min(covered) < 1:
        return np.full((*size, 3), fill, np.uint8), (0, 0, 0, 0)
    source, scale, shift = _source_part(image, scale, shift - (left, top), covered)
    # OpenCV counts from the centre of the first pixel, and wants the way back
    back = np.column_stack([np.diag(1 / scale), (0.5 - shift) / scale - 0.5])
    flags = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
    drawn = cv2.warpAffine(source, back, covered, flags=flags, borderMode=cv2.BORDER_REPLICATE)
    if covered == size[::-1]:
        return drawn, content
    result = np.full((*size, 3), fill, np.uint8)
    result[top:bottom, left:right] = drawn
    return result, content


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
