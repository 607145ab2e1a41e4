"""The embedded data set: synthetic scenes of small textured shapes, written to disk in COCO format."""

import shutil
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from tqdm import tqdm

from lib.data.formats.coco_json import CocoBuilder
from lib.data.synthetic.scenes import SceneOptions, draw_scene
from lib.data.synthetic.shapes import SHAPES
from lib.utils.files import write_json
from lib.utils.picture_file import write_picture
from lib.utils.reading import read_json

VERSION = 1  # raise it when the same parameters come to give other images, so that old folders are made anew
MARKER = "synthetic.json"  # holds the parameters, and whether the folder is complete
SPLITS = ("train", "val")
JPEG_QUALITY = 92


def generate(
    root: str | Path, num_train: int = 2000, num_val: int = 300, seed: int = 0, progress: bool = True, **options: Any
) -> Path:
    """Writes ``train/``, ``val/``, ``train.json`` and ``val.json`` under ``root``.

    The same parameters give the same files, to the bit on one machine. If they are there already, nothing is done; a
    set that was left unfinished, or made with other parameters, is made anew.

    Args:
        root: a folder that is new, empty, or was made by this function. It is returned.
        num_train, num_val: images of each split; image ``i`` does not depend on how many others there are.
        **options: see ``SceneOptions``.
    """
    scene = SceneOptions(**options)
    counts = {"num_train": num_train, "num_val": num_val, "seed": seed}
    _check(counts, scene)
    parameters: dict[str, Any] = {"version": VERSION, **counts}
    parameters |= {key: list(value) if isinstance(value, tuple) else value for key, value in scene._asdict().items()}
    root = Path(root)
    if _read_marker(root) == {"parameters": parameters, "complete": True}:
        return root
    _prepare(root)
    write_json(root / MARKER, {"parameters": parameters, "complete": False})
    for split, count in zip(SPLITS, (num_train, num_val), strict=True):
        _write_split(root, split, count, seed, scene, progress)
    write_json(root / MARKER, {"parameters": parameters, "complete": True})
    return root


def _check(counts: dict[str, int], scene: SceneOptions) -> None:
    """Refuses parameters with which no scene can be drawn."""
    if not 1 <= scene.num_classes <= len(SHAPES):
        raise ValueError(f"num_classes (--classes) must be 1 .. {len(SHAPES)}; got {scene.num_classes}")
    for key, flag, least in (("num_train", "--train", 1), ("num_val", "--val", 1), ("seed", "--seed", 0)):
        if counts[key] < least:
            raise ValueError(f"{key} ({flag}) must be at least {least}; got {counts[key]}")
    ranges = {"image_sizes": ("--image-size", 32), "object_sizes": ("--object-size", 4)}
    ranges |= {"objects": ("--objects", 0), "clutter": ("--clutter", 0)}
    for key, (flag, least) in ranges.items():
        low, high = getattr(scene, key)
        if not least <= low <= high:
            raise ValueError(f"{key} ({flag}) must be two rising numbers from {least}; got {low}, {high}")


def _read_marker(root: Path) -> Any:
    """The marker's content; None if it is missing or broken."""
    try:
        return read_json(root / MARKER)
    except (FileNotFoundError, ValueError):
        return None


def _prepare(root: Path) -> None:
    """Makes the folder, without an earlier data set; a folder with other files is refused."""
    if root.is_dir() and any(root.iterdir()) and not (root / MARKER).exists():
        raise ValueError(f"{root} must be new, empty or a generated data set; it holds other files")
    root.mkdir(parents=True, exist_ok=True)
    for split in SPLITS:
        shutil.rmtree(root / split, ignore_errors=True)
        (root / f"{split}.json").unlink(missing_ok=True)


def _write_split(root: Path, split: str, count: int, seed: int, options: SceneOptions, progress: bool) -> None:
    """Draws the images of one split and writes them with their annotations."""
    (root / split).mkdir()
    builder = CocoBuilder()
    for index in tqdm(range(count), desc=f"drawing {split}", unit="image", disable=not progress):
        scene = draw_scene(np.random.default_rng([seed, SPLITS.index(split), index]), options)
        name = f"{index + 1:06d}.jpg"
        write_picture(root / split / name, scene.image, [cv2.IMWRITE_JPEG_QUALITY, JPEG_QUALITY])
        builder.add_image(index + 1, name, scene.image.shape[:2])
        for (x1, y1, x2, y2), label in zip(scene.boxes, scene.labels, strict=True):
            box = [round(float(value), 2) for value in (x1, y1, x2 - x1, y2 - y1)]
            # The area is the box's, as a detection's is.
            builder.add_object(index + 1, int(label), box, area=round(box[2] * box[3], 2))
    names = dict(enumerate(list(SHAPES)[: options.num_classes], 1))
    info = {"description": f"synthetic shapes, {split}", "version": str(VERSION)}
    write_json(root / f"{split}.json", {"info": info, **builder.content(names)}, indent=None)
