"""VisDrone's text files: ``x,y,width,height,score,category,truncation,occlusion``, one file per image.

Category 0 marks regions to ignore, whatever the class. They become crowds, which training and evaluation pass over,
and get the key ``ignored_region``, by which the protocol ``visdrone`` and the writer recognize them. Objects of
category 11 ("others") get the key ``ignore``.
"""

from pathlib import Path
from typing import Any

from lib.data.formats.coco_json import CocoBuilder, Record
from lib.data.formats.folder import (
    first_line,
    image_files,
    image_ids,
    inner_folder,
    number_text,
    read_lines,
    stem_of,
    write_texts,
)
from lib.data.image import image_size

NAMES = (
    *("pedestrian", "people", "bicycle", "car", "van", "truck"),
    *("tricycle", "awning-tricycle", "bus", "motor", "others"),
)
_REGION, _OTHERS = 0, 11


def is_visdrone(path: Path) -> bool:
    """Whether a folder holds text files whose numbers are separated by commas."""
    return "," in first_line(path)


def read_visdrone(folder: Path, images: Path | None = None) -> dict[str, Any]:
    """A folder of text files, or the one above that holds ``annotations`` and ``images``, in COCO form."""
    texts = inner_folder(folder, "annotations")
    images = images or texts.parent / "images"
    files, builder = image_files(images), CocoBuilder()
    paths = sorted(texts.rglob("*.txt"))
    for image_id, path in zip(image_ids([path.stem for path in paths]), paths, strict=True):
        file = files.get(stem_of(texts, path))
        if file is None:
            raise FileNotFoundError(f"the image of {path} must be there; there is none in {images}: give its folder")
        builder.add_image(image_id, file.relative_to(images).as_posix(), image_size(file))
        for where, (*box, _, category, truncated, occluded) in read_lines(path, ",", range(8, 9)):
            if category not in range(len(NAMES) + 1):
                raise ValueError(f"{where}: the category must be 0 to {len(NAMES)}; got {category:g}: fix the line")
            flags = {"truncated": int(truncated), "occluded": int(occluded)}
            if category == _REGION:
                builder.add_object(image_id, 1, box, iscrowd=1, **flags, ignored_region=1)
            else:
                ignore = {"ignore": 1} if category == _OTHERS else {}
                builder.add_object(image_id, int(category), box, **flags, **ignore)
    return builder.content(dict(enumerate(NAMES, 1)))


def write_visdrone(coco: Record, folder: Path) -> None:
    """Writes one text file per image to ``folder/annotations``. Classes must have VisDrone's names."""
    numbers = {"ignored regions": _REGION} | {name: index for index, name in enumerate(NAMES, 1)}
    names = {entry["id"]: str(entry["name"]).lower().replace("_", "-") for entry in coco["categories"]}
    if unknown := sorted({names[entry["category_id"]] for entry in coco["annotations"]} - set(numbers)):
        raise ValueError(f"classes of VisDrone are {', '.join(NAMES)}; got {', '.join(unknown)}: choose another format")

    def line(_: Record, entry: Record) -> str:
        number = _REGION if entry.get("ignored_region") else numbers[names[entry["category_id"]]]
        score = int(number not in (_REGION, _OTHERS))
        values = (*entry["bbox"], score, number, entry.get("truncated", 0), entry.get("occluded", 0))
        return ",".join(map(number_text, values))

    write_texts(folder / "annotations", coco, line)
