"""Large images: detection in overlapping tiles and in the whole image, merged."""

import math
from collections.abc import Callable, Iterable, Iterator
from typing import Any, Literal, NamedTuple

import numpy as np
import torch

from lib.ops import bbox_overlaps
from lib.ops.boxes import box_area
from lib.structures import Detections

CUT_MARGIN = 0.01  # of a tile's side: a box that ends this near to an inner border may be part of an object
ROWS_AT_ONCE = 256  # of the table of overlaps, so that its memory stays small
Detect = Callable[[Iterable[np.ndarray]], Iterator[Detections]]


class Tiles(NamedTuple):
    """How an image is tiled, and how the detections of the tiles are merged.

    Attributes:
        size: side of a tile in pixels of the image.
        overlap: of neighboring tiles, at least, as a share of the side. Objects up to this size are whole in
            some tile.
        merge: of the boxes of a class from several windows that overlap, ``nms`` keeps the best one;
            ``fusion`` takes their mean by score, and the frame around them where each of them is cut.
        threshold: 0 .. 1, intersection over the smaller box, above which two boxes are one object's.
        whole: whether the whole image is one of the windows, for objects that no tile shows whole.
    """

    size: int
    overlap: float = 0.25
    merge: Literal["nms", "fusion"] = "nms"
    threshold: float = 0.5
    whole: bool = True


class _Found(NamedTuple):
    """Detections of several windows: boxes (D, 4), scores, labels, number of the window, whether it is cut."""

    boxes: torch.Tensor
    scores: torch.Tensor
    labels: torch.Tensor
    windows: torch.Tensor
    is_cut: torch.Tensor


def parse_tiles(text: str | None) -> Tiles | None:
    """``512``, ``512,0.3`` or ``512,0.3,fusion`` -> Tiles: side, overlap, merge; None -> None."""
    if text is None:
        return None
    values = text.split(",")
    try:
        options: list[Any] = [*map(float, values[1:2]), *values[2:3]]
        tiles = Tiles(int(values[0]), *options)
    except ValueError:
        raise ValueError(
            f"tiles must be SIDE[,OVERLAP[,nms|fusion]] such as 512,0.25; got {text!r}"
        ) from None
    check_tiles(tiles)
    return tiles


def check_tiles(tiles: Tiles) -> None:
    """Raises a ValueError unless images can be tiled so."""
    if tiles.size < 16 or not 0 <= tiles.overlap <= 0.9 or tiles.merge not in ("nms", "fusion"):
        raise ValueError(
            "tiles must have a side of 16 pixels or more, an overlap of 0 .. 0.9 and a merge of nms or fusion; "
            f"got {tiles.size}, {tiles.overlap}, {tiles.merge!r}"
        )


def tile_windows(size: tuple[int, int], side: int, overlap: float) -> np.ndarray:
    """The tiles of an image, evenly spread, all inside of it.

    Args:
        size: (height, width) of the image.
        side: of a tile; an image that is narrower has tiles as narrow as it is.
        overlap: least share of the side that neighbors have in common.

    Returns:
        (T, 4) int64 xyxy, by row and column.
    """
    rows, columns = (_starts(length, side, overlap) for length in size)
    height, width = min(side, size[0]), min(side, size[1])
    return np.array([(x, y, x + width, y + height) for y in rows for x in columns], np.int64)


def _starts(length: int, side: int, overlap: float) -> list[int]:
    if length <= side:
        return [0]
    count = math.ceil((length - side) / (side * (1 - overlap))) + 1
    return np.linspace(0, length - side, count).round().astype(int).tolist()


