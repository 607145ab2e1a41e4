"""From one format of annotations to another."""

import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from lib.data.formats.content import Content, Record, content_of
from lib.data.formats.registry import FORMATS, Format, known_images, read_dataset, write_dataset
from lib.data.formats.usable import number_objects
from lib.data.header import file_header
from lib.data.pixels import turn_box
from lib.utils.fields import one_line, reading
from lib.utils.files import new_folder
from lib.utils.lookup import lookup
from lib.utils.objects import FLAGS

log = logging.getLogger(__name__)
_BACK = {6: 8, 8: 6}  # the orientation that turns back; others turn back by themselves


class Frame(NamedTuple):
    """The pixels that the boxes of an image count: as they are read, and as they are written."""

    size: tuple[int, int] | None  # (height, width); None: unknown
    told: tuple[int, int] | None  # to be written
    orientation: int = 1  # 1 to 8, by which ``turn_box`` turns the boxes


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

    Boxes without four finite numbers are left out and counted in the log; all others are kept. Where the EXIF data of
    an image have an orientation, boxes are turned, or sizes left out, so that ``out`` marks the same objects.
    """
    row = lookup(FORMATS, target, "format")
    coco = read_dataset(source, images, source_format, split, orientation)
    with reading(source):
        coco = cleaned(coco, str(source), images or known_images(source, split), row)
        if target == "coco":
            write_dataset(coco, out, target)
        else:
            with new_folder(out) as folder:
                write_dataset(coco, folder, target)
    return Counts(*(len(coco[key]) for key in ("images", "annotations", "categories")))


def cleaned(coco: Record, where: str, images: Path | None, target: Format) -> dict[str, Any]:
    """A data set in COCO's form whose fields all are what they must be, with everything else that it holds.

    Boxes and sizes are those by which ``target`` is read.
    """
    content = content_of(coco, where, images)
    is_good = np.isfinite(content.objects.columns.xywh).all(axis=1)
    for line in content.problems.lines():
        log.warning("%s: %s", one_line(where), line)
    if bad := np.flatnonzero(~is_good).tolist():
        such = content.objects.box_text(bad[0])
        log.warning(
            "%s: %d boxes without four finite numbers are left out, such as %s", one_line(where), len(bad), such
        )
    numbers = number_objects(content.objects.select(is_good))[0].columns.id.tolist()
    ids = {record["id"]: record.get("file_id", record["id"]) for record in content.images}
    frames = {record["id"]: _frame(record, content, images, target) for record in content.images}
    old = {(record["id"] + 2**63) % 2**64 - 2**63: record for record in coco["images"] if isinstance(record["id"], int)}
    annotations = [entry for row, entry in enumerate(coco["annotations"]) if row not in content.repeated]
    return {
        **{key: value for key, value in coco.items() if key not in ("notes", "upright")},
        "images": [
            _image(old.get(record["id"], {}), record, ids[record["id"]], frames[record["id"]])
            for record in content.images
        ],
        "annotations": [
            {**_annotation(annotations[row], content, row, ids, frames), "id": number}
            for number, row in zip(numbers, np.flatnonzero(is_good).tolist(), strict=True)
        ],
        "categories": [{**entry, **kept} for entry, kept in zip(coco["categories"], content.categories, strict=True)],
    }


def _frame(record: Record, content: Content, images: Path | None, target: Format) -> Frame:
    """The pixels that boxes of an image count here and are to count in ``target``; without its file, they stay."""
    file, told = None if images is None else images / record["file_name"], (record["height"], record["width"])
    if file is None or not file.is_file():
        size = None if None in told else told
        return Frame(size, size)
    size, header = content.size(record, file), file_header(file)
    if header is None:
        return Frame(size, size)
    upright = header.is_upright(told, content.is_upright(record))
    if target.upright is None:
        return Frame(size, header.size_to_tell(size, upright))
    if header.is_upright(size if target.has_sizes else (None, None), target.upright) == upright:
        return Frame(size, size)
    orientation = header.orientation if not upright else _BACK.get(header.orientation, header.orientation)
    return Frame(size, size[::-1] if orientation > 4 else size, orientation)


def _image(old: Record, record: Record, image_id: int, frame: Frame) -> dict[str, Any]:
    size = {} if frame.told is None else dict(zip(("height", "width"), frame.told, strict=True))
    rest = {key: value for key, value in old.items() if key not in ("height", "width")}
    return {**rest, "id": image_id, "file_name": record["file_name"], **size}


def _annotation(
    old: Record, content: Content, row: int, ids: Mapping[int, int], frames: Mapping[int, Frame]
) -> dict[str, Any]:
    """The annotation with a clean box, turned as it is to be written, area, flags and ids but for its own."""
    new = content.objects[row]
    box = old.get("bbox")
    is_plain = isinstance(box, list) and all(type(value) in (int, float) for value in box) and len(box) == 4
    clean, frame = old["bbox"] if is_plain else new["bbox"], frames[new["image_id"]]
    area = old.get("area")
    flags = {key: new.get(key, 0) for key in ("iscrowd", *FLAGS) if key == "iscrowd" or key in old}
    return {
        **old,
        "image_id": ids[new["image_id"]],
        "category_id": new["category_id"],
        "bbox": clean if frame.size is None else turn_box(clean, frame.size, frame.orientation),
        "area": area if type(area) in (int, float) and area == new["area"] else new["area"],
        **flags,
    }
