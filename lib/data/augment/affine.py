"""Where the pixels of a sample have to go: steps are composed into one affine map for each picture, drawn once.

A sample's canvas carries layers, each a picture with its map: one for an ordinary image, several where images are
mixed. Coordinates are continuous: pixel (0, 0) covers 0 .. 1, so the center of a pixel lies at a half. Steps
scale, shift, mirror, and exchange x and y, which together give quarter turns; no other angle, no shear.
"""

from collections.abc import Sequence

import cv2
import numpy as np
from numpy.typing import ArrayLike

from lib.data.image import REDUCED
from lib.data.pixels import block_average
from lib.structures import Layer, Sample

IDENTITY = np.eye(2, 3)
MARGIN = 2  # source pixels that bilinear interpolation may reach beyond the part that is shown
FADE = 1 / 6  # of a frame's side, over which a picture fades in


def canvas_size(sample: Sample) -> tuple[float, float]:
    """(height, width) of the frame that the boxes of a sample lie in."""
    return sample.canvas or sample.image.shape[:2]


def moved(sample: Sample, scale: ArrayLike, shift: ArrayLike, canvas: tuple[float, float]) -> Sample:
    """The sample on a new canvas (height, width): boxes are moved at once, pixels later, and nothing is clipped.

    A point p (x, y) of the old canvas goes to ``scale * p + shift``. A negative scale mirrors.
    """
    factor, offset = np.asarray(scale, np.float64), np.asarray(shift, np.float64)
    layers = tuple(_move_layer(layer, factor, offset) for layer in _layers(sample))
    boxes = _move(sample.boxes, factor, offset).astype(np.float32)
    return sample._replace(boxes=boxes, canvas=canvas, layers=layers)


def transposed(sample: Sample) -> Sample:
    """The sample with x and y exchanged: a point (x, y) goes to (y, x), pixels later. With a mirror: a quarter turn."""
    height, width = canvas_size(sample)
    layers = tuple(_transpose_layer(layer) for layer in _layers(sample))
    return sample._replace(boxes=sample.boxes[:, [1, 0, 3, 2]], canvas=(width, height), layers=layers)


def selected(sample: Sample, keep: np.ndarray) -> Sample:
    """The sample with the boxes where ``keep`` (G,) is true."""
    return sample._replace(boxes=sample.boxes[keep], labels=sample.labels[keep])


def overlaid(below: Sample, above: Sample, opacity: float = 1.0, fade: bool = False) -> Sample:
    """``below`` with the pictures and boxes of ``above`` on top, at an opacity of 0 .. 1.

    Both are on canvases of one size, ``above`` with something pending. ``fade`` makes its pictures fade in from
    their edges.
    """
    top = [
        layer._replace(opacity=layer.opacity * opacity, frame=layer.content if fade else layer.frame)
        for layer in above.layers
    ]
    return below._replace(
        boxes=np.concatenate([below.boxes, above.boxes]),
        labels=np.concatenate([below.labels, above.labels]),
        canvas=canvas_size(below),
        layers=(*_layers(below), *top),
    )


def resample(sample: Sample, fill: Sequence[float]) -> Sample:
    """Draws the layers, bilinearly; where a map shrinks by 2 or more, blocks are averaged first.

    The canvas must have whole numbers as its size, which the image gets; nothing is pending then. ``fill`` is the
    (3,) BGR color, 0 .. 255, of what no layer covers.
    """
    height, width = (int(side) for side in canvas_size(sample))
    rows = np.empty((height, width * 3), np.uint8)
    rows[:] = np.tile(np.asarray(fill, np.uint8), width)  # by rows, 70 times as fast as by pixels
    image = rows.reshape(height, width, 3)
    windows = []
    for layer in sample.layers:
        window = np.clip(np.round(layer.content), 0, [width, height] * 2).astype(int)
        left, top, right, bottom = window.tolist()
        if right > left and bottom > top:
            below = image[top:bottom, left:right]
            image[top:bottom, left:right] = _blend(below, _draw(layer, window), layer, window)
            windows.append(window)
    content = (0, 0, 0, 0)
    if windows:
        content = (*np.min(windows, axis=0)[:2].tolist(), *np.max(windows, axis=0)[2:].tolist())
    return sample._replace(image=image, canvas=None, layers=(), content=content)


def _layers(sample: Sample) -> tuple[Layer, ...]:
    """The pending layers; for a sample as loaded, the image at its place."""
    if sample.canvas is not None:
        return sample.layers
    return (Layer(sample.image, IDENTITY, (0, 0, *sample.image.shape[1::-1])),)


