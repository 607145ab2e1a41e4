"""The job of tools/bench/input.py: JPEG files, and the sides that prepare them for SSD300."""

import itertools
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from lib.data.augment.presets import build_transform
from lib.data.dataset import CocoDataset
from lib.data.loader import Loader
from lib.timing.turns import Call, Case
from tools.bench.peers import load_torchvision_peer

WIDTH, HEIGHT, QUALITY = 640, 480, 90  # of the JPEG files
INPUT, BATCH = (300, 300), 8


def write_jpegs(source: CocoDataset, folder: Path) -> dict[str, Any]:
    """Writes a data set's images as JPEGs of one size; returns their annotations in COCO's form."""
    content: dict[str, Any] = {**source.ground_truth, "images": [], "annotations": []}
    resize = build_transform("none", (HEIGHT, WIDTH))
    for index in range(len(source)):
        sample, name = resize(source.load(index), np.random.default_rng(0)), f"{index}.jpg"
        cv2.imwrite(str(folder / name), sample.image, [cv2.IMWRITE_JPEG_QUALITY, QUALITY])
        content["images"].append({"id": index, "file_name": name, "height": HEIGHT, "width": WIDTH})
        for (x1, y1, x2, y2), label in zip(sample.boxes.tolist(), sample.labels.tolist(), strict=True):
            entry = {"image_id": index, "bbox": [x1, y1, x2 - x1, y2 - y1], "iscrowd": int(label < 0)}
            content["annotations"].append(entry | {"category_id": source.category_ids[max(label, 1) - 1]})
    return content


def prepare_all(loader: Loader, epochs: Iterator[int]) -> None:
    """One epoch of batches, each epoch with an augmentation of its own."""
    loader.set_epoch(next(epochs))
    for _ in loader:
        pass


def make_case(folder: Path, content: dict[str, Any], name: str) -> Case:
    """Preparing all images once, augmented anew at each call; by torchvision too, where it is installed."""
    transform = build_transform("ssd", INPUT, fill=(103.94, 116.78, 123.68))
    dataset, reduced = CocoDataset(folder, content), CocoDataset(folder, content, decode="reduced")
    loaders = (Loader(one, transform, BATCH) for one in (dataset, reduced))
    full, fast = (partial(prepare_all, loader, itertools.count()) for loader in loaders)
    sides: dict[str, Call | None] = {"ours": full, "ours, decode: reduced": fast}
    if peers := load_torchvision_peer():
        prepare = peers.input_peer(INPUT)
        images = [(str(folder / file), *dataset.objects(index)) for index, file in enumerate(dataset.files)]
        sides["torchvision v2"] = lambda: [prepare(*image) for image in images]
    return Case(f"{len(content['images'])} images of {name}", sides, images=len(content["images"]))
