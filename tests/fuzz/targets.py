"""Images and data sets that are fuzzed: a name, how a mutated input is made, and the entry points that read it.

To add a reader, write two functions and one row of TARGETS.
"""

import json
import random
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from fuzz.attempts import Target
from fuzz.mutate import mutated_json, mutated_text

from lib.data.dataset import CocoDataset
from lib.data.formats.coco_json import read_results
from lib.data.formats.convert import convert
from lib.data.formats.registry import read_content
from lib.data.image import Reading, read_image
from lib.data.survey import survey
from lib.data.truth import read_truth
from lib.evaluation.arrays import make_detections, make_ground_truth
from lib.evaluation.protocols import make_protocol
from lib.utils.fields import reading
from tests.data.image_files import jpeg, tiff

COCO = {
    "info": {"year": 2026},
    "images": [{"id": i, "file_name": f"{i}.png", "width": 40, "height": 30, "license": 1} for i in (1, 2, 3)],
    "annotations": [
        {"id": 1, "image_id": 1, "category_id": 1, "bbox": [2, 3, 10, 8], "area": 60.5, "iscrowd": 0, "ignore": 0},
        {"id": 2, "image_id": 1, "category_id": 2, "bbox": [1.5, 2.5, 9, 9], "area": 81, "iscrowd": 1},
        {"id": 3, "image_id": 3, "category_id": 2, "segmentation": [[1, 1, 9, 1, 9, 9]], "area": 32, "iscrowd": 0},
    ],
    "categories": [{"id": 1, "name": "cat"}, {"id": 2, "name": "dog", "supercategory": "pet"}],
}
RESULTS = [
    {"image_id": 1, "category_id": 1, "bbox": [2, 3, 10, 8.5], "score": 0.75},
    {"image_id": "3.png", "category_id": "dog", "bbox": [1, 1, 8, 8], "score": 0.5},
]
VOC = """<annotation>
<folder>x</folder>
<filename>1.png</filename>
<size><width>40</width><height>30</height><depth>3</depth></size>
<object><name>cat</name><difficult>0</difficult><truncated>1</truncated>
<bndbox><xmin>3</xmin><ymin>4</ymin><xmax>12</xmax><ymax>11</ymax></bndbox></object>
<object><name>dog</name><difficult>1</difficult><area>7.5</area>
<bndbox><xmin>13.5</xmin><ymin>4</ymin><xmax>22</xmax><ymax>11</ymax></bndbox></object>
</annotation>
"""
YOLO = "0 0.5 0.5 0.25 0.5\n1 0.1 0.2 0.3 0.2 0.3 0.6\n0 0.5 0.5 0.2 0.2 0.45 0.5 2 0.55 0.5 1\n"
YAML = "path: .\ntrain: images\nval: [images]\nkpt_shape: [2, 3]\nnc: 2\nnames:\n  0: cat\n  1: dog\n"
VISDRONE = "2,3,10,8,1,4,0,1\n1,2,9,9,0,0,0,0\n5,6,7,8,0,11,2,0\n"


