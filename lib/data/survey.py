"""What is in a data set and what is wrong with it, before anything is trained."""

from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from lib.data.formats.coco_json import Problems, Record, box_fault, leaves_image
from lib.data.image import image_size, read_image


class Survey(NamedTuple):
    """The content and the faults of a data set."""

    num_images: int  # images listed
    num_empty: int  # of them without an object
    problems: Problems  # empty if all is well
    classes: dict[str, int]  # name -> number of objects
    boxes: np.ndarray  # (G, 4) float64 xyxy of the usable objects, clipped to their images, px of the original image
    sizes: np.ndarray  # (G, 2) float64 (height, width) of the image of each
    areas: np.ndarray  # (G,) float64, px^2, which decide the size range: the annotation's, else the box's
    images: np.ndarray  # (G,) int64, the place of each one's image among the images listed


def survey(coco: Record, folder: Path | None = None, open_images: bool = False) -> Survey:
    """Looks at every image record and annotation of a data set in COCO's form.

    Files are checked if their ``folder`` is given: headers only, or with ``open_images`` all, to detect truncated ones.
    """
    problems = Problems()
    images = {record["id"]: record for record in coco["images"]}
    names = {category["id"]: str(category["name"]) for category in coco["categories"]}
    for name, number in Counter(record["file_name"] for record in coco["images"]).items():
        if number > 1:
            problems.add("file names of several images", name)
    if folder is not None:
        for record in coco["images"]:
            _check_file(record, folder, open_images, problems)
    _check_ids(coco["annotations"], problems)
    seen: set[tuple[Any, ...]] = set()
    classes = dict.fromkeys(names.values(), 0)
    rows, owners, places = [], [], {number: place for place, number in enumerate(images)}
    for annotation in coco["annotations"]:
        row = _usable_row(annotation, images, names, problems)
        if row is None:
            continue
        key = (annotation["image_id"], annotation["category_id"], *annotation["bbox"])
        if key in seen:
            problems.add("boxes given twice", _name(annotation, images))
        seen.add(key)
        if not (annotation.get("iscrowd") or annotation.get("ignore")):
            owners.append(places[annotation["image_id"]])
            classes[names[annotation["category_id"]]] += 1
            rows.append(row)
    for name, count in classes.items():
        if not count:
            problems.add("classes without an object", name)
    table = np.array(rows, np.float64).reshape(-1, 7)
    num_empty, columns = len(images) - len(set(owners)), (table[:, :4], table[:, 4:6], table[:, 6])
    return Survey(len(images), num_empty, problems, classes, *columns, np.array(owners, np.int64))


def _check_file(record: Record, folder: Path, open_images: bool, problems: Problems) -> None:
    path, name = folder / record["file_name"], record["file_name"]
    try:
        height, width = read_image(path).shape[:2] if open_images else image_size(path)
    except FileNotFoundError:
        problems.add("image files that are missing", name)
    except ValueError as error:
        problems.add("image files that cannot be read", str(error))
    else:
        told = record.get("height"), record.get("width")
        if told not in ((None, None), (height, width)):
            sizes = f"{told[1]}x{told[0]} told, {width}x{height} stored"
            problems.add("images of another size than told (width x height)", f"{name}: {sizes}")


def _check_ids(annotations: list[Record], problems: Problems) -> None:
    """Ids matter to pycocotools, which takes 0 for unmatched."""
    for value, number in Counter(str(annotation.get("id")) for annotation in annotations).items():
        if number > 1 or value in ("0", "None"):
            problems.add("annotation ids that are missing, 0 or double", f"{value} ({number} times)")


def _name(annotation: Record, images: Mapping[int, Record]) -> str:
    file = images[annotation["image_id"]]["file_name"]
    return f"{annotation.get('id')} in {file}: {annotation.get('bbox')}"


def _usable_row(
    annotation: Record, images: Mapping[int, Record], names: Mapping[int, str], problems: Problems
) -> tuple[float, ...] | None:
    """x1, y1, x2, y2 inside the image, the image's height and width, area; None if the box cannot be used."""
    for key, known in (("image_id", images), ("category_id", names)):
        if annotation[key] not in known:
            problems.add(f"annotations of an unknown {key}", f"{annotation.get('id')}: {annotation[key]}")
            return None
    record, name = images[annotation["image_id"]], _name(annotation, images)
    height, width = record.get("height") or np.inf, record.get("width") or np.inf
    if fault := box_fault(annotation.get("bbox"), height, width):
        problems.add(fault, name)
        return None
    x, y, w, h = annotation["bbox"]
    if leaves_image((x, y, w, h), height, width):
        problems.add("boxes partly outside their image", name)
    area = annotation.get("area")
    if area is None:
        problems.add("annotations without area (the box's is taken)", name)
    elif area > 1.01 * w * h + 1:
        problems.add("areas larger than their box", f"{name}, area {area}")
    box = max(x, 0), max(y, 0), min(x + w, width), min(y + h, height)
    return *box, height, width, w * h if area is None else area
