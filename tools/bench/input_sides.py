"""What tools/bench/input.py measures: JPEG files, and the sides that prepare them for SSD300."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from lib.data.augment.presets import build_transform
from lib.data.dataset import CocoDataset
from lib.data.loader import Loader

try:
    from tools.bench.torchvision_peer import SsdInput
except ImportError:
    SsdInput = None

WIDTH, HEIGHT, QUALITY = 640, 480, 90  # of the JPEG files
INPUT, BATCH = (300, 300), 8
PEER = "torchvision v2"


def write_jpegs(source: CocoDataset, folder: Path) -> dict[str, Any]:
    """Writes a data set's images as JPEGs of one size; their annotations in COCO's form."""
    content = {"images": [], "annotations": [], "categories": source.ground_truth["categories"]}
    resize = build_transform("none", (HEIGHT, WIDTH))
    for index in range(len(source)):
        sample, name = resize(source.load(index), np.random.default_rng(0)), f"{index}.jpg"
        cv2.imwrite(str(folder / name), sample.image, [cv2.IMWRITE_JPEG_QUALITY, QUALITY])
        content["images"].append({"id": index, "file_name": name, "height": HEIGHT, "width": WIDTH})
        for (x1, y1, x2, y2), label in zip(sample.boxes.tolist(), sample.labels.tolist(), strict=True):
            entry = {"image_id": index, "bbox": [x1, y1, x2 - x1, y2 - y1], "iscrowd": int(label < 0)}
            content["annotations"].append(entry | {"category_id": source.category_ids[max(label, 1) - 1]})
    return content


def make_sides(folder: Path, content: Mapping[str, Any]) -> dict[str, Callable[[int], Any]]:
    """Name -> what prepares all images once, in the round of a number; the peer where torchvision is installed."""
    sides = {}
    for name, decode in (("ours", "full"), ("ours, decode: reduced", "reduced")):
        transform = build_transform("ssd", INPUT, fill=(103.94, 116.78, 123.68))
        loader = Loader(CocoDataset(folder, content, decode=decode), transform, BATCH, shuffle=True)
        sides[name] = lambda epoch, loader=loader: (loader.set_epoch(epoch), list(loader))
    if SsdInput:
        peer, dataset = SsdInput(INPUT), CocoDataset(folder, content)
        images = [(str(folder / name), *dataset.objects(index)) for index, name in enumerate(dataset.files)]
        sides[PEER] = lambda _: [peer(*image) for image in images]
    return sides
