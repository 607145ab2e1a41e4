"""The embedded data set: synthetic scenes of small textured shapes, written to disk in COCO format."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from tqdm import tqdm

from lib.data.synthetic.scenes import draw_scene
from lib.data.synthetic.shapes import SHAPES
from lib.utils.files import write_json

VERSION = 1  # raise it whenever the same parameters give other images: old folders are then made anew
MARKER = "synthetic.json"  # holds the parameters, and whether the folder is complete
SPLITS = ("train", "val")
JPEG_QUALITY = 92


def generate(
    root: str | Path,
    num_train: int = 2000,
    num_val: int = 300,
    seed: int = 0,
    num_classes: int = 8,
    image_sizes: tuple[int, int] = (240, 480),
    object_sizes: tuple[float, float] = (6, 150),
    objects: tuple[int, int] = (0, 14),
    clutter: tuple[int, int] = (4, 16),
    progress: bool = True,
) -> Path:
    """Writes ``train/``, ``val/``, ``train.json`` and ``val.json`` under ``root``.

    The same parameters give the same files, to the bit on one machine. Where they lie there already, nothing
    is done; what was left unfinished, or made with other parameters, is made anew.

    Args:
        root: a folder that is new, empty, or was made by this function.
        num_train, num_val: images of each split.
        seed: of everything random; image ``i`` does not depend on how many others there are.
        num_classes: how many of the shapes occur, 1 .. 10.
        image_sizes: least and greatest height, and width, pixels.
        object_sizes: least and greatest longer side of an object, pixels; four of five stay under 32.
        objects, clutter: least and greatest number in an image. Clutter belongs to no class.
        progress: whether a bar is shown.

    Returns:
        ``root`` as a Path.
    """
    parameters = {
        "version": VERSION,
        "num_train": num_train,
        "num_val": num_val,
        "seed": seed,
        "num_classes": num_classes,
        "image_sizes": list(image_sizes),
        "object_sizes": list(object_sizes),
        "objects": list(objects),
        "clutter": list(clutter),
    }
    _check(parameters)
    root = Path(root)
    if _read_marker(root) == {"parameters": parameters, "complete": True}:
        return root
    _prepare(root)
    write_json(root / MARKER, {"parameters": parameters, "complete": False})
    options = {
        key: parameters[key] for key in ("num_classes", "image_sizes", "object_sizes", "objects", "clutter")
    }
    for split, count in zip(SPLITS, (num_train, num_val), strict=True):
        _write_split(root, split, count, seed, options, progress)
    write_json(root / MARKER, {"parameters": parameters, "complete": True})
    return root


def _check(parameters: dict[str, Any]) -> None:
    """Refuses parameters that no scene can be drawn with."""
    if not 1 <= parameters["num_classes"] <= len(SHAPES):
        raise ValueError(f"num_classes must be 1 .. {len(SHAPES)}; got {parameters['num_classes']}")
    for key, least in (("num_train", 1), ("num_val", 1), ("seed", 0)):
        if parameters[key] < least:
            raise ValueError(f"{key} must be at least {least}; got {parameters[key]}")
    for key, least in (("image_sizes", 32), ("object_sizes", 4), ("objects", 0), ("clutter", 0)):
        low, high = parameters[key]
        if not least <= low <= high:
            raise ValueError(
                f"{key} must be two numbers, the first from {least} to the second; got {low}, {high}"
            )


def _read_marker(root: Path) -> Any:
    """The marker's content; None where there is none, or a broken one."""
    try:
        return json.loads((root / MARKER).read_text())
    except (FileNotFoundError, NotADirectoryError, json.JSONDecodeError):
        return None


def _prepare(root: Path) -> None:
    """Makes the folder, emptied of an earlier data set; a folder with other people's files is refused."""
    if root.is_dir() and any(root.iterdir()) and not (root / MARKER).exists():
        raise ValueError(
            f"{root} must be new, empty or a generated data set; it holds other files: choose another folder"
        )
    root.mkdir(parents=True, exist_ok=True)
    for split in SPLITS:
        shutil.rmtree(root / split, ignore_errors=True)
        (root / f"{split}.json").unlink(missing_ok=True)


def _write_split(
    root: Path, split: str, count: int, seed: int, options: dict[str, Any], progress: bool
) -> None:
    """Draws the images of one split and writes them with their annotations."""
    (root / split).mkdir()
    images, annotations = [], []
    for index in tqdm(range(count), desc=f"drawing {split}", unit="image", disable=not progress):
        scene = draw_scene(np.random.default_rng([seed, SPLITS.index(split), index]), **options)
        name, image_id = f"{index + 1:06d}.jpg", index + 1
        path = root / split / name
        if not cv2.imwrite(str(path), scene.image, [cv2.IMWRITE_JPEG_QUALITY, JPEG_QUALITY]):
            raise OSError(f"{path} could not be written: is the disk full?")
        height, width = scene.image.shape[:2]
        images.append({"id": image_id, "file_name": name, "width": width, "height": height})
        for (x1, y1, x2, y2), label in zip(scene.boxes, scene.labels, strict=True):
            box = [round(float(value), 2) for value in (x1, y1, x2 - x1, y2 - y1)]
            annotations.append(
                {
                    "id": len(annotations) + 1,
                    "image_id": image_id,
                    "category_id": int(label),
                    "bbox": box,
                    "area": round(box[2] * box[3], 2),  # of the box, as a detection's is
                    "iscrowd": 0,
                }
            )
    categories = [
        {"id": i + 1, "name": name} for i, name in enumerate(list(SHAPES)[: options["num_classes"]])
    ]
    info = {"description": f"synthetic shapes, {split}", "version": str(VERSION)}
    content = {"info": info, "images": images, "annotations": annotations, "categories": categories}
    write_json(root / f"{split}.json", content, indent=None)