def detect_in_tiles(detect: Detect, image: np.ndarray, tiles: Tiles) -> Detections:
    """The objects of a large image.

    Tiles are cut out as they are needed, so memory holds one batch of them whatever the image's size.

    Args:
        detect: gives the detections of many images, batch by batch.
        image: (H, W, 3) uint8 BGR.
        tiles: how it is tiled.

    Returns:
        Detections in pixels of the image, by falling score.
    """
    check_tiles(tiles)
    size = image.shape[:2]
    windows = tile_windows(size, tiles.size, tiles.overlap)
    if tiles.whole and len(windows) > 1:
        windows = np.concatenate([[[0, 0, size[1], size[0]]], windows])
    parts = (image[y1:y2, x1:x2] for x1, y1, x2, y2 in windows)
    found = [
        _place(detections, number, windows[number], size) for number, detections in enumerate(detect(parts))
    ]
    return merge(_Found(*(torch.cat(values) for values in zip(*found, strict=True))), tiles)


def _place(detections: Detections, number: int, window: np.ndarray, size: tuple[int, int]) -> _Found:
    """A window's detections in the frame of the image, and which of them its border may have cut."""
    x1, y1, x2, y2 = window.tolist()
    boxes = detections.boxes + detections.boxes.new_tensor([x1, y1, x1, y1])
    margin = CUT_MARGIN * max(x2 - x1, y2 - y1)
    # Whether the image goes on beyond each border.
    inner = torch.tensor([x1 > 0, y1 > 0, x2 < size[1], y2 < size[0]])
    is_near = (boxes - boxes.new_tensor([x1, y1, x2, y2])).abs() <= margin  # (D, 4)
    return _Found(
        boxes,
        detections.scores,
        detections.labels,
        torch.full((len(boxes),), number),
        (is_near & inner).any(1),
    )


def merge(found: _Found, tiles: Tiles) -> Detections:
    """One detection an object, of those of all windows.

    Whole boxes come before cut ones, and then the higher score: a part does not replace the whole, however sure
    the detector is of it. Boxes of one window are never merged, their NMS is done.
    """
    order = np.lexsort((-found.scores.numpy(), found.is_cut.numpy(), found.labels.numpy()))
    found = _Found(*(value[torch.from_numpy(order)] for value in found))
    boxes, kept = found.boxes.clone(), []
    ends = np.searchsorted(found.labels.numpy(), np.unique(found.labels.numpy()), side="right").tolist()
    for start, end in zip([0, *ends], ends, strict=False):
        part = _Found(*(value[start:end] for value in found))
        for row, members in _groups(part, tiles.threshold):
            kept.append(start + row)
            if tiles.merge == "fusion":
                boxes[start + row] = _fused(part, members)
    rows = torch.tensor(kept, dtype=torch.int64)
    rows = rows[found.scores[rows].argsort(descending=True, stable=True)]
    return Detections(boxes[rows], found.scores[rows], found.labels[rows])


def _groups(found: _Found, threshold: float) -> Iterator[tuple[int, np.ndarray]]:
    """Each box of a class that stays, by rank, with the rows of those that it stands for, itself among them."""
    free, areas = np.ones(len(found.boxes), bool), box_area(found.boxes)
    for first in range(0, len(free), ROWS_AT_ONCE):
        part = slice(first, first + ROWS_AT_ONCE)
        of_own_area = bbox_overlaps(found.boxes[part], found.boxes, "iof")  # (rows, D)
        of_smaller = of_own_area * (areas[part, None] / areas).clamp(min=1)
        is_rival = (of_smaller > threshold) & (found.windows[part, None] != found.windows)
        for row, rivals in enumerate(is_rival.numpy(), start=first):
            if free[row]:
                members = rivals.nonzero()[0]
                members = np.append(members[free[members]], row)
                free[members] = False
                yield row, members


def _fused(found: _Found, members: np.ndarray) -> torch.Tensor:
    """(4,) mean of the members' whole boxes by score; the frame around all where each is cut."""
    boxes, is_cut = found.boxes[members], found.is_cut[members]
    if is_cut.all():
        return torch.cat([boxes[:, :2].amin(0), boxes[:, 2:].amax(0)])
    weights = found.scores[members] * ~is_cut
    return (boxes * weights[:, None]).sum(0) / weights.sum()
