"""YOLO's text files: ``class cx cy width height`` in fractions of the image, one file an image.

``labels/a/b.txt`` belongs to ``images/a/b.jpg``. An image without a text file is one without objects. A line of
more numbers is a polygon, as segmentation sets have it: its box counts.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

from lib.data.formats.folder import (
    annotations_by_image,
    image_ids,
    image_size,
    images_by_stem,
    output_files,
    read_lines,
)

log = logging.getLogger(__name__)
YAML = (".yaml", ".yml")


def yolo_images(path: Path, split: str = "train") -> Path:
    """The folder of the images: what a data.yaml names at ``split``, or ``images`` in the place of ``labels``."""
    if path.suffix not in YAML:
        labels = path / "labels" if (path / "labels").is_dir() else path
        return _exchanged(labels, "labels", "images")
    content = _read_yaml(path)
    name = content.get(split)
    if not isinstance(name, str):
        raise ValueError(
            f"{path} must name one folder of images at {split}; got {name!r}: name it, or set data.{split}.images"
        )
    roots = (path.parent / str(content.get("path") or "."), path.parent)
    # exporters write ../train/images for the train/images beside the file
    for folder in (*(root / name for root in roots), path.parent / name.removeprefix("../")):
        if folder.is_dir():
            return folder
    raise FileNotFoundError(
        f"{path} must name a folder of images at {split}; {name} is not in {roots[0]}: mend its path, or set "
        f"data.{split}.images"
    )


def _exchanged(folder: Path, old: str, new: str) -> Path:
    """The folder with the last ``old`` of its path as ``new``; itself where there is none."""
    parts = list(folder.absolute().parts)
    places = [index for index, part in enumerate(parts) if part == old]
    return Path(*parts[: places[-1]], new, *parts[places[-1] + 1 :]) if places else folder


def _read_yaml(path: Path) -> Mapping[str, Any]:
    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise FileNotFoundError(f"{path} must be a YAML file; there is none: check the path") from None
    except yaml.YAMLError as error:
        raise ValueError(f"{path} must be a YAML file; it is broken ({error}): mend it") from None
    return content if isinstance(content, Mapping) else {}


def read_yolo(folder: Path, images: Path | None = None) -> dict[str, Any]:
    """A folder with ``labels`` and ``images``, or the labels' own, or a data.yaml, in COCO form.

    Class names come from ``data.yaml``, another ``*.yaml`` with ``names``, or ``classes.txt`` beside or above the
    labels; without one they are the numbers.
    """
    images = images or yolo_images(folder)
    labels = folder / "labels" if (folder / "labels").is_dir() else folder
    if folder.suffix in YAML:
        labels = _exchanged(images, "images", "labels")
    files = images_by_stem(images)
    texts = {
        path.relative_to(labels).with_suffix("").as_posix(): path for path in sorted(labels.rglob("*.txt"))
    }
    texts.pop("classes", None)
    stray = [str(path) for stem, path in texts.items() if stem not in files]
    if stray:
        raise FileNotFoundError(
            f"each label file must have its image in {images}; {len(stray)} have none, such as {stray[0]}: "
            "name the folder by --images"
        )
    records, annotations = [], []
    for image_id, (stem, path) in zip(image_ids(list(files)), files.items(), strict=True):
        height, width = image_size(path)
        name = path.relative_to(images).as_posix()
        records.append({"id": image_id, "file_name": name, "height": height, "width": width})
        for where, numbers in read_lines(texts[stem], None, range(5, 10**6)) if stem in texts else ():
            annotation = {"id": len(annotations) + 1, "image_id": image_id, "iscrowd": 0}
            annotations.append(annotation | _box(where, numbers, height, width))
    names = _names(folder if folder.is_file() else labels) or {}
    used = {annotation["category_id"] - 1 for annotation in annotations}
    unnamed = used - set(names)
    if names and unnamed:
        raise ValueError(
            f"each class of {labels} must have a name; {sorted(unnamed)[:5]} have none: add them"
        )
    names = names or {index: str(index) for index in sorted(used)}
    categories = [{"id": index + 1, "name": name} for index, name in sorted(names.items())]
    return {"images": records, "annotations": annotations, "categories": categories}


def _box(where: str, numbers: list[float], height: int, width: int) -> dict[str, Any]:
    """Category, box and area of one line."""
    number, *values = numbers
    if number < 0 or number % 1 or (len(values) > 4 and (len(values) % 2 or len(values) < 6)):
        raise ValueError(
            f"{where} must be a class number from 0 and cx cy width height, or the corners of a polygon; got "
            f"{len(numbers)} numbers, class {number:g}: mend the line (detections have a score more)"
        )
    if len(values) == 4:
        x, y, w, h = values
        box = [(x - w / 2) * width, (y - h / 2) * height, w * width, h * height]
    else:
        xs, ys = [x * width for x in values[::2]], [y * height for y in values[1::2]]
        box = [min(xs), min(ys), max(xs) - min(xs), max(ys) - min(ys)]
    return {"category_id": int(number) + 1, "bbox": box, "area": box[2] * box[3]}


def _names(labels: Path) -> dict[int, str] | None:
    """Class number -> name, from the first file that tells; ``labels`` may be that file."""
    for folder in (labels, labels.parent, labels.parent.parent):
        files = sorted(folder.glob("*.yaml"), key=lambda path: (path.name != "data.yaml", path.name))
        for path in [folder] if folder.is_file() else files:
            names = _read_yaml(path).get("names")
            if names:
                pairs = names.items() if isinstance(names, Mapping) else enumerate(names)
                return {int(number): str(name) for number, name in pairs}
        if (folder / "classes.txt").is_file():
            lines = (folder / "classes.txt").read_text(encoding="utf-8-sig").splitlines()
            return dict(enumerate(line.strip() for line in lines if line.strip()))
    return None


def write_yolo(coco: Mapping[str, Any], folder: Path) -> None:
    """``labels/*.txt`` and ``data.yaml``. What YOLO cannot say (crowds, difficult objects) is counted and warned of."""
    grouped = annotations_by_image(coco)
    categories = sorted(coco["categories"], key=lambda category: category["id"])
    number = {category["id"]: index for index, category in enumerate(categories)}
    for record, path in output_files(folder / "labels", coco["images"], ".txt"):
        if not record.get("height") or not record.get("width"):
            raise ValueError(
                f"image {record['file_name']} must have height and width for YOLO; got none: add them"
            )
        lines = []
        for annotation in grouped[record["id"]]:
            x, y, w, h = annotation["bbox"]
            size = record["width"], record["height"]
            values = ((x + w / 2) / size[0], (y + h / 2) / size[1], w / size[0], h / size[1])
            lines.append(" ".join([str(number[annotation["category_id"]]), *map(repr, values)]) + "\n")
        path.write_text("".join(lines), encoding="utf-8")
    names = {index: str(category["name"]) for index, category in enumerate(categories)}
    text = yaml.safe_dump({"path": ".", "train": "images", "val": "images", "names": names}, sort_keys=False)
    (folder / "data.yaml").write_text(text, encoding="utf-8")
    flags = [a for a in coco["annotations"] if a.get("iscrowd") or a.get("ignore") or a.get("difficult")]
    if flags:
        log.warning(
            "flags_lost %d boxes that were crowds, ignored or difficult are plain boxes in YOLO", len(flags)
        )
