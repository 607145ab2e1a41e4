"""YOLO's text files: ``class cx cy width height`` in fractions of the image, one file per image.

``labels/a/b.txt`` belongs to ``images/a/b.jpg``. An image without a text file is one without objects. A line of
more numbers is a polygon, as segmentation sets have it, and the box around it is taken; or it has the box and the
keypoints of a pose, of which the box is taken (see ``pose_length``).
"""

import logging
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import yaml

from lib.data.formats.coco_json import IGNORED, CocoBuilder
from lib.data.formats.content import REGIONS, Record
from lib.data.formats.folder import (
    Line,
    first_line,
    image_files,
    image_ids,
    inner_folder,
    read_lines,
    subfolder,
    texts_below,
    with_regions_apart,
    write_texts,
)
from lib.data.formats.listing import SPELLINGS, Listing
from lib.data.formats.partners import leave_out, measured
from lib.data.formats.yolo_yaml import YAML, Description, description_near, read_description, split_images, split_root
from lib.utils.fields import Problems, whole

log = logging.getLogger(__name__)
MAX_CLASS = 10**6
MAX_OUTSIDE = 0.5  # of the image, by which a corner of an oriented box at its edge may lie outside
_OBB = 8  # numbers behind the class of an oriented box, its four corners


class Labeled(NamedTuple):
    """An image below the image folder and its text file, which need not be there."""

    name: str
    image: Path
    labels: Path


def is_yolo(path: Path) -> bool:
    """Whether a path is that of a data.yaml, or of a folder of text files whose numbers have no commas between."""
    line = "" if path.suffix in YAML else first_line(inner_folder(path, "labels"))
    return path.suffix in YAML or (line != "" and "," not in line)


def yolo_images(path: Path, split: str = "train") -> Path:
    """The folder of the images: what a data.yaml names at ``split``, or ``images`` in the place of ``labels``."""
    if path.suffix not in YAML:
        return _with_part(inner_folder(path, "labels"), "labels", "images")
    return split_root(path, read_description(path), split)


def _with_part(folder: Path, old: str, new: str) -> Path:
    """The folder with the last ``old`` of its path as ``new``; the folder itself where there is none.

    ``Labels`` stands for ``labels`` only where that leads to a folder that is there.
    """
    parts = list(folder.absolute().parts)
    exact = [index for index, part in enumerate(parts) if part == old]
    places = exact or [index for index, part in enumerate(parts) if part.lower() == old]
    if not places:
        return folder
    above = Path(*parts[: places[-1]])
    other = Path(subfolder(above, new) or above / new, *parts[places[-1] + 1 :])
    return other if exact or other.is_dir() else folder


def read_yolo(folder: Path, images: Path | None = None, split: str = "train", upright: bool = True) -> dict[str, Any]:
    """A folder with ``labels`` and ``images``, or the labels' own, or the ``split`` of a data.yaml, in COCO form.

    Class names come from ``data.yaml``, another ``*.yaml`` with ``names``, or ``classes.txt`` beside or above the
    labels (see ``description_near``); without one they are the numbers.
    ``upright``: whether the fractions are those of upright pictures.
    """
    if folder.suffix in YAML:
        description = read_description(folder)
    else:
        description = description_near(inner_folder(folder, "labels"), images or yolo_images(folder, split))
    builder, notes, rows = CocoBuilder(), Problems(), []
    files = list(_labeled(folder, description, images, split, notes))
    ids = image_ids([Path(file.name).with_suffix("").as_posix() for file in files])
    for image_id, file in zip(ids, files, strict=True):
        size = measured(file.image, file.name, upright, notes)
        if size is None:
            continue
        builder.add_image(image_id, file.name, size)
        lines = read_lines(file.labels, None, 5) if file.labels.is_file() else ()
        rows += [(image_id, size, line) for line in lines]
    if files and not any(file.labels.is_file() for file in files):
        notes.add("images without a label file (no image of this data set has one)", *(f.name for f in files))
    length = pose_length([line for _, _, line in rows], description)
    for image_id, size, line in rows:
        number = whole(line.numbers[0], f"{line.where}: the class", 0, MAX_CLASS)
        if len(line.numbers) == length:
            notes.add("lines with keypoints (the box is taken)", line.where)
        builder.add_object(image_id, number + 1, _box(line, size, length))
    used = {annotation["category_id"] - 1 for annotation in builder.annotations}
    unnamed = sorted(used - set(description.names))
    if description.names and unnamed:
        raise ValueError(f"each class of {folder} must have a name; {unnamed[:5]} have none: add them")
    names = description.names or {index: str(index) for index in used}
    return {**builder.content({index + 1: name for index, name in sorted(names.items())}), "notes": notes}


def _labeled(
    folder: Path, description: Description, images: Path | None, split: str, notes: Problems
) -> Iterator[Labeled]:
    """The images with their label files."""
    is_yaml = folder.suffix in YAML
    is_told = is_yaml and _is_told(folder, images, split)
    listed = split_images(folder, description, split) if is_told else None
    if listed is not None:  # several folders or lists of files: each image has its labels in its own place
        listings: dict[Path, Listing] = {}
        for name, image in listed.items():
            labels, text = _with_part(image.parent, "images", "labels"), f"{image.stem}.txt"
            if labels not in listings:
                listings[labels] = Listing(labels)
            found = listings[labels].find(text)
            notes.add(SPELLINGS, *([f"{found}: {image.name}"] if found and found != text else []))
            yield Labeled(name, image, labels / (found or text))
        return
    files = image_files(root := images or yolo_images(folder, split))
    labels = _with_part(root, "images", "labels") if is_yaml else inner_folder(folder, "labels")
    texts = texts_below(labels, files)
    beside = folder.parent / "labels"  # as the converter writes it, whose images stay where they are
    if is_yaml and not (is_told and texts.labels):
        theirs = texts_below(beside, files)
        if theirs.labels and (not texts.labels or not theirs.labels.keys().isdisjoint(files)):
            labels, texts = beside, theirs
    notes.update(texts.notes)
    strays = [path for stem, path in texts.labels.items() if stem not in files]
    leave_out(strays, len(texts.labels), len(files), root, notes)
    for stem, path in files.items():
        yield Labeled(path.relative_to(root).as_posix(), path, texts.labels.get(stem, labels / f"{stem}.txt"))