def write_images(folder: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for index in (1, 2, 3):
        if not (folder / f"{index}.png").exists():
            cv2.imwrite(str(folder / f"{index}.png"), np.full((30, 40, 3), 90, np.uint8))


def make_coco(folder: Path, rng: random.Random) -> Path:
    write_images(folder / "images")
    (folder / "ann.json").write_bytes(mutated_json(COCO, rng))
    return folder / "ann.json"


def read_set(path: Path, rng: random.Random) -> None:
    """Training, the doctor, the evaluation and the converter; each may refuse the file."""
    root = path if path.is_dir() else path.parent
    images = root / "images"
    readers: list[Callable[[], object]] = [
        lambda: CocoDataset(images, path, bad_boxes=rng.choice(["drop", "refuse"])).report(),
        lambda: survey(read_content(path, images, lenient=True), images),
        lambda: make_ground_truth(read_truth(path, images, "train"), make_protocol("voc12")),
        lambda: convert(path, root / "out", rng.choice(["coco", "voc", "yolo", "visdrone"]), images=images),
    ]
    faults = []
    for reader in readers:
        try:
            reader()
        except (ValueError, TypeError, OSError) as error:
            faults.append(error)
        finally:
            out = root / "out"
            shutil.rmtree(out) if out.is_dir() else out.unlink(missing_ok=True)
    if faults:
        raise ExceptionGroup("refused", faults)


def make_detections_file(folder: Path, rng: random.Random) -> Path:
    (folder / "dt.json").write_bytes(mutated_json(RESULTS, rng))
    return folder / "dt.json"


def read_detections(path: Path, rng: random.Random) -> None:
    truth = make_ground_truth(COCO, make_protocol())
    with reading(path):
        make_detections(read_results(path, json.loads(json.dumps(COCO))), truth)


def text_target(name: str, folder: str, text: str, more: dict[str, str] | None = None) -> Target:
    """A folder with three images, whose annotations are text files; the first is mutated."""

    def make(root: Path, rng: random.Random) -> Path:
        write_images(root / "images")
        (root / folder).mkdir(exist_ok=True)
        for file, content in {f"{folder}/2{Path(name).suffix}": text, **(more or {})}.items():
            (root / file).write_text(content.replace("1.png", "2.png"))
        (root / name).write_bytes(mutated_text(text, rng))
        return root

    return Target(make, read_set)


def make_yaml(folder: Path, rng: random.Random) -> Path:
    write_images(folder / "images")
    (folder / "labels").mkdir(exist_ok=True)
    (folder / "labels" / "1.txt").write_text("0 0.5 0.5 0.25 0.5\n")
    (folder / "data.yaml").write_bytes(mutated_text(YAML, rng))
    return folder / "data.yaml"


def make_image(folder: Path, rng: random.Random) -> Path:
    """An image file of one of many kinds, a part of its bytes replaced, moved, left out or cut off."""
    bits = np.random.default_rng(rng.randrange(100)).integers(0, 2**16, (23, 37, 5)).astype(np.uint16)
    colors = (bits[..., :3] >> 8).astype(np.uint8)
    kinds: list[Callable[[], bytes]] = [
        lambda: jpeg(colors, rng.randrange(1, 9), rng.choice("<>")),
        lambda: tiff(bits, planar=rng.choice([1, 2]), order=rng.choice("<>"), orientation=rng.randrange(1, 9)),
        lambda: tiff(rng.choice([colors, bits[..., 0], bits[..., 0].astype(np.float32) / 2**16])),
        lambda: cv2.imencode(rng.choice([".png", ".bmp", ".webp", ".tif"]), colors)[1].tobytes(),
        lambda: cv2.imencode(rng.choice([".png", ".tif"]), rng.choice([bits[..., 0], bits[..., :4]]))[1].tobytes(),
    ]
    content = bytearray(rng.choice(kinds)())
    for _ in range(rng.randrange(5)):
        start = rng.choice([rng.randrange(64), rng.randrange(len(content)), len(content) - rng.randrange(1, 200)])
        part = slice(max(start, 0), max(start, 0) + rng.choice([1, 1, 2, 4, 30]))
        content[part] = rng.choice([b"", b"\xff" * 4, bytes(4), rng.randbytes(4), bytes(content[part]) * 2])
    path = folder / "image"
    path.write_bytes(bytes(content) if rng.random() < 0.9 else bytes(content[: rng.randrange(len(content))]))
    return path


def read_image_file(path: Path, rng: random.Random) -> None:
    bands = rng.choice([None, None, (1,), (3, 2, 1), (5, 4, 1)])
    depth: Any = rng.choice(["full", "percentile", (0.0, 100.0)])
    read = read_image(path, rng.choice([1, 1, 2, 8]), upright=rng.random() < 0.5, reading=Reading(depth, bands))
    assert read.ndim == 3 and read.shape[2] == 3 and read.dtype == np.uint8


TARGETS = {
    "image": Target(make_image, read_image_file),
    "coco": Target(make_coco, read_set),
    "detections": Target(make_detections_file, read_detections),
    "voc": text_target("Annotations/1.xml", "Annotations", VOC),
    "yolo": text_target("labels/1.txt", "labels", YOLO, {"labels/2.txt": "1 0.5 0.5 0.1 0.1\n", "data.yaml": YAML}),
    "yolo_yaml": Target(make_yaml, read_set),
    "visdrone": text_target("annotations/1.txt", "annotations", VISDRONE),
}