def _move_layer(layer: Layer, scale: np.ndarray, shift: np.ndarray) -> Layer:
    matrix = layer.matrix * scale[:, None]
    matrix[:, 2] += shift
    content = tuple(_move(np.array([layer.content]), scale, shift)[0].tolist())
    frame = layer.frame and tuple(_move(np.array([layer.frame]), scale, shift)[0].tolist())
    return layer._replace(matrix=matrix, content=content, frame=frame)


def _transpose_layer(layer: Layer) -> Layer:
    left, top, right, bottom = layer.content
    frame = layer.frame and (layer.frame[1], layer.frame[0], layer.frame[3], layer.frame[2])
    return layer._replace(matrix=layer.matrix[::-1], content=(top, left, bottom, right), frame=frame)


def _move(boxes: np.ndarray, scale: np.ndarray, shift: np.ndarray) -> np.ndarray:
    """(G, 4) xyxy boxes scaled, shifted and, where the scale is negative, mirrored."""
    corners = boxes.reshape(-1, 2, 2) * scale + shift  # (G, 2 corners, xy)
    return np.concatenate([corners.min(axis=1), corners.max(axis=1)], axis=1)


def _draw(layer: Layer, window: np.ndarray) -> np.ndarray:
    """(h, w, 3) uint8: what a layer shows in a window (4,) of the canvas, in whole pixels."""
    if layer.matrix[0, 0] == 0:  # x and y are exchanged: the same pixels are drawn upright
        return _draw(_transpose_layer(layer), window[[1, 0, 3, 2]]).transpose(1, 0, 2)
    covered = window[2:] - window[:2]  # (width, height)
    source, scale, shift = _source_part(layer, window[:2], covered)
    # OpenCV counts from the center of the first pixel, and takes the inverse map.
    back = np.column_stack([np.diag(1 / scale), (0.5 - shift) / scale - 0.5])
    flags = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
    return cv2.warpAffine(source, back, covered.tolist(), flags=flags, borderMode=cv2.BORDER_REPLICATE)


def _source_part(layer: Layer, corner: np.ndarray, covered: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The pixels that are needed, averaged over whole blocks where that is safe, with the map from there.

    The covered part of the canvas begins at ``corner`` (x, y) and is ``covered`` (width, height) large.
    """
    image, scale, shift = layer.image, np.diag(layer.matrix[:, :2]), layer.matrix[:, 2] - corner
    if not isinstance(image, np.ndarray):
        shrink = max(step for step in REDUCED if step <= _block(scale).min())
        image, scale = image.pixels(shrink), scale * shrink
    block = _block(scale)
    ends = (np.array([[0, 0], covered]) - shift) / scale
    first = np.maximum(np.floor(ends.min(axis=0)).astype(int) - MARGIN * block, 0)
    last = np.minimum(np.ceil(ends.max(axis=0)).astype(int) + MARGIN * block, image.shape[1::-1])
    part = block_average(image[first[1] : last[1], first[0] : last[0]], *block.tolist())
    return part, scale * block, shift + scale * first


def _block(scale: np.ndarray) -> np.ndarray:
    """(x, y) whole source pixels that go into one of the canvas, at least 1."""
    return np.maximum(np.floor(1 / np.abs(scale) + 1e-6), 1).astype(int)


def _blend(below: np.ndarray, picture: np.ndarray, layer: Layer, window: np.ndarray) -> np.ndarray:
    """A picture over what lies below it in its window: (h, w, 3) uint8."""
    if layer.frame is not None:
        x, y = (_fade_in(layer.frame[axis::2], window[axis], window[axis + 2]) for axis in (0, 1))
        weight = layer.opacity * (y[:, None] * x)[..., None]  # (h, w, 1)
        return np.round(below + weight * (picture.astype(np.float32) - below)).astype(np.uint8)
    if layer.opacity < 1:
        return cv2.addWeighted(picture, layer.opacity, below, 1 - layer.opacity, 0)
    return picture


def _fade_in(frame: tuple[float, ...], first: int, last: int) -> np.ndarray:
    """(last - first,) float32 along an axis: 0 at the ``frame`` (low, high), 1 from FADE of its side inwards."""
    low, high = frame
    centers = np.arange(first, last, dtype=np.float32) + 0.5
    return np.clip(np.minimum(centers - low, high - centers) / (FADE * (high - low)), 0, 1)
