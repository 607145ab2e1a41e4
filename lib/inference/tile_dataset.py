"""Tiles of a data set, for training on parts of large images: the tiles that detection cuts, in COCO's format."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from lib.data.dataset import CocoDataset
from lib.inference.tiles import Tiles, check_tiles, tile_windows
from lib.structures import IGNORE
from lib.utils.files import write_json
from lib.utils.log import progress

log = logging.getLogger(__name__)


def write_tiles(
    dataset: CocoDataset, folder: Path, tiles: Tiles, least_share: float = 0.5, empty: bool = False
) -> dict[str, Any]:
    """Cuts every image of a data set into tiles and writes them with their annotations.

    Objects are clipped to the tile. One of which too little is left is marked to be ignored (``iscrowd``): it may be
    found there or not.

    Args:
        dataset: the images.
        folder: gets ``images/`` and ``annotations.json``; new or empty.
        tiles: side and overlap.
        least_share: 0 .. 1, part of an object's area that a tile must show for it to be an object there.
        empty: whether tiles without an object are written too.

    Returns:
        What was written to ``annotations.json``.
    """
    check_tiles(tiles)
    if folder.exists() and any(folder.iterdir()):
        raise ValueError(f"OUT must be new or an empty folder; {folder} holds files: choose another")
    (folder / "images").mkdir(parents=True, exist_ok=True)
    images: list[dict[str, Any]] = []
    annotations: list[dict[str, Any]] = []
    for index in progress(range(len(dataset)), "cutting", total=len(dataset)):
        sample = dataset.load(index)
        stem = Path(dataset.files[index]).stem
        for window in tile_windows(sample.size, tiles.size, tiles.overlap):
            boxes, labels, shares = clip_to_window(sample.boxes, sample.labels, window)
            if not empty and not ((labels != IGNORE) & (shares >= least_share)).any():
                continue
            x1, y1, x2, y2 = window.tolist()
            name = f"{sample.image_id}_{stem}_{x1}_{y1}.png"
            if not cv2.imwrite(str(folder / "images" / name), sample.image[y1:y2, x1:x2]):
                raise OSError(f"{folder / 'images' / name} could not be written: is the disk full?")
            images.append({"id": len(images) + 1, "file_name": name, "width": x2 - x1, "height": y2 - y1})
            for box, label, share in zip(boxes, labels, shares, strict=True):
                crowd = label == IGNORE or share < least_share
                # a region to ignore has no class any more: it counts for all, so any may stand there
                category = dataset.category_ids[max(int(label), 1) - 1]
                annotations.append(_annotation(len(annotations) + 1, len(images), box, category, crowd))
    content = {
        "images": images,
        "annotations": annotations,
        "categories": dataset.ground_truth["categories"],
    }
    write_json(folder / "annotations.json", content, indent=None)
    return content


def clip_to_window(
    boxes: np.ndarray, labels: np.ndarray, window: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The objects of which a window shows something.

    Args:
        boxes: (G, 4) float32 xyxy in the image.
        labels: (G,).
        window: (4,) xyxy.

    Returns:
        Boxes (N, 4) clipped, in the frame of the window; labels (N,); shares (N,) of each area that is left.
    """
    corner, limits = np.tile(window[:2], 2), np.tile(window[2:] - window[:2], 2)
    clipped = np.clip(boxes - corner, 0, limits).astype(np.float32)
    left = (clipped[:, 2:] - clipped[:, :2]).prod(axis=1)
    keep = left > 0
    areas = (boxes[:, 2:] - boxes[:, :2]).prod(axis=1)
    return clipped[keep], labels[keep], left[keep] / areas[keep]


def _annotation(number: int, image: int, box: np.ndarray, category: int, crowd: bool) -> dict[str, Any]:
    x1, y1, x2, y2 = (round(float(value), 2) for value in box)
    xywh = [x1, y1, round(x2 - x1, 2), round(y2 - y1, 2)]
    area = round(xywh[2] * xywh[3], 2)
    return {
        "id": number,
        "image_id": image,
        "category_id": category,
        "bbox": xywh,
        "area": area,
        "iscrowd": int(crowd),
    }
