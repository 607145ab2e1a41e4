"""What the workers of tools/bench/real.py share. They run in other environments: nothing of ours is imported here.

A worker is called with one JSON file, the job, and writes its answer beside it, as answer.json.
"""

import json
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from statistics import median
from types import SimpleNamespace
from typing import Any, NamedTuple

import numpy as np
from PIL import Image

Found = tuple[np.ndarray, np.ndarray, np.ndarray]  # boxes (D, 4) xyxy in pixels of the image, scores, classes from 0


class Picture(NamedTuple):
    """An image of a COCO file: ``boxes`` are xyxy in its pixels, ``classes`` count from 0 in the order of the ids."""

    id: int
    file: Path
    width: float
    height: float
    boxes: list[list[float]]
    classes: list[int]


class Split(NamedTuple):
    """The images of a COCO file, and the ids and names of its classes."""

    pictures: list[Picture]
    category_ids: list[int]
    names: list[str]


class Budget:
    """The CPU time of this process, all threads together, from now on."""

    def __init__(self, seconds: float):
        self.seconds, self._start = seconds, time.process_time()

    @property
    def used(self) -> float:
        """Seconds so far."""
        return time.process_time() - self._start

    @property
    def share(self) -> float:
        """Used share of the budget, 0 .. 1."""
        return min(self.used / self.seconds, 1.0)


def read_job() -> SimpleNamespace:
    """The job of the command line: ``train``, ``train_images``, ``val``, ``val_images`` (paths), ``seconds``, ``seed``,
    ``settings`` (what the user gave as key=value), ``cfg``, ``weights`` and ``folder``, where the worker may write.
    """
    return SimpleNamespace(**json.loads(Path(sys.argv[1]).read_text()))


def read_split(annotations: str, images: str) -> Split:
    """The images of a COCO file. Crowds and boxes without area are left out."""
    content = json.loads(Path(annotations).read_text())
    classes = sorted(content["categories"], key=lambda entry: entry["id"])
    ids = [entry["id"] for entry in classes]
    pictures = {
        entry["id"]: Picture(entry["id"], Path(images) / entry["file_name"], entry["width"], entry["height"], [], [])
        for entry in content["images"]
    }
    for entry in content["annotations"]:
        x, y, width, height = entry["bbox"]
        picture = pictures[entry["image_id"]]
        x1, y1, x2, y2 = max(x, 0), max(y, 0), min(x + width, picture.width), min(y + height, picture.height)
        if not entry.get("iscrowd") and x2 - x1 >= 1 and y2 - y1 >= 1:
            picture.boxes.append([x1, y1, x2, y2])
            picture.classes.append(ids.index(entry["category_id"]))
    return Split(list(pictures.values()), ids, [entry["name"] for entry in classes])


def answer(job: Any, split: Split, detect: Callable[[np.ndarray], Found], figures: dict[str, Any]) -> None:
    """Detects in each image of a split, one at a time, and writes results, times and ``figures``.

    ``detect`` takes an image (H, W, 3) uint8 BGR. The times of an image are medians, from it to the boxes.
    """
    results, wall, cpu = [], [], []
    for picture in split.pictures:
        image = np.ascontiguousarray(np.asarray(Image.open(picture.file).convert("RGB"))[..., ::-1])
        start = time.perf_counter(), time.process_time()
        boxes, scores, classes = detect(image)
        wall.append(time.perf_counter() - start[0])
        cpu.append(time.process_time() - start[1])
        for (x1, y1, x2, y2), score, kind in zip(boxes.tolist(), scores.tolist(), classes.tolist(), strict=True):
            box = [x1, y1, x2 - x1, y2 - y1]
            entry = {"image_id": picture.id, "category_id": split.category_ids[kind], "bbox": box, "score": score}
            results.append(entry)
    times: dict[str, Sequence[float]] = {"wall": wall, "cpu": cpu}
    latency = {name: 1000 * median(values) for name, values in times.items()}
    content = {"results": results, "figures": {**figures, "latency_ms": latency}}
    (Path(job.folder) / "answer.json").write_text(json.dumps(content))
