"""YOLO's text files: ``class cx cy width height`` in fractions of the image, one file per image.

``labels/a/b.txt`` belongs to ``images/a/b.jpg``. An image without a text file is one without objects. A line of
more numbers is a polygon, as segmentation sets have it; the box around it is taken.
"""

import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

from lib.data.formats.coco_json import IGNORED, CocoBuilder, Record
from lib.data.formats.folder import first_line, image_files, image_ids, inner_folder, read_lines, stem_of, write_texts
from lib.data.image import image_size

log = logging.getLogger(__name__)
YAML = (".yaml", ".yml")


def is_yolo(path: Path) -> bool:
    """Whether a path is that of a data.yaml, or of a folder of text files whose numbers have no commas between."""
    line = "" if path.suffix in YAML else first_line(path)
    return path.suffix in YAML or (line != "" and "," not in line)


def yolo_images(path: Path, split: str = "train") -> Path:
    """The folder of the images: what a data.yaml names at ``split``, or ``images`` in the place of ``labels``."""
    if path.suffix not in YAML:
        return _with_part(inner_folder(path, "labels"), "labels", "images")
    content = _read_yaml(path)
    name = content.get(split)
    if not isinstance(name, str):
        raise ValueError(f"{path} must name one folder of images at {split}; got {name!r}: set data.{split}.images")
    roots = (path.parent / str(content.get("path") or "."), path.parent)
    # Exporters write ../train/images for the train/images beside the file.
    for folder in (*(root / name for root in roots), path.parent / name.removeprefix("../")):
        if folder.is_dir():
            return folder
    fault = f"{name} is not in {roots[0]}: fix its path, or set data.{split}.images"
    raise FileNotFoundError(f"{path} must name a folder of images at {split}; {fault}")


def _with_part(folder: Path, old: str, new: str) -> Path:
    """The folder with the last ``old`` of its path as ``new``; the folder itself where there is none."""
    parts = list(folder.absolute().parts)
    places = [index for index, part in enumerate(parts) if part == old]
    return Path(*parts[: places[-1]], new, *parts[places[-1] + 1 :]) if places else folder


def _read_yaml(path: Path) -> Record:
    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise FileNotFoundError(f"{path} must be a YAML file; there is none: check the path") from None
    except yaml.YAMLError as error:
        raise ValueError(f"{path} must be a YAML file; it is broken ({error}): fix it") from None
    return content if isinstance(content, Mapping) else {}


def read_yolo(folder: Path, images: Path | None = None) -> dict[str, Any]:
    """A folder with ``labels`` and ``images``, or the labels' own, or a data.yaml, in COCO form.

    Class names come from ``data.yaml``, another ``*.yaml`` with ``names``, or ``classes.txt`` beside or above the
    labels; without one they are the numbers.
    """
    images = images or yolo_images(folder)
    is_yaml = folder.suffix in YAML
    labels = _with_part(images, "images", "labels") if is_yaml else inner_folder(folder, "labels")
    files = image_files(images)
    texts = {stem_of(labels, path): path for path in sorted(labels.rglob("*.txt"))}
    texts.pop("classes", None)
    if stray := [path for stem, path in texts.items() if stem not in files]:
        number = len(stray)
        raise FileNotFoundError(
            f"each label file must have its image in {images}; {number} have none, as {stray[0]}: give their folder"
        )
    builder = CocoBuilder()
    for image_id, (stem, path) in zip(image_ids(list(files)), files.items(), strict=True):
        size = image_size(path)
        builder.add_image(image_id, path.relative_to(images).as_posix(), size)
        for where, numbers in read_lines(texts[stem], None, range(5, 10**6)) if stem in texts else ():
            builder.add_object(image_id, int(numbers[0]) + 1, _box(where, numbers, size))
    names = _names(folder if folder.is_file() else labels)
    used = {annotation["category_id"] - 1 for annotation in builder.annotations}
    unnamed = sorted(used - set(names))
    if names and unnamed:
        raise ValueError(f"each class of {labels} must have a name; {unnamed[:5]} have none: add them")
    names = names or {index: str(index) for index in used}
    return builder.content({index + 1: name for index, name in sorted(names.items())})


def _box(where: str, numbers: list[float], size: tuple[int, int]) -> list[float]:
    """The box (x, y, width, height) of one line, in pixels of an image of ``size`` (height, width)."""
    (number, *values), (height, width) = numbers, size
    if number < 0 or number % 1 or (len(values) > 4 and (len(values) % 2 or len(values) < 6)):
        raise ValueError(
            f"{where} must be a class number from 0 and cx cy width height, or the corners of a polygon; got "
            f"{len(numbers)} numbers, class {number:g}: fix the line (detections have a score more)"
        )
    if len(values) == 4:
        x, y, w, h = values
        return [(x - w / 2) * width, (y - h / 2) * height, w * width, h * height]
    xs, ys = [x * width for x in values[::2]], [y * height for y in values[1::2]]
    return [min(xs), min(ys), max(xs) - min(xs), max(ys) - min(ys)]


def _names(labels: Path) -> dict[int, str]:
    """Class number -> name, from the first file that tells, which ``labels`` may be; empty where none does."""
    for folder in (labels, labels.parent, labels.parent.parent):
        files = sorted(folder.glob("*.yaml"), key=lambda path: (path.name != "data.yaml", path.name))
        for path in [folder] if folder.is_file() else files:
            if names := _read_yaml(path).get("names"):
                pairs = names.items() if isinstance(names, Mapping) else enumerate(names)
                return {int(number): str(name) for number, name in pairs}
        if (folder / "classes.txt").is_file():
            lines = (folder / "classes.txt").read_text(encoding="utf-8-sig").splitlines()
            return dict(enumerate(line.strip() for line in lines if line.strip()))
    return {}


def write_yolo(coco: Record, folder: Path) -> None:
    """Writes ``labels/*.txt`` and ``data.yaml``; warns of crowds and other flags, which YOLO does not have."""
    categories = sorted(coco["categories"], key=lambda category: category["id"])
    number = {category["id"]: index for index, category in enumerate(categories)}
    for record in coco["images"]:
        if not record.get("height") or not record.get("width"):
            raise ValueError(f"image {record['file_name']} must have height and width for YOLO; got none: add them")

    def line(record: Record, entry: Record) -> str:
        (x, y, w, h), width, height = entry["bbox"], record["width"], record["height"]
        values = ((x + w / 2) / width, (y + h / 2) / height, w / width, h / height)
        return " ".join([str(number[entry["category_id"]]), *map(repr, values)])

    write_texts(folder / "labels", coco, line)
    names = {index: str(category["name"]) for index, category in enumerate(categories)}
    text = yaml.safe_dump({"path": ".", "train": "images", "val": "images", "names": names}, sort_keys=False)
    (folder / "data.yaml").write_text(text, encoding="utf-8")
    if lost := sum(any(entry.get(key) for key in IGNORED) for entry in coco["annotations"]):
        log.warning("flags_lost %d boxes that were crowds, ignored or difficult are plain in YOLO", lost)