def _is_told(path: Path, images: Path | None, split: str) -> bool:
    """Whether the folder of the images is the one that a data.yaml tells."""
    if images is None:
        return True
    try:
        return yolo_images(path, split) == Path(os.path.abspath(images))
    except (ValueError, FileNotFoundError):
        return False


def pose_length(lines: list[Line], description: Description) -> int | None:
    """How many numbers a line with keypoints has; None: the long lines are polygons.

    ``kpt_shape`` of the data.yaml says it, and then no line may have another length. Without it, all lines have
    keypoints if each keypoint has its visibility, 0, 1 or 2. Where neither tells, lines that can be both, because all
    are of one length and most seem to have their points in their box, are refused; but 9 numbers are always the
    corners of an oriented box.
    """
    if description.kpt_shape is not None:
        number, values = description.kpt_shape
        length = 5 + number * values
        other = [line for line in lines if number and len(line.numbers) not in (5, length)]
        if other:
            raise ValueError(
                f"{other[0].where} must be 5 numbers, or {length} as kpt_shape of the data.yaml says; got "
                f"{len(other[0].numbers)}: fix the line or kpt_shape"
            )
        return length if length > 5 else None
    long = [line for line in lines if len(line.numbers) > 5]
    lengths = {len(line.numbers) for line in long}
    if len(lengths) != 1 or (length := lengths.pop()) - 1 == _OBB:
        return None
    if (length - 5) % 3 == 0 and all(value in (0, 1, 2) for line in long for value in line.numbers[7::3]):
        return length
    if (length - 5) % 2 == 0 and length > 9 and 2 * sum(map(_has_points_inside, long)) > len(long):
        raise ValueError(
            f"{long[0].where} must be a polygon or a box with keypoints; its {length} numbers can be both: write "
            f"{_kpt_advice(length)} into the data.yaml for keypoints, kpt_shape: [0, 0] for polygons"
        )
    return None


def _kpt_advice(length: int) -> str:
    return f"kpt_shape: [{(length - 5) // 2}, 2]"


def _has_points_inside(line: Line) -> bool:
    """Whether the first numbers can be a box (cx, cy, w, h) inside the image that holds the points behind it."""
    x, y, w, h, *points = line.numbers[1:]
    slack = 1e-3
    inside = x - w / 2 + slack >= 0 and x + w / 2 <= 1 + slack and y - h / 2 + slack >= 0 and y + h / 2 <= 1 + slack
    near_x = all(abs(value - x) <= w / 2 + slack for value in points[::2])
    return inside and w > 0 and h > 0 and near_x and all(abs(value - y) <= h / 2 + slack for value in points[1::2])


def _box(line: Line, size: tuple[int, int], pose: int | None) -> list[float]:
    """The box (x, y, width, height) of one line, in pixels of an image of ``size`` (height, width)."""
    (_, *values), (height, width) = line.numbers, size
    is_box = len(values) == 4 or len(line.numbers) == pose
    if not is_box and (len(values) % 2 or len(values) < 6):
        raise ValueError(
            f"{line.where} must be a class number from 0 and cx cy width height, or the corners of a polygon; got "
            f"{len(line.numbers)} numbers: fix the line (detections have a score more; keypoints need kpt_shape in the "
            "data.yaml)"
        )
    if is_box:
        x, y, w, h = values[:4]
        return [(x - w / 2) * width, (y - h / 2) * height, w * width, h * height]
    if max(abs(value - 0.5) for value in values) > 0.5 + MAX_OUTSIDE:
        raise ValueError(
            f"{line.where} must be a polygon in fractions of the image, from 0 to 1; got "
            f"{max(values, key=lambda value: abs(value - 0.5)):g}: fix the line, or, if it is a box with keypoints, "
            f"write {_kpt_advice(len(line.numbers))} into the data.yaml"
        )
    xs, ys = [x * width for x in values[::2]], [y * height for y in values[1::2]]
    return [min(xs), min(ys), max(xs) - min(xs), max(ys) - min(ys)]


def write_yolo(coco: Record, folder: Path) -> None:
    """Writes ``labels/*.txt`` and ``data.yaml``; warns of crowds and other flags, which YOLO does not have."""
    coco = with_regions_apart(coco)
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
    regions = [entry for entry in coco["annotations"] if entry.get("ignored_region")]
    if regions:
        log.warning(
            "%d ignored regions became boxes of a class %r: leave it out of other trainings", len(regions), REGIONS
        )
    if lost := sum(any(entry.get(key) for key in IGNORED) for entry in coco["annotations"]) - len(regions):
        log.warning(
            "flags_lost %d: YOLO cannot mark boxes as crowd, ignored or difficult; "
            "these were written as ordinary boxes",
            lost,
        )
