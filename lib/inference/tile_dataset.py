"""Tiles of a data set, for training on parts of large images: the tiles that detection cuts, in COCO's format."""

from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from lib.data.dataset import CocoDataset
from lib.data.formats.coco_json import CocoBuilder
from lib.inference.tiles import Tiles, check_tiles, tile_windows
from lib.structures import IGNORE
from lib.utils.files import new_folder, write_json
from lib.utils.log import progress
from lib.utils.picture_file import write_picture


class Clipped(NamedTuple):
    """Objects in a window: boxes (N, 4) xyxy in its frame, labels (N,), and the share (N,) of each area inside."""

    boxes: np.ndarray
    labels: np.ndarray
    shares: np.ndarray


def write_tiles(
    dataset: CocoDataset, folder: Path, tiles: Tiles, least_share: float = 0.5, empty: bool = False
) -> dict[str, Any]:
    """Cuts every image of a data set into tiles and writes them with their annotations.

    Objects are clipped to the tile. An object of which too little is left is marked to be ignored (``iscrowd``).
    After an error ``folder`` is as it was before.

    Args:
        folder: for ``images/`` and ``annotations.json``, whose content is returned; new or empty.
        least_share: 0 .. 1, part of an object's area that a tile must show for it to be an object there.
        empty: whether tiles without an object are written too.
    """
    check_tiles(tiles)
    with new_folder(folder) as unfinished:
        content = _cut(dataset, unfinished / "images", tiles, least_share, empty)
        write_json(unfinished / "annotations.json", content, indent=None)
    return content


def _cut(dataset: CocoDataset, images: Path, tiles: Tiles, least_share: float, empty: bool) -> dict[str, Any]:
    """Writes the pictures of the tiles to the folder ``images``; their annotations in COCO form."""
    images.mkdir()
    builder = CocoBuilder()
    for index in progress(range(len(dataset)), "cutting"):
        sample = dataset.load(index)
        stem = Path(dataset.files[index]).stem
        for window in tile_windows(sample.size, tiles.size, tiles.overlap):
            clipped = clip_to_window(sample.boxes, sample.labels, window)
            is_region = (clipped.labels == IGNORE) | (clipped.shares < least_share)
            if not empty and is_region.all():
                continue
            x1, y1, x2, y2 = window.tolist()
            name, image_id = f"{sample.image_id}_{stem}_{x1}_{y1}.png", len(builder.images) + 1
            write_picture(images / name, sample.image[y1:y2, x1:x2])
            builder.add_image(image_id, name, (y2 - y1, x2 - x1))
            for box, label, crowd in zip(clipped.boxes, clipped.labels, is_region, strict=True):
                # A region to ignore has no class any more: it counts for all, and the first stands there.
                category = dataset.category_ids[max(int(label), 1) - 1]
                x, y, right, bottom = (round(float(value), 2) for value in box)
                width, height = round(right - x, 2), round(bottom - y, 2)
                fields = {"area": round(width * height, 2), "iscrowd": int(crowd)}
                if label == IGNORE:
                    fields["ignored_region"] = 1
                builder.add_object(image_id, category, (x, y, width, height), **fields)
    return builder.content({category["id"]: category["name"] for category in dataset.ground_truth["categories"]})


def clip_to_window(boxes: np.ndarray, labels: np.ndarray, window: np.ndarray) -> Clipped:
    """The objects, boxes (G, 4) float32 xyxy and labels (G,), of which a window (4,) xyxy shows something."""
    corner, limits = np.tile(window[:2], 2), np.tile(window[2:] - window[:2], 2)
    clipped = np.clip(boxes - corner, 0, limits).astype(np.float32)
    left = (clipped[:, 2:] - clipped[:, :2]).prod(axis=1)
    keep = left > 0
    areas = (boxes[:, 2:] - boxes[:, :2]).prod(axis=1)
    return Clipped(clipped[keep], labels[keep], left[keep] / areas[keep])
