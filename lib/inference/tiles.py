"""Large images: detection in overlapping tiles and in the whole image, merged."""

import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any, Literal, NamedTuple

import numpy as np
import torch

from lib.ops.fusion import fuse_boxes
from lib.ops.reference import Clusters
from lib.structures import Detections

CUT_MARGIN = 0.01  # of a tile's side: a box that ends this near to an inner border may be part of an object
Detect = Callable[[Iterable[np.ndarray]], Iterator[Detections]]


class Tiles(NamedTuple):
    """How an image is tiled, and how the detections of the tiles are merged."""

    size: int | tuple[int, int]  # side of a tile, or its (height, width), in pixels of the image
    # of neighboring tiles, at least, as a share of the side. Objects up to this size are whole in some tile
    overlap: float = 0.25
    # of the boxes of a class from several windows that overlap, ``nms`` keeps the best one; ``fusion`` takes their mean
    # by score, and the frame around them where each of them is cut
    merge: Literal["nms", "fusion"] = "nms"
    threshold: float = 0.5  # 0 .. 1, intersection over the smaller box, above which two boxes are one object's
    whole: bool = True  # whether the whole image is one of the windows, for objects that no tile shows whole


class WindowDetections(NamedTuple):
    """Detections of several windows: boxes (D, 4), scores, labels, number of the window, whether it is cut."""

    boxes: torch.Tensor
    scores: torch.Tensor
    labels: torch.Tensor
    windows: torch.Tensor
    is_cut: torch.Tensor


def joined(parts: Sequence[WindowDetections]) -> WindowDetections:
    """All of one part or more, in their order."""
    return WindowDetections(*(torch.cat(values) for values in zip(*parts, strict=True)))


def parse_tiles(text: str | None) -> Tiles | None:
    """``512``, ``512,0.3`` or ``512,0.3,fusion`` -> Tiles: side, overlap, merge; None -> None."""
    if text is None:
        return None
    values = text.split(",")
    try:
        options: list[Any] = [*map(float, values[1:2]), *values[2:3]]
        tiles = Tiles(int(values[0]), *options)
    except ValueError:
        raise ValueError(f"tiles must be SIDE[,OVERLAP[,nms|fusion]] such as 512,0.25; got {text!r}") from None
    check_tiles(tiles)
    return tiles


def as_tiles(tiles: Tiles | int | None) -> Tiles | None:
    """Tiles by which images can be tiled, of the side of a tile too; None -> None."""
    if tiles is None:
        return None
    tiles = Tiles(tiles) if isinstance(tiles, int) else tiles
    if not isinstance(tiles, Tiles):
        raise TypeError(f"tiles must be the side of a tile in pixels, such as 512, or Tiles(512, 0.25); got {tiles!r}")
    check_tiles(tiles)
    return tiles


def check_tiles(tiles: Tiles) -> None:
    """Raises a ValueError unless images can be tiled so."""
    if min(tile_sides(tiles.size)) < 16 or not 0 <= tiles.overlap <= 0.9 or tiles.merge not in ("nms", "fusion"):
        raise ValueError(
            "tiles must have a side of 16 pixels or more, an overlap of 0 .. 0.9 and a merge of nms or fusion; "
            f"got {tiles.size}, {tiles.overlap}, {tiles.merge!r}"
        )


def tile_windows(size: tuple[int, int], tile: int | tuple[int, int], overlap: float) -> np.ndarray:
    """(T, 4) int64 xyxy, by row and column: tiles (one side, or height and width) evenly spread over an image of
    (height, width), all inside of it.

    Neighbors have at least the share ``overlap`` of their side in common. An image narrower than a tile has tiles as
    narrow as it is.
    """
    sides = tile_sides(tile)
    rows, columns = (_starts(length, side, overlap) for length, side in zip(size, sides, strict=True))
    height, width = min(sides[0], size[0]), min(sides[1], size[1])
    return np.array([(x, y, x + width, y + height) for y in rows for x in columns], np.int64)


def tile_sides(tile: int | tuple[int, int]) -> tuple[int, int]:
    """(height, width) of a tile."""
    return (tile, tile) if isinstance(tile, int) else tile


def _starts(length: int, side: int, overlap: float) -> list[int]:
    if length <= side:
        return [0]
    count = math.ceil((length - side) / (side * (1 - overlap))) + 1
    return np.linspace(0, length - side, count).round().astype(int).tolist()


def detect_in_tiles(detect: Detect, image: np.ndarray, tiles: Tiles) -> Detections:
    """The objects of a large image (H, W, 3) uint8 BGR.

    Tiles are cut out as ``detect`` needs them, so memory holds one batch of them whatever the image's size.
    """
    check_tiles(tiles)
    size = image.shape[:2]
    windows = tile_windows(size, tiles.size, tiles.overlap)
    if tiles.whole and len(windows) > 1:
        windows = np.concatenate([[[0, 0, size[1], size[0]]], windows])
    parts = (image[y1:y2, x1:x2] for x1, y1, x2, y2 in windows)
    by_window = [place(detections, number, windows[number], size) for number, detections in enumerate(detect(parts))]
    return merge(joined(by_window), tiles)


def place(detections: Detections, number: int, window: np.ndarray, size: tuple[int, int]) -> WindowDetections:
    """A window's detections in the frame of the image, and which of them its border may have cut."""
    x1, y1, x2, y2 = window.tolist()
    boxes = detections.boxes + detections.boxes.new_tensor([x1, y1, x1, y1])
    margin = CUT_MARGIN * max(x2 - x1, y2 - y1)
    inner = torch.tensor([x1 > 0, y1 > 0, x2 < size[1], y2 < size[0]])  # whether the image goes on beyond each border
    is_near = (boxes - boxes.new_tensor([x1, y1, x2, y2])).abs() <= margin  # (D, 4)
    is_cut = (is_near & inner).any(1)
    return WindowDetections(boxes, detections.scores, detections.labels, torch.full((len(boxes),), number), is_cut)


def merge(detections: WindowDetections, tiles: Tiles) -> Detections:
    """One detection an object, of those of all windows.

    Whole boxes come before cut ones, and then the higher score: a part does not replace the whole, however sure
    the detector is of it. Boxes of one window are never merged, their NMS is done.
    """
    order = np.lexsort((-detections.scores.numpy(), detections.is_cut.numpy()))
    detections = WindowDetections(*(value[torch.from_numpy(order)] for value in detections))
    is_mean = ~detections.is_cut & (tiles.merge == "fusion")  # else the best box stands for its cluster as it is
    weights = detections.scores * is_mean
    clusters = fuse_boxes(detections.boxes, weights, detections.labels, detections.windows, tiles.threshold, "ios")
    boxes, best = clusters.boxes, clusters.founders
    if tiles.merge == "fusion":
        boxes = torch.where(detections.is_cut[best, None], _frames(detections.boxes, clusters), boxes)
    rank = detections.scores[best].argsort(descending=True, stable=True)
    return Detections(boxes[rank], detections.scores[best][rank], detections.labels[best][rank])


def _frames(boxes: torch.Tensor, clusters: Clusters) -> torch.Tensor:
    """(M, 4) the box around all members of each cluster of boxes (D, 4)."""
    places = clusters.members[:, None].expand(-1, 2)
    low = clusters.boxes[:, :2].scatter_reduce(0, places, boxes[:, :2], "amin")
    high = clusters.boxes[:, 2:].scatter_reduce(0, places, boxes[:, 2:], "amax")
    return torch.cat([low, high], dim=1)
