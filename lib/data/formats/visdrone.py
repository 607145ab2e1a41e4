"""VisDrone's text files: ``x,y,width,height,score,category,truncation,occlusion``, one file per image.

Category 0 marks regions to ignore, whatever the class. They become crowds, which training and evaluation pass over,
and get the key ``ignored_region``, by which protocols and the writer recognize them. Objects of score
0 become crowds as well, as the development kit ignores them. Those of category 11 ("others") get the key ``ignore``.
"""

import math
from pathlib import Path
from typing import Any

from lib.data.formats.coco_json import IGNORED, CocoBuilder
from lib.data.formats.content import Record
from lib.data.formats.folder import (
    Line,
    first_line,
    image_files,
    image_ids,
    images_beside,
    inner_folder,
    number_text,
    read_lines,
    texts_below,
    write_texts,
)
from lib.data.formats.partners import leave_out, measured
from lib.utils.fields import whole

NAMES = (
    *("pedestrian", "people", "bicycle", "car", "van", "truck"),
    *("tricycle", "awning-tricycle", "bus", "motor", "others"),
)
_REGION, _OTHERS = 0, 11
_OF_SEQUENCES = (9, 10)  # numbers of a line in files of whole sequences
_MOST = 100  # of the degrees of truncation and occlusion, which are 0 to 2


def is_visdrone(path: Path) -> bool:
    """Whether a folder holds text files whose numbers are separated by commas."""
    return "," in first_line(inner_folder(path, "annotations"))


def read_visdrone(
    folder: Path, images: Path | None = None, split: str = "train", upright: bool = False
) -> dict[str, Any]:
    """A folder of text files, or the one above that holds ``annotations`` and ``images``, in COCO form.

    ``upright``: whether boxes count the pixels of upright pictures, and not those that are stored.
    """
    texts = inner_folder(folder, "annotations")
    if (number := len(first_line(texts).rstrip(",").split(","))) in _OF_SEQUENCES:
        raise ValueError(
            f"{texts} must have files of VisDrone-DET, one per image, of 8 numbers a line; got {number} numbers, as in "
            "those of a whole sequence (VisDrone-VID, MOT, UAVDT): convert them to COCO"
        )
    images = images or images_beside(folder, split)
    files, builder = image_files(images), CocoBuilder()
    labels, notes = texts_below(texts, files)
    leave_out([path for stem, path in labels.items() if stem not in files], len(labels), len(files), images, notes)
    labels = {stem: path for stem, path in labels.items() if stem in files}
    for image_id, (stem, path) in zip(image_ids([path.stem for path in labels.values()]), labels.items(), strict=True):
        name = files[stem].relative_to(images).as_posix()
        size = measured(files[stem], name, upright, notes)
        if size is None:
            continue
        builder.add_image(image_id, name, size)
        for line in read_lines(path, ",", 8, 8):
            _add_object(builder, image_id, line)
    notes.add(
        "images without a text file (left out)", *(path.name for stem, path in files.items() if stem not in labels)
    )
    return {**builder.content(dict(enumerate(NAMES, 1))), "notes": notes}


def _add_object(builder: CocoBuilder, image_id: int, line: Line) -> None:
    where, (*box, score, category, truncated, occluded) = line
    if category not in range(len(NAMES) + 1):
        raise ValueError(f"{where}: the category must be 0 to {len(NAMES)}; got {category:g}: fix the line")
    if math.isnan(score):
        raise ValueError(f"{where}: the score must be 0 (to be ignored) or 1; got nan: fix the line")
    flags = {
        "truncated": whole(truncated, f"{where}: the truncation", 0, _MOST),
        "occluded": whole(occluded, f"{where}: the occlusion", 0, _MOST),
    }
    if category == _REGION:
        builder.add_object(image_id, 1, box, iscrowd=1, **flags, ignored_region=1)
    elif category == _OTHERS:
        builder.add_object(image_id, _OTHERS, box, **flags, ignore=1)
    else:
        builder.add_object(image_id, int(category), box, iscrowd=int(score == 0), **flags)


def write_visdrone(coco: Record, folder: Path) -> None:
    """Writes one text file per image to ``folder/annotations``. Classes must have VisDrone's names."""
    numbers = {"ignored regions": _REGION} | {name: index for index, name in enumerate(NAMES, 1)}
    names = {entry["id"]: str(entry["name"]).lower().replace("_", "-") for entry in coco["categories"]}
    if unknown := sorted({names[entry["category_id"]] for entry in coco["annotations"]} - set(numbers)):
        raise ValueError(f"classes of VisDrone are {', '.join(NAMES)}; got {', '.join(unknown)}: choose another format")

    def line(_: Record, entry: Record) -> str:
        number = _REGION if entry.get("ignored_region") else numbers[names[entry["category_id"]]]
        score = int(number not in (_REGION, _OTHERS) and not any(entry.get(flag) for flag in IGNORED))
        values = (*entry["bbox"], score, number, entry.get("truncated", 0), entry.get("occluded", 0))
        return ",".join(map(number_text, values))

    write_texts(folder / "annotations", coco, line)
