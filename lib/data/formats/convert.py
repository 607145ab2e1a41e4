"""From one format of annotations to another."""

import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from lib.data.formats.content import Content, Record, content_of
from lib.data.formats.registry import find_images, read_dataset, write_dataset
from lib.utils.fields import one_line, reading
from lib.utils.files import new_folder
from lib.utils.objects import FLAGS

log = logging.getLogger(__name__)


class Counts(NamedTuple):
    """What was written."""

    images: int
    boxes: int
    classes: int


def convert(
    source: Path,
    out: Path,
    target: str,
    source_format: str | None = None,
    images: Path | None = None,
    split: str = "train",
    orientation: str | None = None,
) -> Counts:
    """Reads annotations and writes them in the format ``target``. After an error ``out`` is as it was before.

    Boxes without four finite numbers are left out and counted in the log; all others are kept.
    """
    coco = read_dataset(source, images, source_format, split, orientation)
    with reading(source):
        coco = cleaned(coco, str(source), images or _images_of(source, split))
        if target == "coco":
            write_dataset(coco, out, target)
        else:
            with new_folder(out) as folder:
                write_dataset(coco, folder, target)
    return Counts(*(len(coco[key]) for key in ("images", "annotations", "categories")))


def _images_of(source: Path, split: str) -> Path | None:
    try:
        return find_images(source, split)
    except (ValueError, FileNotFoundError):
        return None


def cleaned(coco: Record, where: str, images: Path | None) -> dict[str, Any]:
    """A data set in COCO's form whose fields all are what they must be, with everything else that it holds."""
    content = content_of(coco, where, images)
    is_good = np.isfinite(content.objects.columns.xywh).all(axis=1)
    for line in content.problems.lines():
        log.warning("%s: %s", one_line(where), line)
    if bad := np.flatnonzero(~is_good).tolist():
        such = content.objects.box_text(bad[0])
        log.warning(
            "%s: %d boxes without four finite numbers are left out, such as %s", one_line(where), len(bad), such
        )
    ids = {record["id"]: record.get("file_id", record["id"]) for record in content.images}
    records = {record["id"]: record for record in content.images}
    old = {(record["id"] + 2**63) % 2**64 - 2**63: record for record in coco["images"] if isinstance(record["id"], int)}
    annotations = coco["annotations"]
    return {
        **{key: value for key, value in coco.items() if key not in ("notes", "upright")},
        "images": [_image(old.get(key, {}), record, ids[key], content, images) for key, record in records.items()],
        "annotations": [_annotation(annotations[row], content, row, ids) for row in np.flatnonzero(is_good).tolist()],
        "categories": [{**entry, **kept} for entry, kept in zip(coco["categories"], content.categories, strict=True)],
    }


def _image(old: Record, record: Record, image_id: int, content: Content, images: Path | None) -> dict[str, Any]:
    size = {key: record[key] for key in ("height", "width") if record[key] is not None}
    file = None if images is None else images / record["file_name"]
    if not size and file and file.is_file():
        size = dict(zip(("height", "width"), content.size(record, file), strict=True))
    rest = {key: value for key, value in old.items() if key not in ("height", "width")}
    return {**rest, "id": image_id, "file_name": record["file_name"], **size}


def _annotation(old: Record, content: Content, row: int, ids: Mapping[int, int]) -> dict[str, Any]:
    """The annotation with a clean box, area, flags and ids."""
    new = content.objects[row]
    box = old.get("bbox")
    is_plain = isinstance(box, list) and all(type(value) in (int, float) for value in box) and len(box) == 4
    area = old.get("area")
    flags = {key: new.get(key, 0) for key in ("iscrowd", *FLAGS) if key == "iscrowd" or key in old}
    return {
        **old,
        "id": new["id"] or row + 1,
        "image_id": ids[new["image_id"]],
        "category_id": new["category_id"],
        "bbox": box if is_plain else new["bbox"],
        "area": area if type(area) in (int, float) and area == new["area"] else new["area"],
        **flags,
    }
